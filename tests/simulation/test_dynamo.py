"""The same histories on DynamoDB and S3: Executors may die between any two calls of a step."""

from __future__ import annotations

import os

import pytest

from tests.simulation.dynamo_world import DYNAMO_MODERATE, DYNAMO_ROUGH, ZOMBIES, DynamoWorld
from tests.simulation.odds import CALM, Odds
from tests.simulation.world import checked

SEEDS = int(os.environ.get("WUKONG_SEEDS", "2000")) // 8
BATCH = 50


def play(seed: int, odds: Odds) -> DynamoWorld:
    return checked(DynamoWorld(seed, odds), seed)


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_whatever_goes_wrong_a_run_ends_with_one_execution_of_each_task(first: int) -> None:
    for seed in range(first, min(first + BATCH, SEEDS)):
        play(seed, [DYNAMO_MODERATE, DYNAMO_ROUGH, ZOMBIES][seed % 3])


def test_when_nothing_goes_wrong_every_task_is_executed_once() -> None:
    for seed in range(50):
        world = play(seed, CALM)
        assert world.executions == len(world.segments)


def test_under_moderate_faults_few_tasks_are_executed_again() -> None:
    worlds = [play(seed, DYNAMO_MODERATE) for seed in range(100_000, 100_100)]
    executed = sum(world.executions for world in worlds)
    assert executed <= 1.25 * sum(len(world.segments) for world in worlds)


def test_a_seed_is_one_history() -> None:
    for seed in range(10):
        first, again = (play(seed, DYNAMO_ROUGH) for _ in range(2))
        assert (first.now, first.executions) == (again.now, again.executions)
        # Whatever was drawn, in whatever order, was the same.
        assert first.random.getstate() == again.random.getstate()
