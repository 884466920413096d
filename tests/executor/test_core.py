"""The Executor's rules, without storage, clock or threads: events in, instructions out."""

from __future__ import annotations

from typing import Any

import pytest

from executor.core import (
    Arrive,
    ArrivedAt,
    Began,
    Compute,
    Computed,
    Core,
    Delete,
    Event,
    Failed,
    FencedOff,
    Fetch,
    Fetched,
    Forget,
    Halt,
    HandOff,
    Held,
    Hold,
    PassOn,
    TimeUp,
)
from wukong.messages import Start
from wukong.storage import Claim, DataRef, Lineage


def claim(segment: int, *inputs: int) -> Claim:
    return Claim(segment, b"", tuple(DataRef(x, f"{x}.1") for x in inputs))


def arrived(one: Claim, *here: Claim, **rest: Any) -> ArrivedAt:
    return ArrivedAt(one, here, rest.get("handed_off", ()), rest.get("deletable", ()))


def steps(core: Core, *events: Event) -> list[Any]:
    """Give the instructions of the last event; the invariants hold after every one."""
    instructions: list[Any] = []
    for event in events:
        instructions = list(core.step(event))
        core.validate()
    return instructions


def test_a_leaf_is_computed_and_arrives_as_the_last_thing_to_do() -> None:
    core, leaf = Core(Lineage(0, 1)), claim(0)
    assert steps(core, Began((leaf,))) == [Compute(leaf)]
    assert steps(core, Computed(leaf)) == [Arrive(leaf, last=True)]
    assert steps(core, arrived(leaf)) == [Forget((0,)), Halt(known=True)]


def test_it_becomes_a_child_and_keeps_the_output_in_memory_for_it() -> None:
    core, leaf, child = Core(Lineage(0, 1)), claim(0), claim(1, 0)
    steps(core, Began((leaf,)), Computed(leaf))
    assert steps(core, arrived(leaf, child)) == [Compute(child)], "no fetch: the input is here"
    steps(core, Computed(child))
    assert steps(core, arrived(child)) == [Forget((0, 1)), Halt(known=True)]


def test_an_input_that_a_task_may_have_changed_is_fetched_for_the_next() -> None:
    core, leaf, one, two = Core(Lineage(0, 1)), claim(0), claim(1, 0), claim(2, 0)
    steps(core, Began((leaf,)), Computed(leaf))
    assert steps(core, arrived(leaf, one, two)) == [Compute(one)]
    steps(core, Computed(one, spent=(0,)))
    assert steps(core, arrived(one)) == [Forget((1,)), Fetch(two, (DataRef(0, "0.1"),))]


def test_inputs_that_others_made_are_fetched_and_only_those() -> None:
    core, leaf, join = Core(Lineage(0, 1)), claim(0), claim(2, 0, 1)
    steps(core, Began((leaf,)), Computed(leaf))
    assert steps(core, arrived(leaf, join)) == [Fetch(join, (DataRef(1, "1.1"),))]
    assert steps(core, Fetched(join)) == [Compute(join)]


def test_what_is_handed_off_and_deletable_comes_before_the_next_segment() -> None:
    core, leaf, child = Core(Lineage(0, 1)), claim(0), claim(1, 0)
    steps(core, Began((leaf,)), Computed(leaf))
    event = arrived(leaf, child, handed_off=(Start(2),), deletable=(DataRef(9, "9.1"),))
    assert steps(core, event) == [
        HandOff((Start(2),)),
        Delete((DataRef(9, "9.1"),)),
        Compute(child),
    ]


def test_children_that_stay_run_best_first_and_their_input_is_kept_until_the_last() -> None:
    core, leaf, one, two = Core(Lineage(0, 1)), claim(0), claim(1, 0), claim(2, 0)
    steps(core, Began((leaf,)), Computed(leaf))
    assert steps(core, arrived(leaf, one, two)) == [Compute(one)]
    assert steps(core, Computed(one)) == [Arrive(one, last=False)]
    assert steps(core, arrived(one)) == [Forget((1,)), Compute(two)]
    steps(core, Computed(two))
    assert steps(core, arrived(two)) == [Forget((0, 2)), Halt(known=True)]


def test_a_re_driven_lineage_runs_all_that_it_owns() -> None:
    core, one, two = Core(Lineage(0, 2)), claim(1, 0), claim(2, 0)
    assert steps(core, Began((one, two))) == [Fetch(one, (DataRef(0, "0.1"),))]


def test_a_lineage_that_owns_nothing_any_more_halts() -> None:
    assert steps(Core(Lineage(0, 2)), Began(())) == [Halt()]


def test_fenced_means_stop_and_discard() -> None:
    core, leaf, one, two = Core(Lineage(0, 1)), claim(0), claim(1, 0), claim(2, 0)
    steps(core, Began((leaf,)), Computed(leaf), arrived(leaf, one, two), Computed(one))
    assert steps(core, FencedOff()) == [Forget((0, 1)), Halt(known=True)]


def test_without_time_a_lineage_is_passed_on_with_all_that_it_owns() -> None:
    core, leaf, one, two = Core(Lineage(0, 1)), claim(0), claim(1, 0), claim(2, 0)
    steps(core, Began((leaf,)), Computed(leaf), arrived(leaf, one, two))
    assert steps(core, TimeUp(one)) == [Forget((0,)), PassOn()]


def test_a_failed_task_ends_the_lineage() -> None:
    core, leaf = Core(Lineage(0, 1)), claim(0)
    steps(core, Began((leaf, claim(1))))
    assert steps(core, Failed(leaf)) == [Halt(known=True)]


def test_a_big_output_is_held_where_its_only_consumer_waits_for_it_alone() -> None:
    core, leaf, child = Core(Lineage(0, 1)), claim(0), claim(1, 0)
    steps(core, Began((leaf,)))
    assert steps(core, Computed(leaf, hold=True)) == [Hold(leaf)]
    assert steps(core, Held(leaf, child)) == [Compute(child)], "nothing is stored"
    assert steps(core, Computed(child)) == [Arrive(child, last=True, held=(leaf,))]
    assert steps(core, arrived(child)) == [Forget((0, 1)), Halt(known=True)]


def test_a_big_output_whose_consumer_waits_for_others_arrives() -> None:
    core, leaf = Core(Lineage(0, 1)), claim(0)
    steps(core, Began((leaf,)), Computed(leaf, hold=True))
    assert steps(core, Held(leaf, None)) == [Arrive(leaf, last=True)]


def test_outputs_that_are_held_one_for_another_become_official_together() -> None:
    core, leaf, one, two = Core(Lineage(0, 1)), claim(0), claim(1, 0), claim(2, 1, 5)
    steps(core, Began((leaf,)), Computed(leaf, hold=True), Held(leaf, one))
    assert steps(core, Computed(one, hold=True)) == [Hold(one)]
    (forget, fetch) = steps(core, Held(one, two))
    assert (forget, fetch) == (Forget((0,)), Fetch(two, (DataRef(5, "5.1"),)))
    assert steps(core, Fetched(two), Computed(two)) == [Arrive(two, last=True, held=(leaf, one))]


def test_without_time_what_is_held_is_stored_before_the_lineage_is_passed_on() -> None:
    core, leaf, child = Core(Lineage(0, 1)), claim(0), claim(1, 0)
    steps(core, Began((leaf,)), Computed(leaf, hold=True), Held(leaf, child))
    assert steps(core, TimeUp(child)) == [Arrive(leaf, last=True)]
    assert steps(core, arrived(leaf, child)) == [Compute(child)], "it is owned already"
    assert steps(core, TimeUp(child)) == [Forget((0,)), PassOn()]


def test_without_time_the_last_of_several_that_are_held_is_stored_with_the_others() -> None:
    core, leaf, one, two = Core(Lineage(0, 1)), claim(0), claim(1, 0), claim(2, 1)
    steps(core, Began((leaf,)), Computed(leaf, hold=True), Held(leaf, one))
    steps(core, Computed(one, hold=True), Held(one, two))
    assert steps(core, TimeUp(two)) == [Arrive(one, last=True, held=(leaf,))]


def test_the_story_of_a_segment_is_told_in_order() -> None:
    core, leaf, child = Core(Lineage(0, 1)), claim(0), claim(1, 0)
    steps(core, Began((leaf,)), Computed(leaf), arrived(leaf, child), Computed(child))
    assert core.story(1) == ["ArrivedAt 0, 1", "Compute 1", "Computed 1", "Arrive 1"]


def test_what_nobody_waits_for_is_found_in_memory() -> None:
    core, leaf, child = Core(Lineage(0, 1)), claim(0), claim(1, 0)
    steps(core, Began((leaf,)), Computed(leaf), arrived(leaf, child))
    core.memory.add(7)
    with pytest.raises(AssertionError, match=r"\{7\} in memory"):
        core.validate()


def test_an_event_after_the_end_is_found() -> None:
    core, leaf = Core(Lineage(0, 1)), claim(0)
    steps(core, Began((leaf,)), FencedOff())
    with pytest.raises(AssertionError, match="after the end"):
        steps(core, FencedOff())
