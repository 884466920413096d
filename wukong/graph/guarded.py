"""A function whose exception is its value: one call among many that must not end the others.

It runs in Executors, so it is of the kernel; `wukong.futures` makes it and reads what it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dask._task_spec import GraphNode, Task

from wukong.graph.normalise import Key
from wukong.storage.serialisation import Failure


class Guarded:
    """Calls a function, as often as needed up to `retries` more; gives a `Failure` if it raises."""

    def __init__(self, key: Key, function: Callable[..., Any], retries: int) -> None:
        self._key = key
        self._function = function
        self._retries = retries

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the function."""
        for attempt in range(self._retries + 1):
            try:
                return self._function(*arguments, **keywords)
            except Exception as error:  # noqa: BLE001 - the user's own
                if attempt == self._retries:
                    return self._failure(error)
        raise AssertionError("unreachable")

    def _failure(self, error: Exception) -> Failure:
        return Failure.of(str(self._key), "", error)


def guarded_task(
    key: Key,
    function: Callable[..., Any],
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
    retries: int,
) -> GraphNode:
    """Make the task of one call; its arguments are values, not keys."""
    return Task(key, Guarded(key, function, retries), *arguments, **keywords)
