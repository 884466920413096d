"""Several calls at once: what a step does side by side costs one round trip, not many."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Protocol, TypeVar

T = TypeVar("T")

THREADS = 16


class Together(Protocol):
    """Makes calls, in whatever order, and gives what they give."""

    def __call__(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """Make all calls; raises the first error, when all have ended."""


class Threads:
    """Makes calls in threads that it keeps.

    A call that makes more calls makes them one after another, so that no thread waits for another.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._opening = threading.Lock()
        self._inside = threading.local()

    def __call__(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        if len(calls) < 2 or getattr(self._inside, "working", False):
            return one_by_one(calls)
        with self._opening:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(THREADS, "storage", self._begin)
            futures = [self._pool.submit(call) for call in calls]
        errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None:
                raise error
        return [future.result() for future in futures]

    def _begin(self) -> None:
        self._inside.working = True

    def close(self) -> None:
        """End the threads."""
        with self._opening:
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None


def one_by_one(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Make calls one after another."""
    return [call() for call in calls]


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Give lists of so many items; they are taken as the lists are."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
