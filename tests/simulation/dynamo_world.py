"""A world whose store is DynamoDB and S3: what goes wrong does so between any two of their calls.

Each Executor has a back-end of its own, with the cache of its own process, on a table and a bucket
that all share (tests/storage/fake_dynamo.py). It waits for its turn before each call to them, and
may die there; replies are lost, and calls are made twice, as boto3 does when a reply is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from tests.simulation.executors import Executor
from tests.simulation.odds import MODERATE, ROUGH, Odds
from tests.simulation.world import World
from tests.storage.fake_dynamo import FakeAws, FakeObjects, FakeTable
from wukong.storage import StorageError
from wukong.storage.dynamo import items
from wukong.storage.dynamo.backend import DynamoStorage
from wukong.storage.dynamo.table import Change, Outcome
from wukong.storage.dynamo.together import one_by_one

CALLS = 8
"""About so many calls are one step of the store in memory."""


def scaled(odds: Odds) -> Odds:
    """Give the odds of one call to the table, such that those of a step are about the same."""
    return replace(
        odds,
        crash=odds.crash / CALLS,
        lost_reply=odds.lost_reply / CALLS,
        pause=odds.pause / CALLS,
        repeated=odds.repeated / 2,
    )


DYNAMO_MODERATE, DYNAMO_ROUGH = scaled(MODERATE), scaled(ROUGH)

ZOMBIES = replace(DYNAMO_ROUGH, crash=0.001, pause=0.01, late_start=0.02)
"""Executors freeze in the middle of steps, and come back when others have taken their place."""


class DynamoWorld(World):
    """One run of a random graph on DynamoDB and S3."""

    call_seconds = 0.05 / CALLS

    def open_store(self) -> Any:
        self.aws = FakeAws()
        # Drawn anew for each world: trees of nodes, and outputs in items or objects.
        self.fan = self.random.choice([2, 32])
        self.inline = self.random.choice([0, 4096])
        table = FakeTable(self.aws, chance=self.random)
        return DynamoStorage(table, FakeObjects(self.aws), one_by_one, lambda: self.now)

    def gate(self, executor: Executor) -> Any:
        table = RoughTable(self, executor)
        objects = FakeObjects(self.aws, lambda _: executor.park())
        return DynamoStorage(table, objects, one_by_one, lambda: self.now)

    def play(self, steps: int = 20_000) -> dict[int, Any]:
        return super().play(steps * CALLS)

    @contextmanager
    def patched(self) -> Iterator[None]:
        patch, place = mock.patch.object, "wukong.storage.dynamo"
        with (
            super().patched(),
            patch(items, "FAN", self.fan),
            mock.patch(f"{place}.arriving.INLINE_BYTES", self.inline),
            # Which part of the leases an Executor looks at.
            mock.patch(f"{place}.lineages.random", self.random),
        ):
            yield


class RoughTable(FakeTable):
    """The table, as one Executor sees it."""

    def __init__(self, world: DynamoWorld, executor: Executor) -> None:
        super().__init__(world.aws, lambda _: self._wait(), world.random)
        self._world = world
        self._executor = executor

    def _wait(self) -> None:
        self._executor.park()
        self._world.lose_beat(self._executor)

    def change(self, change: Change) -> Outcome:
        outcome = super().change(change)
        if self._world.happens(self._world.odds.lost_reply):
            raise StorageError("the connection was lost", "")
        if self._world.happens(self._world.odds.repeated):
            outcome = super().change(change)
        return outcome
