"""How much of the function's time is left, so that there is always some for the answer."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

from bootstrap.errors import DeadlineError

ANSWER_SECONDS = 30.0
"""Kept back for the answer: three tries of six seconds, six seconds between them, and the log."""

AGAIN_SECONDS = 1.0
"""After so long the alarm rings again, if the block goes on."""


class _TimeUpError(BaseException):
    """Rings through whatever runs: botocore takes any `Exception` for a connection to try again."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time, and the clock and the sleep that lead there."""

    until: float
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    @classmethod
    def after(cls, milliseconds: int) -> Deadline:
        """Give the deadline of a function that has `milliseconds` left, less the answer's share.

        A function with a short timeout keeps half of it.
        """
        seconds = milliseconds / 1000
        return cls(time.monotonic() + max(seconds - ANSWER_SECONDS, seconds / 2))

    def within(self, seconds: float) -> Deadline:
        """Give one that is at most so far away."""
        return replace(self, until=min(self.until, self.clock() + seconds))

    def remaining(self) -> float:
        """Give the seconds left, never negative."""
        return max(0.0, self.until - self.clock())

    def sleep(self, seconds: float, waiting_for: str) -> None:
        """Wait; raises `DeadlineError` if that would take longer than there is time."""
        if seconds >= self.remaining():
            raise DeadlineError(
                f"No time left while waiting for {waiting_for}.",
                "The same event again continues where this one stopped.",
            )
        self.pause(seconds)


@contextmanager
def alarm(deadline: Deadline) -> Iterator[None]:
    """Interrupt the block at the deadline, even inside a call to AWS that hangs.

    Lambda runs handlers in the main thread, the only one that signals reach; elsewhere this does
    nothing and only the waits look at the deadline.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_signal: int, _frame: FrameType | None) -> None:
        # Python drops what is raised in `__del__` or in a callback of the garbage collector.
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        raise _TimeUpError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(deadline.remaining(), 0.001))
    try:
        try:
            yield
        finally:
            # Inside, as it may ring just before this is done.
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _TimeUpError:
        hint = "Send the event again."
        raise DeadlineError("A call to AWS hung until the time was up.", hint) from None
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
