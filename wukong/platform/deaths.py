"""Executors of this machine that have died: each run is told of its own, whoever noticed first.

Several runs are followed at once, each by a thread of its own, and all of them look after the same
workers.
"""

from __future__ import annotations

import threading
from collections import Counter, deque

from wukong.platform.interface import Death, PlatformError

MOST_DEATHS = 10
"""After so many deaths during one run it is not going to get anywhere."""

REMEMBERED = 1_000
"""So many are kept for runs that have not asked yet; some have ended, and will not."""

NOBODY = ""


class Deaths:
    """What is known of Executors that have died.

    Parameters
    ----------
    hint
        What can be done if it happens again and again.
    """

    def __init__(self, hint: str) -> None:
        self._hint = hint
        self._lock = threading.Lock()
        self._untold: deque[Death] = deque(maxlen=REMEMBERED)
        self._counts: Counter[str] = Counter()
        self._last = ""

    def begin(self) -> None:
        """Let another run try, though workers that had no work have died before it."""
        with self._lock:
            del self._counts[NOBODY]

    def note(self, deaths: list[Death], cause: str) -> None:
        """Note that a worker died, and of which Executors; of none if it had nothing to do."""
        with self._lock:
            self._untold.extend(deaths)
            self._counts.update({death.event.run for death in deaths} or {NOBODY})
            self._last = cause

    def of(self, run: str) -> list[Death]:
        """Give those of a run that it has not been told of.

        Raises
        ------
        PlatformError
            If too many have died.
        """
        with self._lock:
            count = self._counts[run] + self._counts[NOBODY]
            if count > MOST_DEATHS:
                raise PlatformError(
                    f"{count} Executors have died, the last one as {self._last}", self._hint
                )
            told = [death for death in self._untold if death.event.run == run]
            for death in told:
                self._untold.remove(death)
            return told
