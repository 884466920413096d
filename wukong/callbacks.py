"""Callbacks: objects that are told how runs go, in the manner of dask.callbacks.

    class Log(wukong.Callback):
        def segment_done(self, run, progress):
            print(progress.done, "of", progress.total)

    with Log():                                  # every run that begins in here
        x.compute()
    wukong.Client(callbacks=[Log()])             # every run of a client
    x.compute(callbacks=[Log()])                 # one run

They are called in the thread that waits for the run. One that raises ends the run: that is how a
budget stops one. The store is asked how far a run is only if there is somebody to tell.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from wukong.cost import Cost, Tariff
from wukong.usage import Meter, Usage

if TYPE_CHECKING:
    from wukong.runs import Run

LOOK_SECONDS = 0.4
"""How often a run is looked at, at most, while somebody is told of it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    done, total
        Segments whose output is official, and all; the total is None where it is not known, as
        after `attach`.
    alive
        Executors alive.
    seconds
        Since the run began.
    dollars
        What it has cost so far, in Executors; on this machine, what it would have cost on Lambda.
    billed
        Whether AWS asks for it.
    """

    done: int
    total: int | None
    alive: int
    seconds: float
    dollars: float
    billed: bool

    @property
    def remaining(self) -> float | None:
        """Seconds to the end if segments go on as they have so far; None before one is done."""
        if not self.total or not self.done:
            return None
        return self.seconds * (self.total - self.done) / self.done


class Callback:
    """Told how runs go; subclasses override what they want to hear.

    As a context manager it is told of every run that begins inside, in any thread.
    """

    _active: ClassVar[list[Callback]] = []
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def start(self, run: Run) -> None:
        """Hear that a run has begun."""

    def segment_done(self, run: Run, progress: Progress) -> None:
        """Hear that segments have become done since the last look: one, or several."""

    def progress(self, run: Run, progress: Progress) -> None:
        """Hear how far the run is, at each look, a few times a second at most."""

    def end(self, run: Run, error: BaseException | None) -> None:
        """Hear that a run has ended, with what it raises if it failed; called once."""

    @classmethod
    def active(cls) -> tuple[Callback, ...]:
        """Give those that are told of every run now."""
        with cls._lock:
            return tuple(cls._active)

    def __enter__(self) -> Self:
        with self._lock:
            Callback._active.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock, suppress(ValueError):
            Callback._active.remove(self)


class Watch:
    """Looks at one run on behalf of its callbacks, and meters what it uses.

    Parameters
    ----------
    callbacks
        Whom to tell.
    tariff
        Gives what things cost where the run runs, as far as that is known by then.
    segments
        How many segments the run has; None if that is not known.
    alive, most
        How many Executors it begins with, and how many can be alive at once.
    """

    def __init__(
        self,
        callbacks: Sequence[Callback] = (),
        tariff: Callable[[], Tariff] = lambda: Tariff(billed=False),
        segments: int | None = None,
        alive: int = 1,
        most: int | None = None,
    ) -> None:
        self._callbacks = callbacks
        self._most = most
        self._tariff = tariff
        self.segments = segments
        self.meter = Meter(self._capped(alive))
        self._begun_at = self._looked_at = time.monotonic()
        self._done = 0
        self._outcome = ""
        self.used: Usage | None = None
        """What the run has used, when its record says so."""

    @property
    def state(self) -> str:
        """Say in words where the run stands, as far as it has been looked at."""
        of = "" if self.segments is None else f" of {self.segments:,}"
        return self._outcome or f"running, {self._done:,}{of} segments done"

    @property
    def cost(self) -> Cost:
        """What the run has cost so far."""
        return self._tariff().cost(self.used or self.meter.usage)

    def listens(self, seconds: float) -> float:
        """Say how long the run may block before it is to be looked at."""
        return min(seconds, LOOK_SECONDS) if self._callbacks else seconds

    @property
    def is_due(self) -> bool:
        """Tell whether somebody waits for a look."""
        return bool(self._callbacks) and time.monotonic() - self._looked_at >= LOOK_SECONDS

    def start(self, run: Run) -> None:
        """Tell that the run has begun."""
        for callback in self._callbacks:
            callback.start(run)

    def look(self, run: Run, alive: int, begun: int, done: int) -> None:
        """Note how far the run is, and tell."""
        self._looked_at = time.monotonic()
        self.meter.look(self._looked_at - self._begun_at, self._capped(alive), begun, done)
        self._tell(run, alive, done)

    def end(self, run: Run, error: BaseException | None) -> None:
        """Note the end, and tell, once."""
        if self._outcome:
            return
        done = self.segments if error is None and self.segments is not None else self._done
        self.meter.end(time.monotonic() - self._begun_at, done)
        self._outcome = "done" if error is None else f"ended by {type(error).__name__}"
        try:
            if error is None:
                self._tell(run, 0, done)
        except BaseException as raised:
            # A callback may raise anything, and the others are told of it.
            error = raised
            raise
        finally:
            for callback in self._callbacks:
                callback.end(run, error)

    def _tell(self, run: Run, alive: int, done: int) -> None:
        now = self._progress(alive, done)
        is_news, self._done = done > self._done, done
        for callback in self._callbacks:
            if is_news:
                callback.segment_done(run, now)
            callback.progress(run, now)

    def _progress(self, alive: int, done: int) -> Progress:
        cost = self.cost
        return Progress(
            done=done,
            total=self.segments,
            alive=self._capped(alive),
            seconds=time.monotonic() - self._begun_at,
            dollars=cost.dollars,
            billed=cost.billed,
        )

    def _capped(self, alive: int) -> int:
        # Lineages that wait for a worker count as alive in the store.
        return alive if self._most is None else min(alive, self._most)
