"""A function whose exception is its value: one call among many that must not end the others.

It runs in Executors, so it is of the kernel; `wukong.futures` makes it and reads what it gives.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import cloudpickle
from dask._task_spec import GraphNode, Task

from wukong.graph.normalise import Key
from wukong.storage.serialisation import PICKLE_PROTOCOL, Failure, dumps


class Guarded:
    """Calls a function, as often as needed up to `retries` more; gives a `Failure` if it raises."""

    def __init__(self, key: Key, function: Callable[..., Any], retries: int) -> None:
        self._key = key
        self._function = function
        self._retries = retries

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the function."""
        try:
            return _pickled(self._called(arguments, keywords))
        except BaseException as error:  # noqa: BLE001 - the user's own; SystemExit too ends one call
            return failure_of_call(self._key, error)

    def _called(self, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
        for _ in range(self._retries):
            # What the last attempt raises is told.
            with suppress(Exception):
                return self._function(*arguments, **keywords)
        return self._function(*arguments, **keywords)


class Pickled:
    """A value that is pickled already, so that none fails to be when others travel with it.

    Reading it gives the value. Its buffers travel beside it, and are not copied.
    """

    def __init__(self, value: Any) -> None:
        self._buffers: list[pickle.PickleBuffer] = []
        self._data = cloudpickle.dumps(value, PICKLE_PROTOCOL, self._buffers.append)

    def __reduce__(self) -> tuple[Any, ...]:
        return _value, (pickle.PickleBuffer(self._data), *self._buffers)


def _pickled(value: Any) -> Pickled:
    try:
        return Pickled(value)
    except Exception as error:
        with suppress(Exception):
            error.add_note("Wukong: the call has ended, but its value cannot be pickled")
        raise


def _value(data: Any, *buffers: Any) -> Any:
    return pickle.loads(data, buffers=buffers)  # noqa: S301 - part of a pickle that is read already


def failure_of_call(key: Key, error: BaseException) -> Failure:
    """Describe what a call raised, or reading its value did."""
    text = "".join(traceback.format_exception(error))
    try:
        pickled = dumps(error)
    except Exception:  # noqa: BLE001 - the exception's class decides
        pickled = None
    return Failure(str(key), _line(error), text, pickled)


def _line(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the exception's class decides whether it has a text
        return type(error).__name__


def guarded_task(
    key: Key,
    function: Callable[..., Any],
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
    retries: int,
) -> GraphNode:
    """Make the task of one call; its arguments are values, not keys."""
    return Task(key, Guarded(key, function, retries), *arguments, **keywords)
