"""How many requests may be in flight, and how long an event waits before it is tried again.

Additive increase, multiplicative decrease, as TCP has it: until the first throttle the window
grows by one for each event accepted, after it by about one for each window accepted; a throttle
halves it. What was sent before a halving says nothing about the smaller window, so its throttles
do not halve again.

https://www.rfc-editor.org/rfc/rfc5681
"""

from __future__ import annotations

import random

LEAST_WINDOW = 8.0
BACKOFF_SECONDS = 0.05
BACKOFF_MOST_SECONDS = 2.0
CONNECTION_SECONDS = 0.004
"""What a new TLS connection costs of a processor, at the share of one that a small function has."""

_JITTER = random.Random()  # noqa: S311 - spreads retries, hides nothing


class Pace:
    """The window of requests in flight, at most `most`; in it, connections are used and opened."""

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._least = min(LEAST_WINDOW, self._most)
        self._threshold = self._most
        self._halved = float("-inf")
        self._latency = 0.0
        self.window = self._least

    def accepted(self, latency: float, *, backlog: bool) -> None:
        """Note an answer that took `latency` seconds; only with a backlog does the window grow."""
        self._latency += 0.1 * (latency - self._latency) if self._latency else latency
        if backlog and self.window < self._most:
            step = 1.0 if self.window < self._threshold else 1.0 / self.window
            self.window = min(self._most, self.window + step)

    def throttled(self, sent: float, now: float) -> None:
        """Note a throttle of what was sent at `sent` (both as of one clock)."""
        if sent < self._halved:
            return
        self._halved = now
        self._threshold = self.window = max(self._least, self.window / 2)

    def is_worth_opening(self, connections: int, backlog: int) -> bool:
        """Tell whether one more connection would save more time than its handshake costs.

        With k connections a backlog of n events takes about n x latency / k; one more saves about
        n x latency / k squared.
        """
        if connections < self._least:
            return True
        return backlog * self._latency > CONNECTION_SECONDS * connections * connections


def pause(attempts: int, least: float = 0.0) -> float:
    """Give the seconds to wait after so many attempts: at least `least`, and full jitter.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    longest = min(BACKOFF_MOST_SECONDS, BACKOFF_SECONDS * 2.0 ** min(attempts, 10))
    return least + _JITTER.uniform(0.0, longest)
