"""Runs one Executor: the driver for Lambda and for workers on this machine.

begin (one round trip) ─> Walker, one for each vCPU ─> free what nobody reads
Heartbeat: leases, what others lost, and what takes too long (Overtime)
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from executor.clock import CLOCK, Clock
from executor.heartbeat import Heartbeat
from executor.overtime import Overtime
from executor.recorder import recorder_of
from executor.spans import Spans
from executor.walker import Limits, Walker
from executor.work import Tally, Work
from wukong.errors import WukongError
from wukong.messages import MAX_IDLE_HOPS, ExecutorEvent
from wukong.platform import tracing
from wukong.platform.interface import Platform
from wukong.platform.lines import NO_LINES, Lines
from wukong.storage import Storage
from wukong.storage.notes import Place
from wukong.storage.signing import SignatureError

TOKEN_LENGTH = 12
"""It is part of the name of each output, and need only differ from the run's other invocations."""


class Driver:
    """Runs the lineages of one event.

    Parameters
    ----------
    event
        What this Executor was asked for.
    platform
        Gives the platform when something is handed off; most Executors never ask.
    seconds_left
        Gives how long this invocation may still run.
    place
        Where this is, for the record of the run.
    start_seconds
        What starting an Executor costs here; 0 if nothing.
    threads
        How many lineages run at once.
    lines
        The log of this invocation.
    clock
        The time.
    """

    def __init__(
        self,
        event: ExecutorEvent,
        storage: Storage,
        platform: Callable[[], Platform],
        seconds_left: Callable[[], float] = lambda: math.inf,
        place: Place = Place(),  # noqa: B008 - it is frozen
        start_seconds: float = 0.0,
        threads: int = 1,
        lines: Lines = NO_LINES,
        clock: Clock = CLOCK,
    ) -> None:
        self._event = event
        self._place = place
        self._trace = tracing.current()
        # Not the invocation's id: when Lambda repeats an invocation that died, it has the same one.
        self._token = uuid.uuid4().hex[:TOKEN_LENGTH]
        self._work = Work(event, storage, self._token, platform, lines, clock)
        self._heartbeat = Heartbeat(storage, event.run, self._work.start_again, lines, clock)
        self._limits = Limits(seconds_left, start_seconds, place.memory_mb)
        self._walkers = [self._walker() for _ in range(threads)]
        self._heartbeat.look_after(
            Overtime(self._work, self._heartbeat, self._walkers, self._limits)
        )

    def _walker(self) -> Walker:
        storage = self._work.storage
        recorder = recorder_of(self._event, storage, self._token, self._place)
        if not self._trace.is_on:
            return Walker(self._work, self._heartbeat, recorder, self._limits)
        spans = Spans(recorder, self._trace)
        walker = Walker(self._work, self._heartbeat, spans, self._limits)
        spans.task = lambda: walker.task
        return walker

    @property
    def tally(self) -> Tally:
        """What was done so far, also if it ends with an error."""
        tally = self._work.tally
        tally.stored = sum(walker.stored for walker in self._walkers)
        tally.fenced = sum(walker.fenced for walker in self._walkers)
        tally.throttled = self._work.throttled
        tally.busy = sum(walker.busy for walker in self._walkers)
        return tally

    def execute(self) -> Tally:
        """Run everything, until no lineage of this event has anything left to do.

        Raises
        ------
        StorageError
            If the storage is lost; the leases then expire and the work is re-driven.
        SignatureError
            If storage gives something with a signature that does not fit; see `refuse`.
        """
        work = self._work
        if self._event.idle > MAX_IDLE_HOPS:
            what = f"{MAX_IDLE_HOPS} Executors started one another, and none had an output"
            work.fail("(hand-off)", what)
            return self.tally
        work.begin(self._event.starts, self._walkers[0].recorder, self._heartbeat)
        with self._heartbeat:
            self._run_all()
        return self.tally

    def refuse(self, error: SignatureError) -> Tally:
        """End the run, as something in storage has a signature that does not fit."""
        self._work.refuse(error)
        return self.tally

    def _run_all(self) -> None:
        """Run the first walker in this thread, and further ones if they are worth theirs."""
        first, *more = self._walkers
        if not more:
            self._run_one(first, first=True)
            return
        with ThreadPoolExecutor(len(more)) as pool:
            ends = [pool.submit(self._run_one, walker, first=False) for walker in more]
            self._run_one(first, first=True)
        for end in ends:
            end.result()

    def _run_one(self, walker: Walker, *, first: bool) -> None:
        self._work.join(first=first)
        try:
            with self._trace.here():
                walker.run()
        except BaseException as error:
            # Whatever ends this thread, the others must not wait for what it would have brought.
            self._work.give_up()
            if isinstance(error, WukongError) or not isinstance(error, Exception):
                # Of store and platform a later Executor knows more; else the process is to end.
                raise
            self._work.fail(walker.task, "", error)
