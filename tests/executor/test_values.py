"""What a task does to a value that it was given is seen by no other task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from dask._task_spec import Task, TaskRef

from executor.driver import Driver
from executor.values import FEW_BYTES, Values
from tests.executor.test_driver import Recorder, event, value
from tests.executor.test_granularity import new_run
from wukong.messages import Start
from wukong.storage import Claim, DataRef
from wukong.storage.memory import MemoryStorage
from wukong.storage.serialisation import pack


def small() -> list[int]:
    return [1]


def large() -> Any:
    return np.ones(FEW_BYTES)


def change(given: Any, *_: Any) -> float:
    """Change what was given, and tell what it was before."""
    before = float(np.sum(given))
    given[0] += 1
    return before


def run(tasks: dict[str, Task], roots: set[str]) -> list[object]:
    """Run all of it in one lineage, and give the roots' values."""
    storage = MemoryStorage()
    storage.create(replace(new_run(tasks, roots), max_live=1))
    Driver(event(Start(0)), storage, Recorder).execute()
    places = list(tasks)
    return [value(storage, places.index(root)) for root in sorted(roots)]


@pytest.mark.parametrize("make", [small, large])
def test_siblings_in_one_executor_are_given_the_same(make: Callable[[], Any]) -> None:
    tasks = {"a": Task("a", make)}
    tasks |= {f"b{n}": Task(f"b{n}", change, TaskRef("a")) for n in range(4)}
    assert run(tasks, set(tasks) - {"a"}) == [float(np.sum(make()))] * 4


@pytest.mark.parametrize("make", [small, large])
def test_who_consumes_a_value_later_is_not_given_what_another_made_of_it(
    make: Callable[[], Any],
) -> None:
    tasks = {
        "a": Task("a", make),
        "b": Task("b", change, TaskRef("a")),
        "c": Task("c", change, TaskRef("a"), TaskRef("b")),
    }
    assert run(tasks, {"b", "c"}) == [float(np.sum(make()))] * 2


def taken(values: Values) -> tuple[Any, tuple[int, ...]]:
    given, spent = values.take(Claim(1, b"", (DataRef(0, "0.1.t"),)))
    return given[0], spent


def test_a_value_that_nobody_else_asks_for_or_that_cannot_change_is_not_made_anew() -> None:
    for one, consumers in ((large(), 1), ("text" * FEW_BYTES, 2), ((1, "a", None), 2)):
        values = Values()
        values.made(0, one, pack(one), consumers)
        with mock.patch("executor.values.loads", side_effect=AssertionError):
            for _ in range(2):
                found, spent = taken(values)
                assert found is one
                assert spent == ()


def test_of_a_value_of_few_bytes_the_first_is_given_the_object() -> None:
    values, one = Values(), [1]
    values.made(0, one, pack(one), 2)
    assert taken(values)[0] is one
    second, spent = taken(values)
    assert second == one
    assert second is not one
    assert spent == ()


def test_a_value_of_many_bytes_is_to_be_read_again() -> None:
    values, one = Values(), large()
    values.made(0, one, pack(one), 2)
    found, spent = taken(values)
    assert found is one
    assert spent == (0,)
