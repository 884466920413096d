"""From how many Executors on the Invoker starts them: what either way costs, as measured here.

Starting m directly takes m times what one took; through the Invoker it takes one call, and what the
Invoker needs for each. The first figures are those of `docs/fanout.md`; each start that this
process makes corrects them.
"""

from __future__ import annotations

import math
import threading

DIRECT_SECONDS = 0.0055
"""For one of several that are started at once: 50 ms of latency, shared by ten connections."""

CALL_SECONDS = 0.05
"""For a call of the Invoker, without what it does: its latency, while an environment is warm."""

EACH_SECONDS = 0.0005
"""For each Executor that the Invoker starts (`invoker.engine.RATE`)."""

NEWEST = 0.25
"""How much the newest measurement counts."""

LEAST, MOST = 2, 1_000
"""Whatever is measured: one is started directly, and for very many there is the Invoker."""


class StartCosts:
    """What starting Executors costs this process."""

    def __init__(self) -> None:
        self.direct_seconds = DIRECT_SECONDS
        self.call_seconds = CALL_SECONDS
        self._lock = threading.Lock()

    @property
    def threshold(self) -> int:
        """The most Executors that are started without the Invoker."""
        saved = self.direct_seconds - EACH_SECONDS
        if saved <= 0:
            return MOST
        return max(LEAST, min(MOST, math.floor(self.call_seconds / saved)))

    def started(self, events: int, seconds: float) -> None:
        """Learn from a direct start of so many, or of as many as would have taken no longer."""
        if events:
            with self._lock:
                self.direct_seconds += NEWEST * (seconds / events - self.direct_seconds)

    def called(self, events: int, seconds: float) -> None:
        """Learn from a call of the Invoker."""
        own = max(0.0, seconds - events * EACH_SECONDS)
        with self._lock:
            self.call_seconds += NEWEST * (own - self.call_seconds)

    def __str__(self) -> str:
        return (
            f"up to {self.threshold} Executors are started directly, more by the Invoker: directly "
            f"one takes {self.direct_seconds * 1e3:.1f} ms, a call of the Invoker "
            f"{self.call_seconds * 1e3:.0f} ms and {EACH_SECONDS * 1e3:.1f} ms for each"
        )
