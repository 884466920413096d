"""The threads of a client that begin the runs of calls and follow them: few, however many runs.

    taken ─> needs are done ─> begun by one of a few threads ─> followed until it ends, by another

While there are few runs each has a thread, which hears at once what happens. When there are more,
threads share them and ask about one after another, so that neither threads nor connections to the
store grow with the number of runs.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from wukong.failing import RunCancelledError
from wukong.graph.normalise import Key
from wukong.runs import LISTEN_SECONDS, Run

THREAD = "wukong-futures"

MOST_BEGINNING = 8
"""So many runs are written and started at once; the others wait for that, in order."""

MOST_FOLLOWING = 32
"""So many threads follow runs; from then on they share them."""

ROUND_SECONDS = 0.2
"""How long a thread takes to ask about each of its runs once, if nothing happens."""

JOIN_SECONDS = 10.0
"""How long a client that is closed waits for its threads, which are told to end."""


class Job(Protocol):
    """What is to be begun and followed; each method is called in one thread at a time."""

    def begin(self) -> Run:
        """Begin the run; what it raises is given to `end`."""

    def deliver(self, keys: Sequence[Key]) -> None:
        """Hear that these roots are done."""

    def end(self, error: BaseException | None) -> None:
        """Hear, once, that it has ended, or why it has failed."""


class _Shift:
    """The runs that one thread follows."""

    def __init__(self, first: tuple[Run, Job]) -> None:
        self.jobs = [first]


class Followers:
    """Begins and follows what it is given, until it is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._waiting: set[Job] = set()
        self._queue: deque[Job] = deque()
        self._beginning = 0
        self._shifts: list[_Shift] = []
        self._is_closed = False

    def take(self, job: Job, needs: Collection[concurrent.futures.Future[object]] = ()) -> None:
        """Begin a job when what it needs is done, and follow it."""
        with self._lock:
            is_closed = self._is_closed
            if not is_closed:
                self._waiting.add(job)
        if is_closed:
            job.end(self.blame(None))
            return
        left = [future for future in needs if not future.done()]
        if not left:
            self._ready(job)
            return
        count = _Countdown(len(left), lambda: self._ready(job))
        for future in left:
            future.add_done_callback(count)

    def run(self, target: Callable[[], None]) -> None:
        """Run something that follows a run itself, in a thread of its own.

        Raises
        ------
        RunCancelledError
            If this is closed.
        """
        with self._lock:
            if not self._is_closed:
                self._start(target)
                return
        raise self.blame(None)

    def blame(self, error: BaseException | None) -> BaseException:
        """Give the error that whoever waits is to have: once this is closed, that it was."""
        if not self._is_closed and error is not None:
            return error
        if isinstance(error, RunCancelledError):
            return error
        closed = RunCancelledError(
            "the client was closed before this had its value",
            "Wait for futures before you close their client, or leave its `with`.",
        )
        closed.__cause__ = error
        return closed

    def refuse(self) -> None:
        """Take nothing any more, and end what has not begun."""
        with self._lock:
            self._is_closed = True
            jobs = [*self._queue, *self._waiting]
            self._queue.clear()
            self._waiting.clear()
        for job in jobs:
            job.end(self.blame(None))

    def join(self) -> None:
        """Wait for the threads, whose runs have been stopped; not for the one that asks."""
        deadline = time.monotonic() + JOIN_SECONDS
        with self._lock:
            threads = self._threads - {threading.current_thread()}
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _ready(self, job: Job) -> None:
        with self._lock:
            if job not in self._waiting:
                return
            self._waiting.remove(job)
            self._queue.append(job)
            if self._beginning < MOST_BEGINNING:
                self._beginning += 1
                self._start(self._begin)

    def _begin(self) -> None:
        """Begin what there is to begin."""
        while True:
            with self._lock:
                if not self._queue:
                    self._beginning -= 1
                    return
                job = self._queue.popleft()
            try:
                run = job.begin()
            except BaseException as error:  # noqa: BLE001 - whoever waits is to raise it
                job.end(self.blame(error))
            else:
                self._assign(run, job)

    def _assign(self, run: Run, job: Job) -> None:
        with self._lock:
            if len(self._shifts) >= MOST_FOLLOWING:
                min(self._shifts, key=lambda shift: len(shift.jobs)).jobs.append((run, job))
                return
            shift = _Shift((run, job))
            self._shifts.append(shift)
            self._start(lambda: self._follow(shift))

    def _follow(self, shift: _Shift) -> None:
        """Follow the runs of a shift, in turn, until there are none."""
        while True:
            with self._lock:
                jobs = list(shift.jobs)
                if not jobs:
                    self._shifts.remove(shift)
                    return
                is_alone = len(self._shifts) < MOST_FOLLOWING and len(jobs) == 1
            seconds = LISTEN_SECONDS if is_alone else ROUND_SECONDS / len(jobs)
            for one in jobs:
                if self._has_ended(*one, seconds):
                    with self._lock:
                        shift.jobs.remove(one)

    def _has_ended(self, run: Run, job: Job, seconds: float) -> bool:
        try:
            if not run.advance(seconds, job.deliver):
                return False
            run.end()
        except BaseException as error:  # noqa: BLE001 - whoever waits is to raise it
            job.end(self.blame(error))
        else:
            job.end(None)
        return True

    def _start(self, target: Callable[[], None]) -> None:
        """Start a thread; the lock is held."""

        def work() -> None:
            try:
                target()
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=work, name=THREAD, daemon=True)
        thread.start()
        self._threads.add(thread)


class _Countdown:
    """Called so many times, it calls something once."""

    def __init__(self, count: int, then: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._left = count
        self._then = then

    def __call__(self, _: object) -> None:
        with self._lock:
            self._left -= 1
            is_last = not self._left
        if is_last:
            self._then()
