"""A world of its own for one run: the real driver, core and storage, under a simulated clock.

Every Executor is a thread, and only one runs at a time, from one call to the store to the next:
the world draws who goes on, how much time passes, and what goes wrong. So one seed is one history,
and the same seed is the same history again.

Tasks are not deterministic: each execution gives a value that no other gives, together with the
values that it was given. So if any two consumers had seen different executions of one task, the
results would show it.
"""

from __future__ import annotations

import copy
import pickle
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast
from unittest import mock

from executor.compression import Compression
from executor.driver import Driver
from wukong.graph.segments import Segment
from wukong.graph.spec import Spec, encode
from wukong.messages import ExecutorEvent, InvokerReport, Refusal, Start, Targets
from wukong.platform.interface import Platform
from wukong.storage import Begun, Lineage, NewRun, StorageError
from wukong.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from dask._task_spec import GraphNode

RUN = "run"
LEASE = 15.0
CARE = 2.0
TARGETS = Targets("executor", "invoker")


@dataclass(frozen=True)
class Odds:
    """How likely it is that something goes wrong, at each call to the store or start."""

    crash: float = 0.0
    lost_reply: float = 0.0
    repeated: float = 0.0
    pause: float = 0.0
    lost_start: float = 0.0
    duplicate: float = 0.0
    late_start: float = 0.0
    refused: float = 0.0
    time_up: float = 0.0
    restart: float = 0.0
    """Of the store, which then has lost what was written in its last seconds."""


CALM = Odds()
MODERATE = Odds(0.004, 0.004, 0.02, 0.01, 0.01, 0.03, 0.05, 0.01, 0.02)
ROUGH = Odds(0.04, 0.03, 0.1, 0.06, 0.1, 0.15, 0.15, 0.1, 0.1)
FORGETFUL = replace(ROUGH, restart=0.01)


class Killed(BaseException):
    """The process of an Executor ends here."""


class HungError(AssertionError):
    """The run did not end."""


@dataclass(eq=False)
class Executor:
    """One invocation: a thread that waits for its turn before each call to the store."""

    event: ExecutorEvent
    wakes: float
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    parked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    lineages: list[Lineage] = field(default_factory=list)
    killed: bool = False
    over: bool = False

    def park(self) -> None:
        """Wait for the next turn; it may be the last."""
        self.parked.release()
        self.go.acquire()
        if self.killed:
            raise Killed


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
        self.executors: list[Executor] = []
        self.waiting = {one.number for one in self.segments if one.root}
        self.refused: list[ExecutorEvent] = []
        self.errors: list[BaseException] = []
        self.restarts = 0
        self._cared = 0.0
        self._bookmark = ""
        self._saved: list[Any] = []

    def open_store(self) -> Any:
        """Give the store, as whoever is outside of Executors sees it."""
        return MemoryStorage(lambda: self.now)

    def gate(self, executor: Executor) -> Any:
        """Give the store, as one Executor sees it."""
        return Gate(self, executor)

    def play(self, steps: int = 20_000) -> dict[int, Any]:
        """Let the run go to its end, and give the roots' values, by segment.

        Raises
        ------
        HungError
            If it has not ended after so many steps.
        """
        self.store.create(self._new_run())
        # In half of the worlds all inputs are too big to come with a claim, and outputs are held.
        inline = mock.patch("wukong.storage.protocol.INLINE_BYTES", self.random.choice([0, 4096]))
        slow = mock.patch.object(Compression, "is_slow", return_value=self.holds)
        with mock.patch("executor.driver.Heartbeat", Beating), inline, slow:
            try:
                leaves = Starter(self).grouped([Start(leaf) for leaf in self._leaves()])
                self.start([ExecutorEvent(RUN, starts, TARGETS) for starts in leaves])
                for _ in range(steps):
                    if not self.waiting and not self._missing():
                        break
                    self._step()
                else:
                    raise HungError(f"{sorted(self.waiting)} never came; {self._story()}")
                return self._values()
            finally:
                self._end_all()

    # What the client does

    def _step(self) -> None:
        awake = [one for one in self.executors if one.wakes <= self.now]
        self._pass_time(self.call_seconds if awake else 1.0)
        if awake:
            self._resume(self.random.choice(awake))
        self._save()
        if self.now - self._cared > CARE:
            self._care()

    def _missing(self) -> set[int]:
        """Wait again for what the store knows no longer."""
        roots = [one.number for one in self.segments if one.root]
        found = self.store.versions(RUN, roots)
        self.waiting = {root for root, ref in zip(roots, found, strict=True) if ref is None}
        return self.waiting

    def _care(self) -> None:
        self._cared = self.now
        news = self.store.news(RUN, self._bookmark, 0.0)
        # When all is quiet, from the beginning: bookmarks of what is lost lead nowhere.
        self._bookmark = news.bookmark if news.roots else ""
        self.waiting.difference_update(news.roots)
        if news.ended is not None and self.waiting:
            raise HungError(f"ended as {news.ended}: {self._story()}")
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
                self.store._runs = copy.deepcopy(self._saved[-1])
        elif self.happens(0.2):
            self._saved = [*self._saved[-5:], copy.deepcopy(self.store._runs)]

    def _invoke(self, event: ExecutorEvent, when: float) -> None:
        executor = Executor(event, when)
        self.executors.append(executor)
        threading.Thread(target=self._live, args=(executor,), daemon=True).start()
        executor.parked.acquire()

    def _live(self, executor: Executor) -> None:
        _turn.world, _turn.executor = self, executor
        left = self.random.uniform(0, 30) if self.happens(self.odds.time_up) else 900.0
        gate = self.gate(executor)
        try:
            executor.park()
            Driver(
                executor.event,
                gate,
                lambda: Starter(self),
                lambda: left,
                start_seconds=self.start_seconds,
            ).execute()
        except (Killed, StorageError):
            pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test is to see it
            self.errors.append(error)
        finally:
            executor.over = True
            executor.parked.release()

    def _resume(self, executor: Executor) -> None:
        if self.happens(self.odds.pause):
            # Frozen, without a sign of life; it wakes up as if nothing had happened.
            executor.wakes = self.now + self.random.uniform(1, 5 * LEASE)
            return
        executor.killed = self.happens(self.odds.crash)
        executor.go.release()
        executor.parked.acquire()
        if executor.over:
            self.executors.remove(executor)
        if self.errors:
            raise self.errors[0]

    def _pass_time(self, most: float) -> None:
        self.now += self.random.uniform(0, most)
        for executor in self.executors:
            if executor.wakes <= self.now and executor.lineages:
                self.store.beat(RUN, executor.lineages)

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
        needs = [len(one.inputs) for one in self.segments]
        specs = [
            Spec(
                tasks=((one.number, cast("GraphNode", Work(one.number))),),
                inputs=tuple((number, (number,)) for number in one.inputs),
                children=tuple((child, needs[child]) for child in one.children),
                root=one.root,
                outputs=one.outputs,
            )
            for one in self.segments
        ]
        encoded = encode(specs)
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


class Gate:
    """The store, as one Executor sees it: each call waits for its turn, and may go wrong."""

    def __init__(self, world: World, executor: Executor) -> None:
        self._world = world
        self._executor = executor

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._world.store, name)

        def call(*arguments: Any) -> Any:
            self._executor.park()
            answer = method(*arguments)
            if self._world.happens(self._world.odds.lost_reply):
                raise StorageError("the connection was lost", "")
            if self._world.happens(self._world.odds.repeated):
                answer = method(*arguments)
            return answer

        return call


class Starter(Platform):
    """The platform, as an Executor sees it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.parallelism = world.parallelism

    def targets(self) -> Targets:
        return TARGETS

    def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
        return self._world.start(events)


class Beating:
    """Instead of the thread that extends leases: the world does it while time passes."""

    def __init__(self, *_: object) -> None:
        self._lineages: list[Lineage] = []

    def look_after(self, _: object) -> None:
        """Nothing takes long here."""

    def add(self, begun: Sequence[Begun]) -> None:
        """Extend these too."""
        self._lineages += [one.lineage for one in begun]

    def __enter__(self) -> Beating:
        _turn.executor.lineages = self._lineages
        return self

    def __exit__(self, *_: object) -> None:
        _turn.executor.lineages = []

    def release(self, lineage: Lineage) -> None:
        """Stop extending a lease."""
        self._lineages.remove(lineage)


@dataclass(frozen=True)
class Work:
    """A task. Its value says which execution of each segment before it has had a part in it."""

    segment: int
    dependencies: frozenset[int] = frozenset()

    def __call__(self, known: Mapping[int, Mapping[int, int]]) -> dict[int, int]:
        world: World = _turn.world
        world.executions += 1
        return merged([*known.values(), {self.segment: world.executions}])


def merged(histories: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Put histories together; raises `AssertionError` if they tell of different executions."""
    whole: dict[int, int] = {}
    for history in histories:
        for segment, execution in history.items():
            if whole.setdefault(segment, execution) != execution:
                raise AssertionError(f"two executions of segment {segment} were taken for one")
    return whole


def graph(rng: random.Random) -> list[Segment]:
    """Draw a graph: of a few segments, each with inputs among those before it."""
    size = rng.choice([rng.randint(2, 14), rng.randint(20, 40)])
    inputs = [
        tuple(sorted(rng.sample(range(i), min(i, rng.choice([0, 1, 1, 1, 2, 2, 3])))))
        for i in range(size)
    ]
    children = [tuple(c for c in range(size) if d in inputs[c]) for d in range(size)]
    return [
        Segment(i, (i,), (i,), inputs[i], children[i], root=not children[i] or rng.random() < 0.1)
        for i in range(size)
    ]


def ancestors(segments: Sequence[Segment], number: int) -> set[int]:
    """Give the segments that a segment needs, itself included."""
    return {number}.union(*(ancestors(segments, one) for one in segments[number].inputs))


_turn = threading.local()


SomeWorld = TypeVar("SomeWorld", bound=World)


def checked(world: SomeWorld, seed: int) -> SomeWorld:
    """Play the history of a seed and check what must always hold."""
    try:
        values = world.play()
        for root, history in values.items():
            assert set(history) == ancestors(world.segments, root)
        merged(values.values())
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    return world
