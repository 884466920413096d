"""Errors that nobody foresaw: the user is told, and whoever runs Executors goes on."""

from __future__ import annotations

from typing import Any

import pytest
from dask._task_spec import Task, TaskRef

from executor.driver import Driver
from tests.conftest import until
from tests.executor.test_driver import Recorder, event, fork
from tests.executor.test_granularity import new_run
from wukong.graph.guarded import Guarded
from wukong.messages import ExecutorEvent, Start, Targets
from wukong.platform.interface import PlatformError
from wukong.platform.threads import ThreadsPlatform
from wukong.storage import RunState
from wukong.storage.memory import MemoryStorage
from wukong.storage.serialisation import Failure, loads


class MuteError(Exception):
    """Has no text: what it would be made of is missing."""

    def __str__(self) -> str:
        return str(self.detail)  # type: ignore[attr-defined]


def mute() -> None:
    raise MuteError


def leave() -> None:
    raise SystemExit(3)


class Leaving:
    """What, unpickled or pickled, ends the process."""

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once

    def __reduce__(self) -> tuple[Any, ...]:
        if self.at_once:
            leave()
        return leave, ()


def leaving(*, at_once: bool) -> Leaving:
    return Leaving(at_once=at_once)


def failure(tasks: dict[Any, Task], roots: set[Any]) -> Failure:
    """Run an Executor for the first task, and give what its client is told."""
    storage = MemoryStorage()
    storage.create(new_run(tasks, roots))
    Driver(event(Start(0)), storage, Recorder).execute()
    assert storage.status("run").state is RunState.FAILED
    return told(storage)


def told(storage: MemoryStorage) -> Failure:
    data = storage.failure("run")
    assert data is not None
    return Failure.from_bytes(data)


def test_an_exception_without_text_is_told_by_its_class() -> None:
    found = failure({"a": Task("a", mute)}, {"a"})
    assert found.task == "a"
    assert found.message == "MuteError (its text cannot be had: AttributeError)"
    assert "in mute" in found.traceback


def test_a_call_whose_exception_has_no_text_gives_its_failure() -> None:
    found = Guarded("f", mute, 0)()
    assert found.message.startswith("MuteError")
    assert type(loads(found.exception)) is MuteError


def test_a_key_of_bytes_that_are_no_text_is_a_key() -> None:
    key = b"\xff-1"
    storage = MemoryStorage()
    storage.create(new_run({key: Task(key, abs, -1)}, {key}))
    assert Driver(event(Start(0)), storage, Recorder).execute().segments == [0]


def test_an_input_that_ends_the_process_when_it_is_read_ends_the_run() -> None:
    tasks = {
        "a": Task("a", leaving, at_once=False),
        "b": Task("b", id, TaskRef("a")),
        "c": Task("c", id, TaskRef("a")),
    }
    storage = MemoryStorage()
    storage.create(new_run(tasks, {"b", "c"}))
    platform = Recorder()
    Driver(event(Start(0)), storage, lambda: platform).execute()
    (handed,) = platform.events
    Driver(handed, storage, Recorder).execute()
    assert told(storage).message == "cannot be unpickled: SystemExit: 3"


def test_an_output_that_ends_the_process_when_it_is_pickled_ends_the_run() -> None:
    found = failure({"a": Task("a", leaving, at_once=True)}, {"a"})
    assert found.message == "its value cannot be pickled: SystemExit: 3"


def test_a_specification_that_ends_the_process_when_it_is_read_ends_the_run() -> None:
    found = failure({"a": Task("a", id, Leaving(at_once=False))}, {"a"})
    assert found.message == "SystemExit: 3"


class Broken(MemoryStorage):
    """Has a fault of its own."""

    def arrive_all(self, *_: Any) -> Any:
        raise ZeroDivisionError("of ours")


def test_an_error_that_nobody_foresaw_ends_the_run_with_the_task_at_hand() -> None:
    storage = Broken()
    storage.create(fork("run"))
    Driver(event(Start(0)), storage, Recorder, threads=2).execute()
    assert (told(storage).task, told(storage).message) == ("a", "ZeroDivisionError: of ours")


def test_threads_survive_an_executor_that_cannot_begin_and_say_what_it_died_of() -> None:
    platform = ThreadsPlatform("nowhere://", 1)
    wanted = ExecutorEvent("run", (Start(0),), Targets("executor.function.lambda_handler", ""))
    try:
        for _ in range(2):
            platform.start([wanted])
            (death,) = until(lambda: platform.check("run"), "the death of an Executor")
            assert death.event == wanted
            assert "nowhere" in death.cause
    finally:
        platform.close()


def test_threads_give_up_when_executors_die_again_and_again() -> None:
    platform = ThreadsPlatform("nowhere://", 1)
    wanted = ExecutorEvent("run", (Start(0),), Targets("executor.function.lambda_handler", ""))
    platform.start([wanted] * 11)
    platform.close()
    with pytest.raises(PlatformError, match="11 Executors have died"):
        platform.check("run")
