"""Collections whose values stay in the store: what `x.persist()` gives.

    x = x.persist()       # one run; its chunks stay where Executors can read them
    x.mean().compute()    # another run, which reads them there

The values go when nothing in this process refers to the collection any more, and in any case after
the run's `keep_seconds`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dask.base import collections_to_expr
from dask.base import persist as dask_persist
from dask.core import flatten

from wukong.graph.normalise import Normalised, normalise
from wukong.graph.stored import stored_task
from wukong.platform.stored import Hold, fetch
from wukong.runs import Run


def persist(
    collections: Sequence[Any],
    begin: Callable[[Normalised, Any], Run],
    hold: Callable[[str], Hold],
    *,
    optimize_graph: bool,
) -> list[Any]:
    """Compute collections, and give the same collections on top of what is stored.

    Parameters
    ----------
    begin
        Begins the run of a graph.
    hold
        Keeps the values of a run in the store, as long as what it gives is referred to.
    """
    graph = collections_to_expr(collections, optimize_graph).optimize()
    wanted = [list(flatten(keys)) for keys in graph.__dask_keys__()]
    keys = list(flatten(wanted))
    with begin(normalise(graph, keys, finalize_here=False), keys) as run:
        run.wait()
        refs = run.refs(keys)
        held = hold(run.id)
        run.keep()
    stored = {
        key: stored_task(key, fetch, run.id, ref.segment, ref.version, held)
        for key, ref in refs.items()
    }
    return [
        _rebuilt(collection, {key: stored[key] for key in mine})
        for collection, mine in zip(collections, wanted, strict=True)
    ]


def is_plain(collection: Any) -> bool:
    """Tell whether a collection is one graph, and not several inside an object of another kind."""
    return getattr(collection, "__dask_exprs__", None) is None


def persist_here(collections: Sequence[Any], get: Callable[..., Any], **options: Any) -> list[Any]:
    """Let Dask itself persist: the values come into this process."""

    def schedule(graph: Any, keys: Any, **more: Any) -> Any:
        # Not the client's own method: Dask would ask the client to persist then.
        return get(graph, keys, **more)

    return list(dask_persist(*collections, scheduler=schedule, **options))


def _rebuilt(collection: Any, graph: dict[Any, Any]) -> Any:
    rebuild, state = collection.__dask_postpersist__()
    return rebuild(graph, *state)
