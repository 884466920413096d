"""Real Dask collections, taken apart and run segment by segment, give what Dask gives."""

from __future__ import annotations

import operator
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask._task_spec import List, Task, TaskRef
from dask.core import flatten
from dask.order import order

from wukong.graph.normalise import GraphError, assemble, normalise
from wukong.graph.segments import collapse
from wukong.graph.shared import Shared
from wukong.graph.spec import Spec, SpecError, Specs, encode


def get(dsk: Any, keys: Any, most: int = 1, **_: Any) -> Any:
    """Run every segment as bytes, in the order of the numbers as far as inputs allow."""
    graph = normalise(dsk, keys)
    dependencies = {key: task.dependencies for key, task in graph.tasks.items()}
    segments = collapse(dependencies, graph.roots, order(dict(graph.tasks)), most)
    encoded = encode(Specs(segments, graph.tasks), graph.tasks.values())
    data, blobs = list(encoded), list(encoded.shared)
    shared = Shared(lambda refs: [bytes(blobs[ref.segment]) for ref in refs])
    values: dict[int, Any] = {}
    waiting = list(range(len(segments)))
    while waiting:
        number = next(i for i in waiting if all(x in values for x in segments[i].inputs))
        waiting.remove(number)
        values[number] = Spec.from_bytes(data[number], shared).run(values, lambda key, inputs: None)
    return assemble(graph, keys, {s.keys[-1]: values[s.number] for s in segments if s.root})


def matrix() -> da.Array:
    return da.random.default_rng(0).random((400, 20), chunks=(50, 20))


def frame() -> dd.DataFrame:
    data = pd.DataFrame({"a": np.arange(99) % 7, "b": np.arange(99.0)})
    return dd.from_pandas(data, npartitions=4)


def tree(size: int) -> Any:
    add = dask.delayed(operator.add)
    level = list(range(size))
    while len(level) > 1:
        level = list(map(add, level[::2], level[1::2]))
    return level[0]


COLLECTIONS = {
    "array sum": lambda: matrix().sum(),
    "array product": lambda: matrix().T @ matrix(),
    "singular values": lambda: da.linalg.svd(matrix())[1],
    "array of a NumPy array": lambda: da.from_array(np.arange(100.0), chunks=10) + 1,
    "delayed tree": lambda: tree(16),
    "bag": lambda: db.from_sequence(range(50), npartitions=5).map(lambda i: i % 3).frequencies(),
    "grouped frame": lambda: frame().groupby("a").b.mean(),
    "frame with another index": lambda: frame().set_index("b").a.cumsum(),
    "shuffled frame": lambda: frame().shuffle("a").b.sum(),
}


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, (pd.Series, pd.DataFrame)):
        return bool(one.equals(other))
    if isinstance(one, list):
        return sorted(one) == sorted(other)
    return bool(np.allclose(one, other))


@pytest.mark.parametrize("most", [1, 4, 1000])
@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_collection_gives_what_dasks_own_scheduler_gives(name: str, most: int) -> None:
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        collection = COLLECTIONS[name]()
        assert alike(
            collection.compute(scheduler=get, most=most), collection.compute(scheduler="sync")
        )


@pytest.mark.parametrize("kind", ["bag", "frame"])
def test_a_shuffle_through_files_is_refused_because_executors_share_no_disk(kind: str) -> None:
    with dask.config.set({"dataframe.shuffle.method": "disk"}):
        bag = db.from_sequence(range(8), npartitions=4).groupby(lambda i: i % 2)
        with pytest.raises(GraphError, match="tasks"):
            (bag if kind == "bag" else frame().shuffle("a")).compute(scheduler=get)


def test_several_collections_at_once_keep_their_nesting() -> None:
    x = matrix()
    found = dask.compute(x.sum(), {"a": [x.mean()]}, scheduler=get)
    assert alike([found[0], found[1]["a"][0]], list(dask.compute(x.sum(), x.mean())))


def test_the_concatenation_of_the_result_stays_in_the_client() -> None:
    seen = {}

    def look(dsk: Any, keys: Any, **_: Any) -> Any:
        seen["graph"] = normalise(dsk, keys)
        return get(dsk, keys)

    matrix().map_blocks(lambda block: block + 1).compute(scheduler=look)
    assert len(seen["graph"].local) == 1
    assert len(seen["graph"].roots) == 8


def test_a_users_function_that_is_called_finalize_runs_in_executors() -> None:
    @dask.delayed
    def finalize(number: int) -> int:
        return number + 1

    seen = {}

    def look(dsk: Any, keys: Any, **_: Any) -> Any:
        seen["graph"] = normalise(dsk, keys)
        return get(dsk, keys)

    first = finalize(1)
    assert dask.compute(first, finalize(first), scheduler=look) == (2, 3)
    assert not seen["graph"].local
    assert dask.compute(first, dask.delayed(abs)(first), scheduler=look) == (2, 2)


def test_a_concatenation_that_a_task_is_given_is_made_where_tasks_run() -> None:
    array = da.ones(4, chunks=2)
    key = "finalize-hlgfinalizecompute-0"
    whole = Task(key, np.concatenate, List(*map(TaskRef, flatten(array.__dask_keys__()))))
    graph = {**array.dask, key: whole, "total": Task("total", np.sum, TaskRef(key))}
    assert not normalise(graph, [key, "total"]).local
    assert list(normalise(graph, [key]).local) == [key]
    assert alike(list(get(graph, [key, "total"])[0]), [1.0] * 4)
    assert get(graph, [key, "total"])[1] == 4.0


def test_nested_keys_of_a_plain_graph_give_tuples_as_nested() -> None:
    graph = {"x": 1, "y": (operator.add, "x", 2)}
    assert get(graph, [["x"], ["y", "y"]]) == dask.get(graph, [["x"], ["y", "y"]])


def test_a_task_that_cannot_be_pickled_is_named() -> None:
    graph = normalise({"fine": (operator.add, 1, 2), "bad": (next, (i for i in "a"))}, ["bad"])
    segments = collapse({"bad": set()}, {"bad"}, {"bad": 0})
    with pytest.raises(SpecError, match="bad"):
        list(encode(Specs(segments, graph.tasks)))


def test_delayed_calls_are_culled_once_and_not_layer_by_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("quadratic in the inputs of a task")

    unused = dask.delayed(abs)(-1)
    total = dask.delayed(sum)([dask.delayed(abs)(-i) for i in range(50)])
    monkeypatch.setattr("dask.highlevelgraph.HighLevelGraph.cull", refuse)
    assert dask.compute(total, unused, scheduler=get) == (sum(range(50)), 1)
    with dask.config.set({"optimization.fuse.delayed": True}), pytest.raises(AssertionError):
        dask.compute(total, scheduler=get)
