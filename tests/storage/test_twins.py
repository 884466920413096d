"""All back-ends answer as their twin in memory, whatever is asked of them, repeats included."""

from __future__ import annotations

import time
import uuid
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.storage.fake_dynamo import FakeAws, FakeObjects, FakeTable
from wukong.messages import Start
from wukong.storage import (
    Arrival,
    Begun,
    DataRef,
    Fenced,
    Lineage,
    NewRun,
    RunState,
    Storage,
    Unstored,
    pages,
    protocol,
)
from wukong.storage.dynamo import arriving, claiming, items
from wukong.storage.dynamo.backend import DynamoStorage
from wukong.storage.dynamo.together import one_by_one
from wukong.storage.memory import MemoryStorage
from wukong.storage.terms import (
    INLINE_BYTES,
    INLINE_INPUTS,
)
from wukong.storage.valkey import ValkeyStorage


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[int, ...]]:
    """Give the inputs of each of a few segments, all from earlier ones."""
    size = draw(st.integers(2, 9))
    return [
        tuple(sorted(draw(st.sets(st.integers(0, i - 1), max_size=3)))) if i else ()
        for i in range(size)
    ]


class World:
    """One back-end and what its callers know: lineages that began, segments they were given."""

    def __init__(self, storage: Storage, inputs: list[tuple[int, ...]], max_live: int) -> None:
        self.storage = storage
        self.run = uuid.uuid4().hex
        self.inputs = inputs
        self.children = [
            tuple((c, len(inputs[c])) for c in range(len(inputs)) if d in inputs[c])
            for d in range(len(inputs))
        ]
        leaves = [i for i, needs in enumerate(inputs) if not needs]
        self.starts = [Start(leaf) for leaf in leaves]
        self.lineages: list[Lineage] = []
        self.todo: list[tuple[Lineage, int]] = []
        self.held: dict[int, Unstored] = {}
        storage.create(
            NewRun(
                self.run,
                specs=[f"spec{i}".encode() for i in range(len(inputs))],
                inputs=inputs,
                references=[len(c) + (not c) for c in self.children],
                leaves=leaves,
                max_live=max_live,
            )
        )

    def begin(self, pick: int, token: int) -> Any:
        start = self.starts[pick % len(self.starts)]
        (begun,) = self.storage.begin(self.run, [start], f"t{token}")
        if isinstance(begun, Begun):
            if begun.lineage not in self.lineages:
                self.lineages.append(begun.lineage)
                self.todo.append((begun.lineage, begun.claim.segment))
            return begun
        return None

    def arrive(self, pick: int, last: bool, after: int | None) -> Any:
        if not self.todo:
            return None
        lineage, segment = self.todo[pick % len(self.todo)]
        arrival = Arrival(
            segment, b"v", not self.children[segment], self.inputs[segment],
            self.children[segment], last, after=after,
            held=tuple(self.held[x] for x in self.inputs[segment] if x in self.held),
        )  # fmt: skip
        try:
            arrived = self.storage.arrive(self.run, lineage, arrival)
        except Fenced:
            return "fenced"
        given = [(lineage, claim.segment) for claim in arrived.here]
        self.todo += [one for one in given if one not in self.todo]
        self.starts += [start for start in arrived.handed_off if start not in self.starts]
        return arrived

    def hold(self, pick: int) -> Any:
        """Hold back the output of a segment with one consumer."""
        chances = [one for one in self.todo if len(self.children[one[1]]) == 1]
        if not chances:
            return None
        lineage, segment = chances[pick % len(chances)]
        (child,) = self.children[segment]
        try:
            claim = self.storage.hold(self.run, lineage, segment, child, None)
        except Fenced:
            return "fenced"
        if claim is not None:
            self.held[segment] = Unstored(segment, self.inputs[segment])
            if (lineage, claim.segment) not in self.todo:
                self.todo.append((lineage, claim.segment))
        return claim

    def free(self, pick: int) -> None:
        refs = [ref for ref in self._official() if ref is not None]
        self.storage.free(self.run, refs[pick:])

    def expire(self, pick: int, flag: int) -> None:
        """Have the Executors of some lineages die."""
        self.storage.expire(self.run, range(pick, len(self.inputs), 1 + flag))

    def reap(self, late_seconds: float) -> Any:
        found = self.storage.reap(self.run, late_seconds=late_seconds)
        self.starts += [start for start in found if start not in self.starts]
        # In which order those of one moment come, is not said.
        return sorted((start.segment, start.epoch) for start in found)

    def act(self, action: str, pick: int, flag: int) -> Any:  # noqa: C901, PLR0912 - one case for each
        match action:
            case "begin":
                return self.begin(pick, flag)
            case "arrive":
                return self.arrive(pick, flag == 0, len(self.inputs) - 1 if flag == 2 else None)
            case "hold":
                return self.hold(pick)
            case "owned" if self.lineages:
                try:
                    return self.storage.owned(self.run, self.lineages[pick % len(self.lineages)])
                except Fenced:
                    return "fenced"
            case "unbegun" if self.lineages:
                return self.storage.unbegun(self.run, self.lineages[pick % len(self.lineages)])
            case "expire":
                self.expire(pick, flag)
            case "lose":
                self.expire(pick, flag)
                return self.reap(0.0)
            case "reap":
                return self.reap(5.0 if flag == 2 else 0.0)
            case "beat":
                return self.storage.beat(self.run, self.lineages)
            case "finish" if self.lineages:
                after = self.inputs[-1][0] if self.inputs[-1] and flag else None
                self.storage.finish(self.run, self.lineages[pick % len(self.lineages)], after)
            case "pass_on" if self.lineages:
                try:
                    start = self.storage.pass_on(self.run, self.lineages[pick % len(self.lineages)])
                except Fenced:
                    return "fenced"
                self.starts.append(start)
                return start
            case "free":
                self.free(pick)
            case "stop" if pick == 0:
                return self.storage.stop(self.run, RunState.FAILED, b"why")
        return None

    def _official(self) -> list[DataRef | None]:
        return self.storage.versions(self.run, range(len(self.inputs)))

    def view(self) -> Any:
        official = self._official()
        news = self.storage.news(self.run, "", 0.001)
        return (
            self.storage.status(self.run),
            official,
            self.storage.read(self.run, [ref for ref in official if ref is not None]),
            # In which order, is not said.
            sorted(news.roots),
            news.ended,
            self.storage.failure(self.run),
        )


NAMES = st.sampled_from(
    ["begin", "begin", "arrive", "arrive", "arrive", "owned", "beat", "finish"]
) | st.sampled_from(["stop", "pass_on", "free", "hold", "hold", "unbegun", "lose", "lose", "reap"])

ACTIONS = st.tuples(NAMES, st.integers(0, 7), st.integers(0, 2))

LAPSES = st.tuples(NAMES | st.just("expire"), st.integers(0, 7), st.integers(0, 2))
"""A lease may be over and nobody has looked. DynamoDB's then stays so until the next beat; those of
the others are extended by an arrival too."""


def compare(
    storage: Storage, inputs: list[tuple[int, ...]], max_live: int, actions: list[Any]
) -> None:
    """Ask a back-end and its twin the same."""
    worlds = [World(one, inputs, max_live) for one in (storage, MemoryStorage())]
    try:
        for action in actions:
            answers = [world.act(*action) for world in worlds]
            assert answers[0] == answers[1], action
            assert worlds[0].view() == worlds[1].view(), action
    finally:
        storage.drop(worlds[0].run)


@settings(max_examples=150, deadline=None)
@given(
    graphs(),
    st.sampled_from([0, 0, 1, 2]),
    st.lists(LAPSES, max_size=40),
    st.sampled_from([1, 2, pages.PAGE]),
)
def test_the_lua_file_and_its_twin_answer_alike(
    valkey_url: str, inputs: list[tuple[int, ...]], max_live: int, actions: list[Any], page: int
) -> None:
    valkey = ValkeyStorage(valkey_url)
    with mock.patch.object(pages, "PAGE", page):
        compare(valkey, inputs, max_live, actions)
    valkey.close()


@settings(max_examples=400, deadline=None)
@given(
    graphs(),
    st.sampled_from([0, 0, 1, 2]),
    st.lists(ACTIONS, max_size=40),
    st.sampled_from([2, items.FAN]),
    st.sampled_from([0, INLINE_BYTES]),
)
def test_single_changes_of_items_answer_like_their_twin(
    inputs: list[tuple[int, ...]], max_live: int, actions: list[Any], fan: int, inline: int
) -> None:
    aws = FakeAws()
    storage = DynamoStorage(FakeTable(aws), FakeObjects(aws), one_by_one, time.time)
    # Nothing comes with a claim if all is in objects; nor does it from the twin then.
    with (
        mock.patch.object(items, "FAN", fan),
        mock.patch.object(arriving, "INLINE_BYTES", inline),
        mock.patch.object(claiming, "INLINE_INPUTS", INLINE_INPUTS if fan > 2 else 0),
        mock.patch.object(protocol, "INLINE_BYTES", inline if fan > 2 else 0),
    ):
        compare(storage, inputs, max_live, actions)
    assert not aws.items
    assert not aws.objects


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(), st.sampled_from([0, 0, 1, 2]), st.lists(ACTIONS, min_size=10, max_size=25))
def test_dynamodb_and_s3_answer_like_their_twin(
    dynamo_storage: DynamoStorage,
    inputs: list[tuple[int, ...]],
    max_live: int,
    actions: list[Any],
) -> None:
    compare(dynamo_storage, inputs, max_live, actions)
