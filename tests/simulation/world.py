"""A world of its own for one run: the real driver, core and storage, under a simulated clock.

Every Executor is a thread, and only one runs at a time, from one call to the store to the next:
the world draws who goes on, how much time passes, and what goes wrong. No real clock has a part in
it. So one seed is one history, and the same seed is the same history again.
"""

from __future__ import annotations

import copy
import pickle
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from typing import Any, TypeVar
from unittest import mock

from executor.compression import Compression
from executor.core import Core, Event, Instruction
from executor.driver import Driver
from executor.heartbeat import LOOK_SECONDS
from tests.simulation.executors import (
    TARGETS,
    Beating,
    Executor,
    Gate,
    Killed,
    Starter,
    WorldClock,
)
from tests.simulation.graphs import (
    KINDS,
    TaskFailedError,
    checked_values,
    graph,
    key_of,
    specs_of,
    turn,
)
from tests.simulation.odds import Odds
from wukong.graph.spec import encode
from wukong.messages import ExecutorEvent, InvokerReport, Reason, Refusal, Start
from wukong.storage import NewRun, RunState, StorageError, pages
from wukong.storage.memory import MemoryStorage
from wukong.storage.serialisation import Failure

RUN = "run"
LEASE = 15.0
LONG_SECONDS = 12.0
INVOCATION_SECONDS = 900.0


class HungError(AssertionError):
    """The run did not end, or not as it had to."""


class World:
    """One run of a random graph, from its creation to its last Executor."""

    call_seconds = 0.05
    """How much time may pass from one call to the next."""

    def __init__(self, seed: int, odds: Odds) -> None:
        self.random = random.Random(seed)
        self.odds = odds
        self.now = 0.0
        self.store = self.open_store()
        self.segments = graph(self.random)
        self.executions = 0
        # With one Executor at a time, many lineages travel together.
        self.parallelism = self.random.choice([None, None, 1])
        self.holds = self.random.random() < 0.5
        # Where starting costs something, children that take nothing are kept.
        self.start_seconds = self.random.choice([0.0, 0.05])
        self.page = self.random.choice([2, pages.PAGE])
        # How often the client looks: where it does seldom, Executors look for one another.
        self.care = self.random.choice([2.0, 2.0, 40.0])
        self.seconds = {kind: self.random.choice([0.0, 0.0, 0.001, 0.03, 1.5]) for kind in KINDS}
        self.failing = self._drawn_segment(odds.failing)
        self.cancelled = self.random.uniform(0, 20) if self.happens(odds.cancelled) else None
        self.executors: list[Executor] = []
        self.waiting = {one.number for one in self.segments if one.root}
        self.refused: list[ExecutorEvent] = []
        self.errors: list[BaseException] = []
        self.restarts = self.passed_on = self.reaped = 0
        self.ended: RunState | None = None
        self._cared = 0.0
        self._bookmark = ""
        self._saved: list[Any] = []

    def _drawn_segment(self, odds: float) -> int | None:
        return self.random.choice(self.segments).number if self.happens(odds) else None

    def open_store(self) -> Any:
        """Give the store, as whoever is outside of Executors sees it."""
        return MemoryStorage(lambda: self.now, lambda: turn.executor.park())

    def gate(self, executor: Executor) -> Any:
        """Give the store, as one Executor sees it."""
        return Gate(self, executor)

    def play(self, steps: int = 20_000) -> dict[int, Any]:
        """Let the run go to its end, and give the roots' values, by segment.

        None are given of a run that was cancelled or failed, as it had to.

        Raises
        ------
        HungError
            If it, or an Executor of it, has not ended after so many steps.
        """
        with self.patched():
            self.store.create(self._new_run())
            try:
                leaves = Starter(self).grouped([Start(leaf) for leaf in self._leaves()])
                self.start([ExecutorEvent(RUN, starts, TARGETS) for starts in leaves])
                self._follow(steps)
                values = {} if self.ended else self._values()
                self.store.stop(RUN, RunState.DONE)
                self._see_off(steps)
                return values
            finally:
                self._end_all()

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Have the engine be as this world is."""
        patch = mock.patch.object
        with ExitStack() as open_:
            for one in (
                # In half of the worlds all inputs are too big to come with a claim.
                mock.patch("wukong.storage.protocol.INLINE_BYTES", self.random.choice([0, 4096])),
                patch(Compression, "is_slow", return_value=self.holds),
                patch(pages, "PAGE", self.page),
                patch(Core, "step", validated),
                mock.patch("executor.driver.Heartbeat", Beating),
            ):
                open_.enter_context(one)
            yield

    # What the client does

    def _follow(self, steps: int) -> None:
        for _ in range(steps):
            if not self.waiting and not self._missing():
                return
            if self._is_over():
                return
            self._step()
            self._save()
            if self.now - self._cared > self.care:
                self._care()
        raise HungError(f"{sorted(self.waiting)} never came; {self._story()}")

    def _is_over(self) -> bool:
        """Tell whether the run has ended without its results, as it may."""
        if self.ended is RunState.FAILED:
            failure = Failure.from_bytes(self.store.failure(RUN) or b"")
            raised = self.failing is not None and failure.task == key_of(self.failing)
            # So it is told of one that had little time, and was frozen for most of it.
            misfit = self.odds.time_up and "does not fit into one invocation" in failure.message
            if not (misfit or (raised and TaskFailedError.__name__ in failure.message)):
                raise HungError(f"{failure.task}: {failure.message}\n{failure.traceback}")
        return self.ended is not None

    def _see_off(self, steps: int) -> None:
        """Let all Executors end by themselves."""
        for _ in range(steps):
            if not self.executors:
                return
            self._step()
        raise HungError(f"Executors do not end; {self._story()}")

    def _step(self) -> None:
        awake = [one for one in self.executors if self._is_awake(one)]
        self._pass_time(self.call_seconds if awake else 1.0)
        if awake:
            self._resume(self.random.choice(awake))

    def _is_awake(self, executor: Executor) -> bool:
        return max(executor.wakes, executor.works) <= self.now or executor.deadline <= self.now

    def _missing(self) -> set[int]:
        """Wait again for what the store knows no longer."""
        roots = [one.number for one in self.segments if one.root]
        found = self.store.versions(RUN, roots)
        self.waiting = {root for root, ref in zip(roots, found, strict=True) if ref is None}
        return self.waiting

    def _care(self) -> None:
        self._cared = self.now
        if self.cancelled is not None and self.cancelled < self.now:
            self.store.stop(RUN, RunState.CANCELLED)
        news = self.store.news(RUN, self._bookmark, 0.0)
        # When all is quiet, from the beginning: bookmarks of what is lost lead nowhere.
        self._bookmark = news.bookmark if news.roots else ""
        self.waiting.difference_update(news.roots)
        self.ended = news.ended
        expired = [ExecutorEvent(RUN, (start,), TARGETS) for start in self.store.reap(RUN)]
        again, self.refused = self.refused + expired, []
        self.refused = [again[refusal.position] for refusal in self.start(again).refused]

    def _values(self) -> dict[int, Any]:
        roots = [one.number for one in self.segments if one.root]
        refs = self.store.versions(RUN, roots)
        data = self.store.read(RUN, [ref for ref in refs if ref is not None])
        assert None not in refs
        assert None not in data
        return {root: pickle.loads(one) for root, one in zip(roots, data, strict=True) if one}

    # What the platform does

    def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
        """Start Executors: some late, some twice, some not at all."""
        reasons = [event.reason for event in events]
        self.passed_on += reasons.count(Reason.TIME)
        self.reaped += reasons.count(Reason.AGAIN)
        refusals = []
        for position, event in enumerate(events):
            if self.happens(self.odds.refused):
                refusals.append(Refusal(position, "no capacity"))
                continue
            if self.happens(self.odds.lost_start):
                continue
            for _ in range(2 if self.happens(self.odds.duplicate) else 1):
                late = self.random.uniform(0, 200) if self.happens(self.odds.late_start) else 0.1
                self._invoke(event, self.now + late)
        return InvokerReport(len(events) - len(refusals), tuple(refusals))

    def _save(self) -> None:
        """Keep what the store holds, for a while; or have it lose what came after."""
        if not self.odds.restart:
            return
        if self.happens(self.odds.restart):
            self.restarts += 1
            if self._saved:
                # What is later is lost for ever.
                self._saved = self._saved[: self.random.randint(1, len(self._saved))]
                self.store._runs = self._copied(self._saved[-1])
        elif self.happens(0.2):
            self._saved = [*self._saved[-5:], self._copied(self.store._runs)]

    @staticmethod
    def _copied(runs: Any) -> Any:
        """Copy what steps change, which is not much: specifications, inputs and values stay."""
        run = copy.copy(runs[RUN])
        control = run.control = copy.copy(run.control)
        for holder in run, control:
            for field in fields(holder):
                value = getattr(holder, field.name)
                if isinstance(value, dict | list | set):
                    setattr(holder, field.name, value.copy())
        control.attempts = {one: copy.copy(attempt) for one, attempt in control.attempts.items()}
        return {RUN: run}

    def _invoke(self, event: ExecutorEvent, when: float) -> None:
        short = self.happens(self.odds.time_up)
        seconds = self.random.uniform(30, 60) if short else INVOCATION_SECONDS
        executor = Executor(event, when, when + seconds, self.happens(self.odds.mute))
        self.executors.append(executor)
        threading.Thread(target=self._live, args=(executor,), daemon=True).start()
        executor.parked.acquire()

    def _live(self, executor: Executor) -> None:
        turn.world, turn.executor = self, executor
        gate = self.gate(executor)
        try:
            executor.park()
            Driver(
                executor.event,
                gate,
                lambda: Starter(self),
                lambda: executor.deadline - self.now,
                start_seconds=self.start_seconds,
                clock=WorldClock(self, executor),
            ).execute()
        except (Killed, StorageError):
            pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test is to see it
            self.errors.append(error)
        finally:
            executor.over = True
            executor.parked.release()

    def execute(self, executor: Executor, segment: int) -> int:
        """Run a task, in its Executor's thread: it takes time, and may fail; gives its number."""
        self.executions += 1
        number = self.executions
        seconds = self.seconds[KINDS[segment % len(KINDS)]]
        if self.happens(self.odds.time_up / 4):
            seconds = LONG_SECONDS
        if seconds > self.call_seconds:
            executor.works = self.now + seconds
            executor.park()
        else:
            self.now += seconds
        if segment == self.failing:
            raise TaskFailedError(f"segment {segment}")
        return number

    def _resume(self, executor: Executor) -> None:
        is_late = executor.deadline <= self.now
        if self.happens(self.odds.pause) and not is_late:
            # Frozen, without a sign of life; it wakes up as if nothing had happened.
            executor.wakes = self.now + self.random.uniform(1, 5 * LEASE)
            return
        executor.killed = self.happens(self.odds.crash) or is_late
        executor.go.release()
        executor.parked.acquire()
        if executor.over:
            self.executors.remove(executor)
        if self.errors:
            raise self.errors[0]

    def _pass_time(self, most: float) -> None:
        self.now += self.random.uniform(0, most)
        for executor in list(self.executors):
            if executor.wakes > self.now:
                continue
            for timer in [one for one in executor.timers if one.due <= self.now]:
                timer.cancel()
                timer.act()
            if executor.heartbeat is not None and executor.looks <= self.now:
                executor.looks = self.now + LOOK_SECONDS
                executor.heartbeat.look()

    def lose_beat(self, executor: Executor) -> None:
        """Have nothing arrive of what the heartbeat of some Executors sends."""
        if executor.mute and not executor.is_here:
            raise StorageError("the connection was lost", "")

    def _end_all(self) -> None:
        for executor in self.executors:
            executor.killed = True
            executor.go.release()
            executor.parked.acquire()

    def happens(self, odds: float) -> bool:
        """Draw whether something goes wrong."""
        return self.random.random() < odds

    def _leaves(self) -> list[int]:
        return [one.number for one in self.segments if not one.inputs]

    def _new_run(self) -> NewRun:
        encoded = encode(specs_of(self.segments))
        return NewRun(
            RUN,
            specs=encoded,
            shared=encoded.shared,
            inputs=[one.inputs for one in self.segments],
            references=[one.references for one in self.segments],
            leaves=self._leaves(),
            lease_seconds=LEASE,
            max_live=self.random.choice([0, 0, 1, 3]),
        )

    def _story(self) -> str:
        status = self.store.status(RUN)
        return f"{status}, {len(self.executors)} Executors after {self.now:.0f} s"


_step = Core.step


def validated(core: Core, event: Event) -> Sequence[Instruction]:
    """Take a step, and check the invariants."""
    instructions = _step(core, event)
    core.validate()
    return instructions


SomeWorld = TypeVar("SomeWorld", bound=World)


def checked(world: SomeWorld, seed: int) -> SomeWorld:
    """Play the history of a seed and check what must always hold."""
    try:
        checked_values(world.segments, world.play())
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    return world
