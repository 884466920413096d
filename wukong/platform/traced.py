"""A store of which each call is a span: what client, Invoker and Executor ask of it.

A span is a method of `Storage` from its call to its answer, however many round trips that took; a
method that is made of others (`arrive`) is the spans of those. It is put around a store only where
there is a provider, and a call makes a span only in a thread that is inside one of ours
(`tracing.current`). Listening for news, which waits on purpose, and `close` make none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sized
from functools import lru_cache
from typing import Any

from wukong.platform import tracing
from wukong.storage import Storage

SILENT = frozenset({"news", "close"})


def traced(storage: Storage) -> Storage:
    """Give a store of which each call is a span; the store itself if nobody traces."""
    return _around(storage) if tracing.is_on() else storage


@lru_cache(maxsize=4)
def _around(storage: Storage) -> Storage:
    """Give the same object for the same store: what processes know is kept by store."""
    around: Storage = _TracedStorage(storage)
    return around


class _Around:
    """Hands everything on to the store inside."""

    def __init__(self, inside: Storage) -> None:
        self._inside = inside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)


def _calling(name: str) -> Callable[..., Any]:
    """Make the method of that name."""
    span = f"wukong.store.{name}"

    def call(self: _Around, *given: Any, **named: Any) -> Any:
        method = getattr(self._inside, name)
        trace = tracing.current()
        if not trace.is_on:
            return method(*given, **named)
        begun, problem = time.time_ns(), ""
        try:
            return method(*given, **named)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise
        finally:
            trace.add(span, begun, time.time_ns(), _facts(given), problem)

    call.__name__ = name
    return call


def _facts(given: tuple[Any, ...]) -> tracing.Attributes:
    """Say how many things a call was about: arrivals, lineages, references."""
    many = given[1] if len(given) > 1 else None
    if isinstance(many, Sized) and not isinstance(many, str | bytes):
        return {"wukong.count": len(many)}
    return {}


def _handing_on(name: str) -> Callable[..., Any]:
    def call(self: _Around, *given: Any, **named: Any) -> Any:
        return getattr(self._inside, name)(*given, **named)

    return call


_METHODS = {
    name: _handing_on(name) if name in SILENT else _calling(name)
    for name in Storage.__abstractmethods__
}
_TracedStorage: Any = type("_TracedStorage", (_Around, Storage), _METHODS)
