"""Lineages on a table that others change between two calls, and what taking one over costs."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from tests.storage.fake_dynamo import FakeAws, FakeObjects, FakeTable
from tests.storage.test_contract import arrival, begin, diamond
from wukong.messages import Start
from wukong.storage import Arrival, Lineage, NewRun, Storage
from wukong.storage.dynamo.access import RunInfo
from wukong.storage.dynamo.backend import DynamoStorage
from wukong.storage.dynamo.effects import lease_item
from wukong.storage.dynamo.items import FIXED_BYTES, Attempt, attempt_of, run_key
from wukong.storage.dynamo.table import Item, Key
from wukong.storage.dynamo.together import one_by_one
from wukong.storage.keys import Keys
from wukong.storage.signing import SignedStorage

RUN = "run"


def store_on(table: FakeTable, aws: FakeAws, *, signed: bool = False) -> Storage:
    store: Storage = DynamoStorage(table, FakeObjects(aws), one_by_one, time.time)
    return SignedStorage(store, Keys("env:KEY", lambda *_: ["k" * 32])) if signed else store


class Dropping(FakeTable):
    """A table whose run is dropped right before what is fixed of a segment is read."""

    def __init__(self, aws: FakeAws) -> None:
        super().__init__(aws)
        self.other = DynamoStorage(FakeTable(aws), FakeObjects(aws), one_by_one, time.time)
        self.dropped = False

    def get(self, keys: Sequence[Key]) -> dict[Key, Item]:
        if any(name == "s0t" for _, name in keys):
            self.other.drop(RUN)
            self.dropped = True
        return super().get(keys)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_nothing_begins_in_a_run_that_is_dropped_meanwhile(signed: bool) -> None:
    aws = FakeAws()
    table = Dropping(aws)
    store = store_on(table, aws, signed=signed)
    store.create(NewRun(RUN, [b"s" * FIXED_BYTES], [()], [1], [0]))
    assert store.begin(RUN, [Start(0)], "a") == [None]
    assert table.dropped


def test_a_lease_that_a_late_hand_off_overwrites_is_put_right_by_the_next_beat() -> None:
    aws = FakeAws()
    table = FakeTable(aws)
    store = store_on(table, aws)
    store.create(diamond(RUN))
    store.arrive(RUN, begin(store, RUN, 0).lineage, arrival(0))
    two = begin(store, RUN, 2, token="b").lineage
    info = RunInfo.of(RUN, aws.items[run_key(RUN)], 0)
    assert info is not None
    table.put([lease_item(info, Attempt(2), 0) | {"by": 0}])
    assert store.beat(RUN, [two]) == []
    assert aws.items[info.layout.lease(2)]["at"] == str(attempt_of(two))
    assert store.unbegun(RUN, Lineage(0, 1)) == [], "it has begun"
    assert store.reap(RUN) == []
    store.pass_on(RUN, two)
    assert store.beat(RUN, [two]) == [2]


def test_a_beat_that_is_overtaken_leaves_its_successors_lease_alone() -> None:
    aws = FakeAws()
    calls: list[str] = []
    store = store_on(FakeTable(aws, calls.append), aws)
    other = store_on(FakeTable(aws), aws)
    store.create(diamond(RUN))
    one = begin(store, RUN, 0).lineage
    info = RunInfo.of(RUN, aws.items[run_key(RUN)], 0)
    assert info is not None
    FakeTable(aws).put([lease_item(info, Attempt(0), 0)])
    calls.clear()

    def take_over(call: str) -> None:
        calls.append(call)
        if calls.count("change") == 2:
            # It has seen that it is the current one, and is about to write its lease.
            other.reap(RUN)
            begin(other, RUN, 0, 2, "b")

    overtaken = store_on(FakeTable(aws, take_over), aws)
    assert overtaken.beat(RUN, [one]) == []
    assert calls.count("change") == 2
    assert aws.items[info.layout.lease(0)]["at"] == "0.2.b"
    assert store.beat(RUN, [one]) == [0]


class Chain:
    """A chain of segments of which all but the last are official, of one lineage."""

    length = 40

    def __init__(self) -> None:
        self.aws = FakeAws()
        self.calls = 0
        self.first = self.open()
        inputs = [(number - 1,) if number else () for number in range(self.length)]
        self.first.create(NewRun(RUN, [b"spec"] * self.length, inputs, [1] * self.length, [0]))
        self.lineage = begin(self.first, RUN, 0).lineage
        for number in range(self.length - 1):
            children = ((number + 1, 1),)
            one = Arrival(number, b"out", False, inputs[number], children, last=False)
            self.first.arrive(RUN, self.lineage, one)

    def open(self) -> Storage:
        """Open the store as another process does, that knows nothing."""
        return store_on(FakeTable(self.aws, self._count), self.aws)

    def _count(self, _: str) -> None:
        self.calls += 1

    def lose(self) -> None:
        self.first.expire(RUN, [0])
        assert len(self.first.reap(RUN)) == 1

    def take_over(self, epoch: int) -> int:
        """Take it over, and count what calls that takes."""
        store = self.open()
        lineage = begin(store, RUN, 0, epoch, f"t{epoch}").lineage
        assert lineage == Lineage(0, epoch, f"t{epoch}")
        before = self.calls
        assert [claim.segment for claim in store.owned(RUN, lineage)] == [self.length - 1]
        return self.calls - before


def test_what_has_had_its_effects_is_not_walked_again_when_a_lineage_is_passed_on() -> None:
    chain = Chain()
    chain.first.pass_on(RUN, chain.lineage)
    assert chain.take_over(2) < 10
    chain.lose()
    assert chain.take_over(3) < 10, "its successor was lost right after it had looked"


def test_what_a_lost_executor_left_is_walked_once() -> None:
    chain = Chain()
    chain.lose()
    assert chain.take_over(2) > chain.length, "each segment may lack its effects"
    chain.lose()
    assert chain.take_over(3) < 10
