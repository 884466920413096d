"""Thousands of histories of a run, calm and rough: each ends, with results that fit together.

`make soak SEEDS=100000` plays more; a seed that fails is in the name of what failed.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.odds import CALM, FORGETFUL, MODERATE, ROUGH, Odds
from tests.simulation.world import World, checked
from wukong.storage import RunState

SEEDS = int(os.environ.get("WUKONG_SEEDS", "2000"))
BATCH = 100


def play(seed: int, odds: Odds) -> World:
    return checked(World(seed, odds), seed)


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_whatever_goes_wrong_a_run_ends_with_one_execution_of_each_task(first: int) -> None:
    for seed in range(first, min(first + BATCH, SEEDS)):
        play(seed, ROUGH if seed % 2 else MODERATE)


def test_a_store_that_loses_its_last_writes_costs_time_but_neither_the_run_nor_its_truth() -> None:
    worlds = [play(seed, FORGETFUL) for seed in range(200_000, 200_000 + SEEDS // 5)]
    assert sum(world.restarts for world in worlds) > len(worlds)


def test_when_nothing_goes_wrong_every_task_is_executed_once() -> None:
    for seed in range(100):
        world = play(seed, CALM)
        assert world.executions == len(world.segments)


def test_under_moderate_faults_few_tasks_are_executed_again() -> None:
    worlds = [play(seed, MODERATE) for seed in range(100_000, 100_400)]
    executed = sum(world.executions for world in worlds)
    assert executed <= 1.25 * sum(len(world.segments) for world in worlds)


def test_what_may_go_wrong_does_in_some_of_the_histories() -> None:
    """A failing task, a cancel, and heartbeats that fail, are worth nothing if never drawn."""
    worlds = [play(seed, ROUGH) for seed in range(300_000, 300_100)]
    assert {world.ended for world in worlds} == {None, RunState.FAILED, RunState.CANCELLED}
    assert sum(world.passed_on for world in worlds) > 0
    assert sum(world.reaped for world in worlds) > 0


def test_a_seed_is_one_history() -> None:
    for seed in range(30):
        first, again = (play(seed, ROUGH) for _ in range(2))
        assert (first.now, first.executions) == (again.now, again.executions)
        # Whatever was drawn, in whatever order, was the same.
        assert first.random.getstate() == again.random.getstate()
