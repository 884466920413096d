"""Lineages that can begin now, shared among the Executors that there are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from wukong.messages import ExecutorEvent, InvokerReport, Start, Targets
from wukong.platform.interface import SHARES, Platform


class Few(Platform):
    """A platform with so many Executors."""

    def __init__(self, parallelism: int | None) -> None:
        self.parallelism = parallelism

    def targets(self) -> Targets:
        return Targets("executor", "invoker")

    def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
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
