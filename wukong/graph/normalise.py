"""What Dask hands a scheduler, made uniform: the first step of the Static Scheduler.

Since 2025 a scheduler is given an expression instead of a dict; its graph may still hold legacy
tuples (dataframes), aliases, and, for arrays and bags, one `finalize` task that concatenates the
whole result. That task stays in the client: nobody wants an Executor that holds everything.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import dask
from dask._expr import HLGExpr, _HLGExprSequence
from dask._task_spec import (
    DependenciesMapping,
    GraphNode,
    Task,
    convert_legacy_graph,
    cull,
    resolve_aliases,
)
from dask.core import flatten, reverse_dict
from dask.delayed import optimize as _cull_delayed
from dask.utils import ensure_dict

from wukong.errors import WukongError

Key = Hashable
"""A Dask key: a string, or a tuple of a string and numbers."""


class GraphError(WukongError):
    """A graph that only a scheduler of one machine can run."""


@dataclass(frozen=True, slots=True)
class Normalised:
    """A graph in one form.

    Attributes
    ----------
    tasks
        Key to task, for all that Executors run.
    roots
        Keys whose values the client needs.
    local
        Key to task, for what the client computes itself from the roots.
    """

    tasks: Mapping[Key, GraphNode]
    roots: frozenset[Key]
    local: Mapping[Key, GraphNode]


def normalise(graph: Any, keys: Iterable[Any], *, finalize_here: bool = True) -> Normalised:
    """Make what Dask's `get` was called with uniform.

    Parameters
    ----------
    graph
        A mapping, or anything with `__dask_graph__`.
    keys
        The keys asked for; may be nested lists.
    finalize_here
        Whether the task that concatenates the whole result stays in the client.

    Raises
    ------
    GraphError
        If tasks would exchange data through a folder.
    """
    tasks = convert_legacy_graph(dict(_graph_of(graph)))
    wanted = set(flatten([keys]))
    tasks = cull(tasks, wanted)
    if any(_is_folder(key) for key in tasks):
        raise GraphError(
            "this graph shuffles through files on a disk that all its tasks would have to share",
            "Have it shuffled by tasks: build and compute it inside `with wukong.Client():`, or "
            'after `dask.config.set({"dataframe.shuffle.method": "tasks"})`.',
        )
    tasks = resolve_aliases(tasks, wanted, reverse_dict(DependenciesMapping(tasks)))
    local = _left_here(tasks, wanted) if finalize_here else {}
    remote = {key: task for key, task in tasks.items() if key not in local}
    needed = (wanted - local.keys()).union(*(task.dependencies for task in local.values()))
    return Normalised(remote, frozenset(needed), local)


def _graph_of(graph: Any) -> Mapping[Key, Any]:
    """Give the graph of what Dask hands over.

    Of delayed calls Dask's optimisation is only to cull, layer by layer, which takes time quadratic
    in the inputs of a task; as everything is culled here in any case, it is left out.
    """
    if isinstance(graph, Mapping):
        return graph
    parts = graph.operands if isinstance(graph, _HLGExprSequence) else [graph]
    if dask.config.get("optimization.fuse.delayed", False) or not all(map(_is_delayed, parts)):
        found: Mapping[Key, Any] = graph.__dask_graph__()
        return found
    return {key: task for part in parts for key, task in ensure_dict(part.hlg).items()}


def _is_delayed(part: Any) -> bool:
    return isinstance(part, HLGExpr) and part.low_level_optimizer is _cull_delayed


def _is_folder(key: Key) -> bool:
    """Tell the key of the folder of Dask's shuffle by disk, of bags or of dataframes.

    Executors have no disk in common, and rows that are appended to a file are there twice when a
    task is run again.
    """
    return isinstance(key, tuple) and str(key[0]).startswith(("partd-", "zpartd-"))


CONCATENATES = "finalize-hlgfinalizecompute-"
"""How Dask begins the key of the task that concatenates a result (dask._expr.HLGFinalizeCompute); a
user's own function may be called `finalize`."""


def _left_here(tasks: Mapping[Key, GraphNode], wanted: Iterable[Key]) -> dict[Key, GraphNode]:
    """Give the tasks that only concatenate a result, and whose value no other task is given."""
    found = {key: tasks[key] for key in wanted if _concatenates(key, tasks[key])}
    if not found:
        return {}
    consumed = found.keys() & {name for task in tasks.values() for name in task.dependencies}
    return {key: task for key, task in found.items() if key not in consumed}


def _concatenates(key: Key, task: GraphNode) -> bool:
    """Tell Dask's `finalize` tasks from those that it has fused with real work."""
    return (
        isinstance(key, str)
        and key.startswith(CONCATENATES)
        and isinstance(task, Task)
        and not task.has_subgraph()
    )


def assemble(normalised: Normalised, keys: Any, values: Mapping[Key, Any]) -> Any:
    """Give what `get` must return: the values of the keys, in tuples nested as the keys' lists."""
    known = dict(values)
    for key, task in normalised.local.items():
        known[key] = task({name: values[name] for name in task.dependencies})

    def unpack(item: Any) -> Any:
        # Tuples, as from Dask's own schedulers: some of its callers tell them from lists.
        return tuple(map(unpack, item)) if isinstance(item, list) else known[item]

    return unpack(keys)
