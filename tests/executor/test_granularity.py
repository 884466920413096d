"""What an Executor keeps, hands off, holds back or runs side by side, by what it measures."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from dask._task_spec import Task, TaskRef

from executor.compression import Compression
from executor.driver import Driver
from executor.heartbeat import LATE_SECONDS, Heartbeat
from executor.overtime import Overtime
from executor.recorder import Silent
from executor.walker import Limits, Walker
from executor.work import KEPT_AT_ONCE, Work
from tests.conftest import until
from tests.executor.test_driver import Recorder, event, official, value
from wukong.graph.segments import collapse
from wukong.graph.spec import Specs, encode
from wukong.messages import Start
from wukong.storage import NewRun, RunState, pages
from wukong.storage.memory import MemoryStorage
from wukong.storage.serialisation import Failure

CHILDREN = 20
PAUSE = 0.02
BARRIER = threading.Barrier(2)


def quick(given: int) -> int:
    return given + 1


def slow(given: int) -> int:
    time.sleep(PAUSE)
    return given + 1


def meet(_: int) -> int:
    BARRIER.wait(60)
    return 1


def total(*given: int) -> int:
    return sum(given)


def new_run(tasks: dict[str, Task], roots: set[str]) -> NewRun:
    """Give a run with a segment for each task, as all of them have several consumers or inputs."""
    dependencies = {key: task.dependencies for key, task in tasks.items()}
    places = {key: place for place, key in enumerate(tasks)}
    segments = collapse(dependencies, roots, places)
    encoded = encode(Specs(segments, tasks))
    return NewRun(
        "run",
        specs=encoded,
        shared=encoded.shared,
        inputs=[segment.inputs for segment in segments],
        references=[segment.references for segment in segments],
        leaves=[segment.number for segment in segments if not segment.inputs],
        lease_seconds=0.6,
    )


def fan(work: Any, first: Any = None) -> MemoryStorage:
    """Give a store with a run of one task, and many children of the same kind, or of another."""
    source = "other-0" if first else "work-0"
    tasks = {source: Task(source, first or work, 0)}
    tasks |= {f"work-{n}": Task(f"work-{n}", work, TaskRef(source)) for n in range(1, CHILDREN + 1)}
    storage = MemoryStorage()
    storage.create(new_run(tasks, set(tasks) - {source}))
    return storage


def tree(width: int) -> tuple[MemoryStorage, list[int]]:
    """Give a store with a run that adds numbers pairwise, and its leaves."""
    tasks = {f"one-{n}": Task(f"one-{n}", quick, n) for n in range(width)}
    level = list(tasks)
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=True)
        level = []
        for left, right in pairs:
            key = f"sum-{len(tasks)}"
            tasks[key] = Task(key, total, TaskRef(left), TaskRef(right))
            level.append(key)
    storage = MemoryStorage()
    new = new_run(tasks, set(level))
    storage.create(new)
    return storage, list(new.leaves)


def test_children_that_take_less_than_starting_executors_are_run_in_place() -> None:
    storage, recorder = fan(quick), Recorder()
    tally = Driver(event(Start(0)), storage, lambda: recorder, start_seconds=10.0).execute()
    assert recorder.events == []
    assert tally.kept == CHILDREN - 1
    assert [value(storage, child) for child in range(1, CHILDREN + 1)] == [2] * CHILDREN


def test_children_that_are_worth_an_executor_have_one_started() -> None:
    storage, recorder = fan(slow), Recorder()
    tally = Driver(event(Start(0)), storage, lambda: recorder, start_seconds=PAUSE / 2).execute()
    assert tally.kept == 0
    assert [len(one.starts) for one in recorder.events] == [1] * (CHILDREN - 1)


def test_children_travel_in_groups_that_are_worth_an_executor() -> None:
    storage, recorder = fan(slow), Recorder()
    # Whatever else the machine does, one takes at least PAUSE, so there is room for 5 at most.
    Driver(event(Start(0)), storage, lambda: recorder, start_seconds=PAUSE * 5.5).execute()
    given = sum(len(one.starts) for one in recorder.events)
    assert CHILDREN - 6 <= given < CHILDREN
    assert max(len(one.starts) for one in recorder.events) <= 5


def test_children_that_nobody_knows_are_kept_until_the_first_has_run() -> None:
    storage, recorder = fan(quick, first=slow), Recorder()
    tally = Driver(event(Start(0)), storage, lambda: recorder, start_seconds=10.0).execute()
    assert recorder.events == []
    assert tally.kept == CHILDREN - 1


def test_children_that_turn_out_to_be_long_are_handed_off_when_the_first_has_run() -> None:
    storage, recorder = fan(slow, first=quick), Recorder()
    Driver(event(Start(0)), storage, lambda: recorder, start_seconds=PAUSE * 3).execute()
    given = sum(len(one.starts) for one in recorder.events)
    assert CHILDREN - 4 <= given < CHILDREN


class Opening(Recorder):
    """Whoever is started opens the gate that the first child waits for."""

    def start(self, events: Any) -> Any:
        GATE.set()
        return super().start(events)


GATE = threading.Event()


def wait(given: int) -> int:
    assert GATE.wait(60)
    return given + 1


def test_nobody_waits_longer_for_the_first_child_than_starting_an_executor_takes() -> None:
    GATE.clear()
    storage, recorder = fan(wait, first=quick), Opening()
    Driver(event(Start(0)), storage, lambda: recorder, start_seconds=0.05).execute()
    assert recorder.events[0].starts == (Start(2),)
    assert sum(len(one.starts) for one in recorder.events) == CHILDREN - 1


def test_nothing_is_kept_where_starting_costs_nothing() -> None:
    storage, recorder = fan(quick), Recorder()
    assert Driver(event(Start(0)), storage, lambda: recorder).execute().kept == 0
    assert len(recorder.events) == CHILDREN - 1


def test_an_output_whose_only_consumer_waits_for_it_alone_is_never_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Compression, "is_slow", lambda *_: True)
    storage, leaves = tree(8)
    Driver(event(Start(0)), storage, Recorder).execute()
    for leaf in leaves[1:]:
        Driver(event(Start(leaf)), storage, Recorder).execute()
    assert storage.status("run").done == 15
    stored = [ref for ref in storage.versions("run", range(15)) if ref is not None]
    assert len(stored) == 8, "of each pair one, and the root"
    (root,) = [ref.segment for ref in stored if ref == official(storage, 14)]
    assert value(storage, root) == sum(range(1, 9))


def test_an_output_of_very_many_inputs_is_stored_as_they_are_counted_in_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Compression, "is_slow", lambda *_: True)
    monkeypatch.setattr(pages, "PAGE", 1)
    storage, leaves = tree(8)
    for leaf in leaves:
        Driver(event(Start(leaf)), storage, Recorder).execute()
    stored = [ref for ref in storage.versions("run", range(15)) if ref is not None]
    assert len(stored) == 4 + 7, "of each pair of leaves one, and all that have two inputs"


def test_tasks_that_are_worth_a_thread_run_side_by_side_where_there_are_vcpus() -> None:
    tasks = {
        "slow-0": Task("slow-0", slow, 0),
        "meet-1": Task("meet-1", meet, 0),
        "meet-2": Task("meet-2", meet, 0),
    }
    storage = MemoryStorage()
    storage.create(new_run(tasks, set(tasks)))
    tally = Driver(event(Start(0), Start(1), Start(2)), storage, Recorder, threads=2).execute()
    assert sorted(tally.segments) == [0, 1, 2]


def overtime(storage: MemoryStorage, recorder: Recorder, left: float) -> tuple[Work, Overtime]:
    """Give an Executor whose task has run for a while."""
    work = Work(event(Start(0)), storage, "token", lambda: recorder)
    heartbeat, limits = Heartbeat(storage, "run"), Limits(lambda: left, 0.05)
    walker = Walker(work, heartbeat, Silent(), limits)
    walker.since, walker.task = time.monotonic() - 5, "work-0"
    care = Overtime(work, heartbeat, [walker], limits)
    work.begin([Start(0)], Silent(), heartbeat)
    return work, care


def test_what_was_kept_is_handed_off_when_a_task_takes_long() -> None:
    recorder = Recorder()
    work, care = overtime(fan(quick), recorder, 600.0)
    work.keep([Start(1), Start(2)])
    care.look()
    assert [one.starts for one in recorder.events] == [(Start(1),), (Start(2),)]
    care.look()
    assert len(recorder.events) == 2, "once"


def test_what_was_kept_of_a_run_that_has_ended_is_not_asked_for_piece_by_piece() -> None:
    storage = fan(quick)
    storage.stop("run", RunState.CANCELLED)
    work, heartbeat = Work(event(Start(0)), storage, "token", Recorder), Heartbeat(storage, "run")
    work.keep([Start(number) for number in range(1, 100_000)])
    assert work.next(Silent(), heartbeat) is None
    assert work.tally.stopped == KEPT_AT_ONCE
    assert not work.has_kept


def test_what_others_have_begun_of_what_was_kept_is_left_to_them() -> None:
    storage = fan(quick)
    Driver(event(Start(0)), storage, Recorder).execute()
    late, heartbeat = Work(event(Start(0)), storage, "late", Recorder), Heartbeat(storage, "run")
    storage.begin("run", [Start(number) for number in range(2, CHILDREN)], "first")
    late.keep([Start(2)] * KEPT_AT_ONCE + [Start(CHILDREN)])
    begun = late.next(Silent(), heartbeat)
    assert begun is not None
    assert begun.claim.segment == CHILDREN


def test_a_task_that_fits_into_no_invocation_ends_the_run_and_is_named() -> None:
    storage = fan(quick)
    _, care = overtime(storage, Recorder(), 1.0)
    care.look()
    assert storage.status("run").state is RunState.FAILED
    failure = Failure.from_bytes(storage.failure("run") or b"")
    assert failure.task == "work-0"
    assert "does not fit into one invocation" in failure.message


def test_a_task_that_began_late_is_left_to_an_executor_with_all_of_the_time() -> None:
    storage, recorder = fan(quick), Recorder()
    work, care = overtime(storage, recorder, 1.0)
    work.tally.segments.append(7)
    care.look()
    care.look()
    assert [one.starts for one in recorder.events] == [(Start(0, 2),)]
    assert storage.status("run").state is RunState.RUNNING


def test_executors_have_begun_again_what_others_lost_if_no_client_does() -> None:
    now = 0.0
    storage = MemoryStorage(lambda: now)
    storage.create(new_run({f"a-{n}": Task(f"a-{n}", quick, n) for n in range(2)}, {"a-0", "a-1"}))
    begun = [one for one in storage.begin("run", [Start(0), Start(1)], "token") if one]
    found: list[Start] = []
    heartbeat = Heartbeat(storage, "run", found.extend)
    heartbeat.add(begun[:1])
    with heartbeat:
        now = 1.0 + LATE_SECONDS
        until(lambda: bool(found), "the lost lineage")
    assert found[0] == Start(1, 2)
    assert Start(0, 2) not in found
