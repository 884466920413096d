"""The driver against a real store: replaced meanwhile, data gone, and all well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from executor.driver import Driver
from executor.work import Work
from wukong.graph.segments import Segment
from wukong.graph.spec import Specs, encode
from wukong.messages import MAX_IDLE_HOPS, ExecutorEvent, InvokerReport, Reason, Start, Targets
from wukong.platform.interface import Platform
from wukong.storage import DataRef, NewRun, RunState
from wukong.storage.memory import MemoryStorage
from wukong.storage.serialisation import Failure, loads


class Recorder(Platform):
    """A platform that only notes what it was asked to start."""

    def __init__(self) -> None:
        self.events: list[ExecutorEvent] = []

    def targets(self) -> Targets:
        return Targets("executor", "invoker")

    def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
        self.events += events
        return InvokerReport(len(events))


def fork(run: str) -> NewRun:
    """Give a run of one leaf with two children, both of which the client wants.

    The leaf's output is too big to come with a claim, so the children fetch it.
    """
    from dask._task_spec import convert_legacy_graph

    graph = convert_legacy_graph({"a": (bytes, 5000), "b": (len, "a"), "c": (len, "a")})
    segments = [
        Segment(0, ("a",), ("a",), (), (1, 2), root=False),
        Segment(1, ("b",), ("b",), (0,), (), root=True),
        Segment(2, ("c",), ("c",), (0,), (), root=True),
    ]
    encoded = encode(Specs(segments, graph))
    return NewRun(
        run,
        specs=encoded,
        shared=encoded.shared,
        inputs=[segment.inputs for segment in segments],
        references=[segment.references for segment in segments],
        leaves=[0],
    )


def single(run: str, task: tuple[object, ...]) -> NewRun:
    """Give a run of one task, in the form of a tuple, whose value the client wants."""
    from dask._task_spec import convert_legacy_graph

    segments = [Segment(0, ("a",), ("a",), (), (), root=True)]
    encoded = encode(Specs(segments, convert_legacy_graph({"a": task})))
    return NewRun(run, encoded, [()], [1], [0], shared=encoded.shared)


def event(*starts: Start) -> ExecutorEvent:
    return ExecutorEvent("run", starts, Targets("executor", "invoker"))


def execute(storage: MemoryStorage, start: Start) -> Recorder:
    recorder = Recorder()
    Driver(event(start), storage, lambda: recorder).execute()
    return recorder


def official(storage: MemoryStorage, segment: int) -> DataRef:
    (ref,) = storage.versions("run", [segment])
    assert ref is not None
    return ref


def value(storage: MemoryStorage, segment: int) -> object:
    (data,) = storage.read("run", [official(storage, segment)])
    assert data is not None
    return loads(data)


def test_an_executor_becomes_one_child_and_hands_the_other_off() -> None:
    storage = MemoryStorage()
    storage.create(fork("run"))
    first = execute(storage, Start(0))
    (asked,) = first.events
    assert (asked.starts, asked.hop, asked.reason) == ((Start(2),), 1, Reason.FAN_OUT)
    second = execute(storage, Start(2))
    assert second.events == []
    assert [value(storage, segment) for segment in (1, 2)] == [5000, 5000]
    assert storage.status("run").live == 0
    assert storage.read("run", [official(storage, 0)]) == [None], "freed after its last consumer"


def test_a_repeated_event_does_nothing() -> None:
    storage = MemoryStorage()
    storage.create(fork("run"))
    execute(storage, Start(0))
    assert execute(storage, Start(0)).events == []


def test_an_executor_without_time_for_another_segment_passes_its_lineage_on() -> None:
    storage = MemoryStorage()
    storage.create(fork("run"))
    recorder = Recorder()
    tally = Driver(event(Start(0)), storage, lambda: recorder, lambda: 5.0).execute()
    assert (tally.segments, tally.passed_on) == ([0], 1)
    assert [event.starts for event in recorder.events] == [(Start(2),), (Start(0, 2),)]
    assert execute(storage, Start(0)).events == [], "the epoch that was passed on is over"
    execute(storage, Start(0, 2))
    execute(storage, Start(2))
    assert [value(storage, segment) for segment in (1, 2)] == [5000, 5000]


def test_a_first_segment_runs_however_little_time_there_is() -> None:
    storage = MemoryStorage()
    storage.create(fork("run"))
    tally = Driver(event(Start(0)), storage, Recorder, lambda: 0.0).execute()
    assert tally.segments == [0]


def test_a_chain_of_executors_may_be_long_as_long_as_each_has_an_output() -> None:
    storage, recorder = MemoryStorage(), Recorder()
    storage.create(fork("run"))
    last = replace(event(Start(0)), hop=1_000_000, idle=MAX_IDLE_HOPS)
    Driver(last, storage, lambda: recorder).execute()
    (asked,) = recorder.events
    assert (asked.hop, asked.idle) == (1_000_001, 0)


def test_a_chain_of_executors_without_any_output_ends_the_run() -> None:
    storage, recorder = MemoryStorage(), Recorder()
    storage.create(fork("run"))
    first = replace(event(Start(0)), idle=MAX_IDLE_HOPS)
    Work(first, storage, "token", lambda: recorder).start_again([Start(1)])
    (asked,) = recorder.events
    assert Driver(asked, storage, Recorder).execute().failed == 1
    failure = Failure.from_bytes(storage.failure("run") or b"")
    assert "none had an output" in failure.message


class Dying(Recorder):
    """The process ends when it is to start others."""

    def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
        raise SystemExit


def test_what_an_executor_has_handed_off_and_not_started_is_started_by_its_successor() -> None:
    storage = MemoryStorage()
    storage.create(fork("run"))
    with pytest.raises(SystemExit):
        Driver(event(Start(0)), storage, Dying).execute()
    storage.expire("run", [0])
    assert storage.reap("run") == [Start(0, 2)]
    recorder = execute(storage, Start(0, 2))
    (asked,) = recorder.events
    assert (asked.starts, asked.reason) == ((Start(2),), Reason.AGAIN)
    execute(storage, Start(2))
    assert [value(storage, segment) for segment in (1, 2)] == [5000, 5000]


class Replacing(MemoryStorage):
    """Before it answers the first read, the reader is replaced by its next epoch."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(clock=lambda: self.now)
        self.replaced = False

    def read(self, run: str, refs: Sequence[DataRef]) -> list[bytes | None]:
        if not self.replaced:
            self.replaced = True
            self.now += 1000.0
            for start in self.reap(run):
                Driver(event(start), self, Recorder).execute()
        return super().read(run, refs)


def test_a_zombie_whose_inputs_were_freed_by_its_successor_does_not_fail_the_run() -> None:
    storage = Replacing()
    storage.create(fork("run"))
    execute(storage, Start(0))
    execute(storage, Start(2))
    assert storage.replaced
    assert storage.status("run").state is RunState.RUNNING
    assert storage.failure("run") is None
    assert [value(storage, segment) for segment in (1, 2)] == [5000, 5000]


def test_an_input_that_the_store_has_lost_fails_the_run_and_says_so() -> None:
    storage = MemoryStorage()
    storage.create(fork("run"))
    execute(storage, Start(0))
    storage._runs["run"].control.data.clear()
    execute(storage, Start(2))
    failure = storage.failure("run")
    assert failure is not None
    assert "segment 0 is not in the store" in Failure.from_bytes(failure).message
