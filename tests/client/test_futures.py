"""`submit` and `map`: futures as in the standard library, on threads and on worker processes."""

from __future__ import annotations

import operator
import os
import sys
import threading
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import wukong
from tests.conftest import until
from wukong.failing import RunCancelledError, TaskError
from wukong.futures import Future as Call
from wukong.futures import _Group


@pytest.fixture(scope="module", params=["threads", "local"])
def client(request: pytest.FixtureRequest) -> Iterator[wukong.Client]:
    with wukong.Client(wukong.Config(), platform=request.param, workers=2) as client:
        yield client


def half(number: int) -> float:
    if number % 5 == 0:
        raise ValueError(f"{number} is not to be halved")
    return number / 2


def wait_for(path: str, value: int) -> int:
    until(Path(path).exists, path)
    return value


def test_a_call_gives_its_value(client: wukong.Client) -> None:
    assert client.submit(divmod, 7, 2).result(60) == (3, 1)
    assert client.submit(int, "ff", base=16).result(60) == 255


def test_a_future_may_be_an_argument(client: wukong.Client) -> None:
    first = client.submit(operator.add, 1, 2)
    both = client.submit(sum, [first, client.submit(operator.mul, first, 10)])
    assert both.result(60) == 33


def test_many_calls_are_one_run_and_each_has_its_own_outcome(client: wukong.Client) -> None:
    futures = client.map(half, range(1, 21))
    for number, future in enumerate(futures, 1):
        if number % 5:
            assert future.result(60) == number / 2
            continue
        with pytest.raises(ValueError, match=f"{number} is not to be halved") as caught:
            future.result(60)
        assert "half" in str(caught.value.__cause__), "with the remote traceback"
    assert client.map(half, []) == []
    assert client.gather(client.map(operator.add, [1, 2], [10, 20, 30])) == [11, 22]


def test_what_is_done_first_comes_first(client: wukong.Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    last, first = client.map(wait_for, [str(gate), str(tmp_path)], [1, 2])
    arriving = wukong.as_completed([last, first], timeout=60)
    assert next(arriving) is first
    assert not last.done()
    gate.touch()
    assert next(arriving).result() == 1


def test_gathering_keeps_the_nesting(client: wukong.Client) -> None:
    one, two = client.map(abs, [-1, -2])
    assert client.gather({"a": [one, (two, 3)]}) == {"a": [1, (2, 3)]}


class Point(NamedTuple):
    x: int
    y: int


def test_an_argument_arrives_as_the_object_that_it_is(client: wukong.Client) -> None:
    given = [Point(1, 2), OrderedDict(a=1), defaultdict(int, a=1), Counter("a"), [Point(3, 4)]]
    calls = client.map(lambda value: (type(value).__name__, value), given)
    names = ["Point", "OrderedDict", "defaultdict", "Counter", "list"]
    assert client.gather(calls) == list(zip(names, given, strict=True))
    assert client.submit(lambda a, b: (a, b), b=Point(1, 2), a={}).result(60) == ({}, Point(1, 2))


def test_what_has_no_future_in_it_is_not_made_anew() -> None:
    given = [{"a": [1, 2]}, (3, [])]
    assert wukong.Client.gather(given) is given
    done: Future[list[int]] = Future()
    done.set_result([5])
    gathered = wukong.Client.gather([given, {"b": (done,)}])
    assert gathered == [given, {"b": ([5],)}]
    assert gathered[0] is given


def test_a_call_that_raises_is_repeated_as_often_as_asked(
    client: wukong.Client, tmp_path: Path
) -> None:
    tried = tmp_path / "tried"

    def flaky(value: int) -> int:
        with tried.open("a") as file:
            file.write("x")
        if len(tried.read_text()) < 3:
            raise ConnectionError("not yet")
        return value

    with pytest.raises(ConnectionError):
        client.gather(client.map(flaky, [1]))
    tried.unlink()
    assert client.gather(client.map(flaky, [7], retries=2)) == [7]


def test_a_call_whose_argument_failed_fails_alike(client: wukong.Client) -> None:
    with pytest.raises(ValueError, match="5 is not to be halved"):
        client.submit(abs, client.submit(half, 5)).result(60)


class Homesick:
    """Cannot be unpickled where its call was asked for."""

    def __reduce__(self) -> tuple[Any, ...]:
        return refuse_in, (os.getpid(), "wukong-futures")


def refuse_in(made: int, thread: str) -> str:
    if os.getpid() != made or threading.current_thread().name == thread:
        raise RuntimeError("not here")
    return "home"


class SpeechlessError(Exception):
    def __str__(self) -> str:
        return str(self.detail)  # type: ignore[attr-defined]


class SealedError(Exception):
    def add_note(self, note: str) -> None:
        raise AttributeError(note)


def awkward(kind: str) -> Any:
    match kind:
        case "lock":
            return threading.Lock()
        case "homesick":
            return Homesick()
        case "exit":
            sys.exit(3)
        case "speechless":
            raise SpeechlessError
        case "sealed":
            raise SealedError
    return kind


@pytest.mark.parametrize(
    ("kind", "error", "match"),
    [
        ("lock", TypeError, "pickle"),
        ("homesick", RuntimeError, "not here"),
        ("exit", TaskError, "SystemExit: 3"),
        ("speechless", SpeechlessError, ""),
        ("sealed", SealedError, ""),
    ],
)
def test_a_call_that_cannot_be_given_its_value_ends_nobody_else(
    client: wukong.Client, kind: str, error: type[Exception], match: str
) -> None:
    first, odd, last = client.map(awkward, ["first", kind, "last"])
    assert (first.result(60), last.result(60)) == ("first", "last")
    found = odd.exception(60)
    assert type(found) is error
    if match:
        assert match in str(found)


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_array_of_a_call_can_be_written_to(client: wukong.Client, size: int) -> None:
    array = client.submit(np.zeros, size).result(60)
    array += 1
    assert array.sum() == size


def test_a_call_that_nobody_wants_any_more_is_given_up(
    client: wukong.Client, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    future = client.submit(wait_for, str(gate), 1)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result()
    assert "cancelled" in repr(future)
    # A thread cannot be stopped inside a task, only after it.
    gate.touch()


def test_calls_are_stopped_when_nobody_waits_for_any_of_them_any_more(
    client: wukong.Client, tmp_path: Path
) -> None:
    gate, marks = tmp_path / "gate", tmp_path / "marks"

    def mark(number: int) -> int:
        with marks.open("a") as file:
            is_first = not file.tell()
            file.write("x")
        # What takes less than 2 ms may wait for the next one of its Executor.
        time.sleep(0.02)
        if not is_first:
            until(gate.exists, "the gate", 20)
        return number

    calls = client.map(mark, range(20))
    first = next(wukong.as_completed(calls, timeout=60))
    rest = [call for call in calls if call is not first]
    assert all(future.cancel() for future in rest)
    gate.touch()
    assert {*wukong.as_completed(rest, timeout=60)} == {*rest}
    # Workers take what there is in order: after these there is nothing left of the calls.
    client.gather([client.submit(abs, -1) for _ in range(4)])
    assert len(marks.read_text()) <= 4, "the first, and those that had begun by then"


def test_a_call_that_was_given_up_before_it_began_never_runs(
    client: wukong.Client, tmp_path: Path
) -> None:
    gate, mark = tmp_path / "gate", tmp_path / "mark"
    first = client.submit(wait_for, str(gate), 1)
    second = client.submit(lambda _: mark.touch(), first)
    second.cancel()
    gate.touch()
    assert [*wukong.as_completed([second], timeout=60)] == [second]
    assert client.submit(abs, -1).result(60) == 1
    assert not mark.exists()


def test_giving_up_many_calls_takes_each_one_step() -> None:
    steps = 0

    class Counted(Call):
        def cancelled(self) -> bool:
            nonlocal steps
            steps += 1
            return super().cancelled()

    group = _Group()
    many = group.watch([Counted(number, group) for number in range(1_000)])
    assert all(future.cancel() for future in many)
    assert group.is_unwanted
    assert steps <= len(many)


def test_one_call_of_the_client_stops_all_its_runs(tmp_path: Path) -> None:
    with wukong.Client(wukong.Config(), platform="threads", workers=2) as client:
        begun = tmp_path / "begun"
        gate = tmp_path / "gate"

        def hang() -> int:
            begun.touch()
            return wait_for(str(gate), 1)

        futures = [client.submit(hang), *client.map(abs, [-1])]
        until(begun.exists, "the call to begin")
        assert futures[1].result(60) == 1
        client.cancel()
        with pytest.raises(RunCancelledError):
            futures[0].result(60)
        gate.touch()


def test_following_leaves_no_thread_behind(client: wukong.Client) -> None:
    client.gather(client.map(abs, range(3)))
    until(
        lambda: not [one for one in threading.enumerate() if one.name == "wukong-futures"],
        "the thread that follows to end",
    )
