"""The task that stands for a value which is in the store already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dask._task_spec import GraphNode, Task

from wukong.graph.normalise import Key


def stored_task(key: Key, fetch: Callable[..., Any], *place: Any) -> GraphNode:
    """Make the task that reads the value of a key; `place` is what `fetch` is called with."""
    return Task(key, fetch, *place)
