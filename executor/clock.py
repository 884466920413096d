"""The time of an Executor: what it measures with, and what it does later.

A simulation gives it another one, in which nothing is real and one history is always the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """What is done later, unless it is cancelled."""

    def cancel(self) -> None:
        """Do not do it; nothing happens if it has been done."""


class Clock:
    """The time of this machine, which never goes back."""

    def now(self) -> float:
        """Give the time, in seconds."""
        return time.monotonic()

    def later(self, seconds: float, act: Callable[[], None]) -> Timer:
        """Do something after so long, in a thread of its own."""
        timer = threading.Timer(seconds, act)
        timer.daemon = True
        timer.start()
        return timer


CLOCK = Clock()
