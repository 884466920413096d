"""Counting without counters: whoever dies in a tree of nodes, one arrival claims the child."""

from __future__ import annotations

import time
from collections.abc import Iterator
from unittest import mock

import pytest

from tests.storage.fake_dynamo import FakeAws, FakeObjects, FakeTable
from wukong.storage import NewRun
from wukong.storage.dynamo import items
from wukong.storage.dynamo.access import Access
from wukong.storage.dynamo.backend import DynamoStorage
from wukong.storage.dynamo.counting import arrive_at
from wukong.storage.dynamo.items import Output, nodes, steps
from wukong.storage.dynamo.together import one_by_one

CHILD, NEED = 3, 3


class DiedError(Exception):
    """An Executor ends here."""


class Counting:
    """A child of three inputs, of which two share a node."""

    def __init__(self) -> None:
        self.aws = FakeAws()
        self.calls_left = 1_000
        objects = FakeObjects(self.aws)
        store = DynamoStorage(FakeTable(self.aws), objects, one_by_one, time.time)
        inputs = [(), (), (), (0, 1, 2)]
        store.create(NewRun("run", [b""] * 4, inputs, [1] * 4, [0, 1, 2]))
        table = FakeTable(self.aws, self._before)
        self.access = Access(table, objects, one_by_one, time.time)

    def _before(self, _: str) -> None:
        if self.calls_left == 0:
            raise DiedError
        self.calls_left -= 1

    def arrive(self, place: int, calls: int = 1_000) -> bool | None:
        """Arrive, and die after so many calls; tells whether it has claimed the child."""
        info = self.access.info("run")
        assert info is not None
        self.calls_left = calls
        child = (CHILD, NEED, place)
        claim = f"{place}.1.t"
        landed = arrive_at(self.access, info, child, place, Output(claim), claim)
        return None if landed is None else landed.claimed


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    with mock.patch.object(items, "FAN", 2):
        yield


def test_the_last_arrival_claims_and_its_repetition_does_not() -> None:
    counting = Counting()
    assert counting.arrive(0) is None, "its node waits for another"
    assert counting.arrive(1) is False
    assert counting.arrive(2) is True
    assert counting.arrive(2) is False


def test_only_who_has_completed_a_node_goes_on_upwards_when_it_is_repeated() -> None:
    counting = Counting()
    counting.arrive(2)
    counting.arrive(0)
    with pytest.raises(DiedError):
        # The node is full when the third call, at the child itself, is not made any more.
        counting.arrive(1, calls=2)
    assert counting.arrive(0) is None, "whoever repeats it may be fenced off: it claims nothing"
    assert counting.arrive(1) is True


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8, 9, 100])
def test_each_place_of_a_tree_is_filled_once(width: int) -> None:
    ways = [steps("a", width, place) for place in range(width)]
    leaves = [(way[0].part, way[0].place) for way in ways]
    assert len(set(leaves)) == width
    assert all(way[-1].part == "" for way in ways)
    sizes = {step.part: step.size for way in ways for step in way}
    for part, size in sizes.items():
        # What arrives at a node: inputs, or the nodes below it.
        places = {step.place for way in ways for step in way if step.part == part}
        assert places == set(range(size))
    assert sorted(nodes("a", width)) == sorted(part for part in sizes if part)
