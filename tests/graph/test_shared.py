"""What tasks share is stored once, comes back as it was, and is read as rarely as can be."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from wukong.graph.shared import LARGE_BYTES, Shared, Sharing
from wukong.storage import DataRef


class Store:
    """Keeps blobs, and notes what is read."""

    def __init__(self, blobs: Sequence[Any]) -> None:
        self.blobs = blobs
        self.reads: list[list[int]] = []

    def __call__(self, refs: Sequence[DataRef]) -> list[bytes]:
        self.reads.append([ref.segment for ref in refs])
        return [bytes(self.blobs[ref.segment]) for ref in refs]


def through(*values: object) -> tuple[list[Any], list[bytes], Store]:
    """Write values and read them again."""
    sharing = Sharing()
    data = [sharing.dumps(value) for value in values]
    store = Store(sharing.blobs())
    shared = Shared(store)
    return [shared.loads(one) for one in data], data, store


def test_what_is_small_and_can_be_imported_is_left_where_it_is() -> None:
    found, data, store = through((np.arange(3), "text", np.sum, [1, 2]), {"a": None})
    assert found[1] == {"a": None}
    assert store.blobs == []
    assert pickle.loads(data[1]) == {"a": None}


def test_a_large_array_of_many_tasks_is_stored_once_and_read_once() -> None:
    array = np.arange(LARGE_BYTES)
    found, data, store = through(*[(number, array) for number in range(5)])
    assert all(number == i and np.array_equal(a, array) for i, (number, a) in enumerate(found))
    assert max(map(len, data)) < 100
    assert len(store.blobs) == 2
    assert store.reads == [[0, 1]]


def test_a_task_that_changes_its_argument_changes_nobody_elses() -> None:
    array = np.zeros(LARGE_BYTES)
    (first, second), _, _ = through(array, array)
    first += 1
    assert second.sum() == 0


def test_what_one_task_alone_has_is_not_kept() -> None:
    arrays = [np.arange(LARGE_BYTES) + i for i in range(3)]
    sharing = Sharing()
    data = [sharing.dumps(one) for one in arrays]
    store = Store(sharing.blobs())
    shared = Shared(store)
    for _ in range(2):
        assert np.array_equal(shared.loads(data[1]), arrays[1])
    assert store.reads == [[0, 2], [0, 2]]


@pytest.mark.parametrize(
    "value",
    [
        bytes(LARGE_BYTES),
        "x" * LARGE_BYTES,
        list(range(LARGE_BYTES)),
        {i: str(i) for i in range(LARGE_BYTES)},
        [list(range(LARGE_BYTES)), {"deep": [bytes(LARGE_BYTES), "x" * LARGE_BYTES]}],
    ],
    ids=["bytes", "text", "list", "dict", "nested"],
)
def test_large_objects_of_all_kinds_come_back_as_they_were(value: object) -> None:
    (first, second), _, store = through(value, value)
    assert first == second == value
    assert sum(len(bytes(blob)) for blob in store.blobs) < 1.5 * len(pickle.dumps(value))


def test_a_list_that_holds_itself_comes_back() -> None:
    value: list[Any] = list(range(LARGE_BYTES))
    other = [value, *range(LARGE_BYTES)]
    value.append(other)
    ((found, _),), _, _ = through((value, 1))
    assert found[-1][0] is found


def test_functions_of_the_users_script_are_stored_once_and_are_one_object() -> None:
    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    found, data, store = through(even, (even, 1), odd)
    assert found[0](10)
    assert found[2](11)
    assert found[1][0] is found[0]
    assert max(map(len, data)) < 50
    assert store.reads == [[0]]


def test_instances_of_one_class_of_the_users_script_have_one_class() -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    (first, second), _, _ = through(Point(1), Point(2))
    assert type(first) is type(second)
    assert (first.x, second.x) == (1, 2)


def test_arrays_of_objects_are_not_looked_into() -> None:
    value = np.array([None, [1]] * LARGE_BYTES, dtype=object)
    (found,), _, _ = through(value)
    assert found[1] == [1]


def test_what_is_gone_is_named() -> None:
    sharing = Sharing()
    data = sharing.dumps(bytes(LARGE_BYTES))
    with pytest.raises(LookupError, match="not in the store"):
        Shared(lambda refs: [None] * len(refs)).loads(data)
