"""Lineages that can begin now, shared among the Executors that there are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import pytest

from executor.work import Work
from wukong.messages import ExecutorEvent, InvokerReport, Reason, Start, Targets
from wukong.platform.aws import EVENT_BYTES, AwsPlatform
from wukong.platform.interface import SHARES, Platform
from wukong.storage.memory import MemoryStorage


class Few(Platform):
    """A platform with so many Executors."""

    def __init__(self, parallelism: int | None) -> None:
        self.parallelism = parallelism
        self.asked: list[ExecutorEvent] = []

    def targets(self) -> Targets:
        return Targets("executor", "invoker")

    def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
        self.asked += events
        return InvokerReport(len(events))


def starts(number: int) -> list[Start]:
    return [Start(segment) for segment in range(number)]


def test_where_there_is_no_end_of_executors_each_lineage_has_its_own() -> None:
    assert Few(None).grouped(starts(3)) == [(Start(0),), (Start(1),), (Start(2),)]


@pytest.mark.parametrize("parallelism", [1, 2, 8])
@pytest.mark.parametrize("number", [0, 1, 7, 100, 5000])
def test_groups_are_neighbours_and_get_smaller_to_the_end(parallelism: int, number: int) -> None:
    groups = Few(parallelism).grouped(starts(number))
    assert [start for group in groups for start in group] == starts(number)
    sizes = [len(group) for group in groups]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size <= max(1, number // (SHARES * parallelism)) for size in sizes)
    if number >= SHARES * parallelism:
        assert sizes[-SHARES * parallelism :] == [1] * SHARES * parallelism


def test_thousands_of_lineages_become_few_events() -> None:
    assert len(Few(2).grouped(starts(10_000))) < 100


LIKE = ExecutorEvent("a" * 32, (Start(0),), Targets("executor:7", "invoker:7"))


@pytest.mark.parametrize("first", [0, 4_294_000_000])
def test_a_group_that_is_too_large_for_an_event_becomes_several_of_neighbours(first: int) -> None:
    platform = AwsPlatform(object(), LIKE.targets)  # type: ignore[arg-type] - Lambda is not asked
    groups = [[Start(first + number) for number in range(size)] for size in (125_000, 2, 1)]
    events = platform.events_for(LIKE, groups)
    assert all(len(event.to_bytes()) <= EVENT_BYTES for event in events)
    assert [start for event in events for start in event.starts] == [*chain(*groups)]
    *large, two, one = events
    assert [len(two.starts), len(one.starts)] == [2, 1]
    assert len(large) == 2, "no more than it takes"


def test_what_an_executor_hands_off_together_fits_into_events() -> None:
    platform = Few(None)
    platform.event_bytes = 1_000
    work = Work(LIKE, MemoryStorage(), "token", lambda: platform)
    work.hand_off(starts(500), Reason.FAN_OUT, together=500)
    assert [start for event in platform.asked for start in event.starts] == starts(500)
    assert max(len(event.to_bytes()) for event in platform.asked) <= 1_000


def test_where_events_have_no_limit_a_group_is_one() -> None:
    assert len(Few(2).events_for(LIKE, [starts(125_000)])) == 1
