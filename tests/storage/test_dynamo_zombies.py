"""An Executor that is frozen at any call of any step, and comes back at any call of its successor.

    zombie     ── k calls ┊                          ┊ ── to its end
    successor             ┊ ── takes over, m calls   ┊                ── to its end
    others                                ┊ ── now ──┊      or now          ┊ ── until the run ends

Every k is played with every m. Values tell which execution of each task has had a part in them, as
in tests/simulation; whatever happens, the run ends, and no root knows two executions of one task.
"""

from __future__ import annotations

import itertools
import pickle
import threading
from collections.abc import Callable
from unittest import mock

import pytest

from tests.simulation.graphs import merged
from tests.storage.fake_dynamo import FakeAws, FakeObjects, FakeTable
from wukong.messages import Start
from wukong.storage import Arrival, Claim, Fenced, Lineage, NewRun, Storage, Unstored
from wukong.storage.dynamo import items
from wukong.storage.dynamo.backend import DynamoStorage
from wukong.storage.dynamo.together import one_by_one

RUN = "run"

SHAPES: dict[str, list[tuple[int, ...]]] = {
    "diamond": [(), (0,), (0,), (1, 2), (3,)],
    "wide": [(), (0,), (0,), (0,), (1, 2, 3), (4,)],
    "two leaves": [(), (), (0,), (1,), (2, 3), (0, 4)],
}


class Play:
    """One run of a small graph."""

    def __init__(self, inputs: list[tuple[int, ...]], *, holds: bool) -> None:
        self.inputs = inputs
        self.holds = holds
        self.children = [
            tuple((c, len(needs)) for c, needs in enumerate(inputs) if d in needs)
            for d in range(len(inputs))
        ]
        self.leaves = [number for number, needs in enumerate(inputs) if not needs]
        self.roots = [number for number, some in enumerate(self.children) if not some]
        self.aws = FakeAws()
        self.now = 1000.0
        self.executions = itertools.count()
        self.tokens = itertools.count()
        self.starts: list[Start] = []
        self.client = self.open()
        self.client.create(
            NewRun(
                RUN,
                specs=[b"spec"] * len(inputs),
                inputs=inputs,
                references=[len(some) or 1 for some in self.children],
                leaves=self.leaves,
            )
        )

    def open(self, before: Callable[[str], None] = lambda _: None) -> Storage:
        table, objects = FakeTable(self.aws, before), FakeObjects(self.aws, before)
        return DynamoStorage(table, objects, one_by_one, lambda: self.now)

    def execute(self, storage: Storage, start: Start) -> None:
        """Run a lineage to its end, as an Executor does."""
        (begun,) = storage.begin(RUN, [start], f"t{next(self.tokens)}")
        if begun is None:
            return
        lineage = begun.lineage
        try:
            todo = [begun.claim] if lineage.epoch == 1 else storage.owned(RUN, lineage)
            self._run(storage, lineage, todo)
            storage.finish(RUN, lineage, None)
        except Fenced:
            pass

    def _run(self, storage: Storage, lineage: Lineage, todo: list[Claim]) -> None:
        values: dict[int, dict[int, int]] = {}
        held: list[int] = []
        while todo:
            claim = todo.pop()
            number = claim.segment
            missing = [ref for ref in claim.inputs if ref.segment not in values]
            for ref, data in zip(missing, storage.read(RUN, missing), strict=True):
                if data is None:
                    raise Fenced
                values[ref.segment] = pickle.loads(data)
            parts = [values[one] for one in self.inputs[number]]
            values[number] = merged([*parts, {number: next(self.executions)}])
            if self.holds and len(self.children[number]) == 1:
                (child,) = self.children[number]
                own = storage.hold(RUN, lineage, number, child, None)
                if own is not None:
                    held.append(number)
                    todo.append(own)
                    continue
            arrived = storage.arrive(RUN, lineage, self._arrival(number, values[number], held))
            held.clear()
            storage.free(RUN, arrived.deletable)
            self.starts += arrived.handed_off
            todo += arrived.here

    def _arrival(self, number: int, value: dict[int, int], held: list[int]) -> Arrival:
        return Arrival(
            number,
            pickle.dumps(value),
            number in self.roots,
            self.inputs[number],
            self.children[number],
            last=False,
            held=tuple(Unstored(one, self.inputs[one]) for one in held),
        )

    def lose(self) -> list[Start]:
        """Have all leases end, and give what is to be started again."""
        self.client.expire(RUN, range(len(self.inputs)))
        return self.client.reap(RUN)

    def settle(self) -> None:
        """Have others do what is left, and check the results."""
        for _ in range(20):
            found = self.client.versions(RUN, self.roots)
            refs = [ref for ref in found if ref is not None]
            if len(refs) == len(self.roots):
                break
            starts, self.starts = [*self.starts, *self.lose()], []
            for start in starts:
                self.execute(self.open(), start)
        else:
            raise AssertionError("the run does not end")
        values = [pickle.loads(data) for data in self.client.read(RUN, refs) if data is not None]
        assert len(values) == len(self.roots), "a root is not there"
        merged(values)


class Actor:
    """An Executor in a thread, which makes as many calls as it is told to."""

    def __init__(self, play: Play, start: Start) -> None:
        self.calls = 0
        self.over = False
        self._left = 0
        self._go = threading.Semaphore(0)
        self._parked = threading.Semaphore(0)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._live, args=(play, start), daemon=True)
        self._thread.start()

    def _live(self, play: Play, start: Start) -> None:
        self._go.acquire()
        try:
            play.execute(play.open(self._before), start)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test is to see it
            self._error = error
        self.over = True
        self._parked.release()

    def _before(self, _: str) -> None:
        if self._left == 0:
            self._parked.release()
            self._go.acquire()
        self._left -= 1
        self.calls += 1

    def go(self, calls: int = 1_000_000) -> None:
        """Let it make so many calls more, or end."""
        if self.over:
            return
        self._left = calls
        self._go.release()
        self._parked.acquire()
        if self._error is not None:
            raise self._error


def play(shape: str, *, holds: bool, early: bool, first: int, second: int) -> tuple[bool, bool]:
    """Freeze an Executor after `first` calls; tell whether it and its successor got so far."""
    one = Play(SHAPES[shape], holds=holds)
    zombie = Actor(one, Start(0))
    zombie.go(first)
    reached = not zombie.over
    starts = {start.segment: start for start in one.lose()}
    successor = Actor(one, starts.pop(0)) if 0 in starts else None
    if successor is not None:
        successor.go(second)
    if early:
        for start in starts.values():
            one.execute(one.open(), start)
    more = successor is not None and not successor.over
    zombie.go()
    if successor is not None:
        successor.go()
    one.settle()
    return reached, more


@pytest.mark.parametrize("early", [False, True], ids=["others late", "others early"])
@pytest.mark.parametrize("holds", [False, True], ids=["stores all", "holds"])
@pytest.mark.parametrize("shape", SHAPES)
def test_whoever_is_frozen_wherever_the_run_ends_with_one_execution_of_each_task(
    shape: str, holds: bool, early: bool
) -> None:
    played = 0
    with mock.patch.object(items, "FAN", 2):
        for first in itertools.count():
            for second in itertools.count():
                try:
                    reached, more = play(
                        shape, holds=holds, early=early, first=first, second=second
                    )
                except BaseException as error:
                    error.add_note(f"{first} calls of the zombie, {second} of its successor")
                    raise
                played += 1
                if not more:
                    break
            if not reached:
                break
    assert played > 100
