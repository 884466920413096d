"""Calls instead of graphs: `client.submit` and `client.map`, with the standard library's futures.

    futures = client.map(simulate, range(1000))
    for future in as_completed(futures):
        print(future.result())

Each call of `submit` or `map` is one run, which is followed in the background (`followers`); each
future is completed as soon as its root is official. So a future is a `concurrent.futures.Future`:
`wait`, `as_completed` and callbacks work. One that raises ends nobody else, unlike a task of a
graph, and is retried where it runs.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Protocol

from dask.base import compute as dask_compute
from dask.base import is_dask_collection
from dask.core import flatten

from wukong.failing import raise_failure
from wukong.followers import Followers
from wukong.graph.guarded import guarded_task
from wukong.graph.normalise import Key, Normalised, normalise
from wukong.runs import Run
from wukong.storage.serialisation import Data, Failure, loads
from wukong.submission import RunError
from wukong.view import table


class MakeRun(Protocol):
    """Begins a run of a graph that is asked for these keys; `calls` as in a `Manifest`."""

    def __call__(self, graph: Normalised, keys: Any, *, calls: bool = False) -> Run:
        """Begin it."""


class Future(concurrent.futures.Future[Any]):
    """The value of one call, when it has come.

    Attributes
    ----------
    key
        Name of the call's task.
    """

    def __init__(self, key: Key, group: _Group) -> None:
        super().__init__()
        self.key = key
        self._group = group

    def cancel(self) -> bool:
        """Give the call up; the run is stopped when nobody waits for any of its calls."""
        cancelled = super().cancel()
        self._group.stop_if_unwanted()
        return cancelled

    @property
    def run(self) -> str:
        """Id of the run, as soon as it has begun; raises what the beginning of it raised."""
        self._group.begun.wait()
        if self._group.run is None:
            self.result()
        assert self._group.run is not None  # noqa: S101 -- or there was an error to raise
        return self._group.run.id

    @property
    def state(self) -> str:
        """Say in words how far it is."""
        if self.cancelled():
            return "cancelled"
        if self.done():
            return "done" if self.exception() is None else f"failed: {self.exception()!r:.200}"
        run = self._group.run
        return "pending" if run is None else f"pending; run {run.id} {run.watch.state}"

    def __repr__(self) -> str:
        return f"<wukong.Future {self.key} {self.state}>"

    def _repr_html_(self) -> str:
        run = self._group.run
        rows = [("key", str(self.key)), ("state", self.state)]
        if run is not None:
            rows += [("run", run.id), ("cost", run.watch.cost.headline)]
        return table("wukong.Future", rows)


@dataclass(frozen=True, slots=True)
class Call:
    """What one future stands for; arguments that are futures are awaited first."""

    key: Key
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]


def start(
    followers: Followers, asked: Call | Sequence[Call], make_run: MakeRun, retries: int
) -> Sequence[Future]:
    """Start a run of one call, or of several, and give their futures, at once."""
    calls = _Calls(asked, make_run, retries)
    followers.take(calls, calls.needs)
    return calls.futures


def compute(followers: Followers, collection: Any, make_run: MakeRun) -> Future:
    """Compute a collection, or several in a list, in a thread of its own."""
    has_many = isinstance(collection, list | tuple)
    collections = list(collection) if has_many else [collection]

    def follow(group: _Group) -> Any:
        def schedule(graph: Any, keys: Any, **_: Any) -> Any:
            with make_run(normalise(graph, keys), keys) as run:
                group.begin(run)
                run.wait()
                return run.result()

        values = dask_compute(*collections, scheduler=schedule)
        return list(values) if has_many else values[0]

    keys = [one.__dask_keys__() for one in collections if is_dask_collection(one)]
    name = next(flatten(keys), "compute")
    return _in_background(followers, name, follow)


def attach(followers: Followers, run: str, come_back: Callable[[], Run]) -> Future:
    """Follow a run that was begun elsewhere, in a thread of its own."""

    def follow(group: _Group) -> Any:
        with come_back() as found:
            group.begin(found)
            found.wait()
            value = found.result()
        if not found.is_of_calls:
            return value[0] if found.has_many and len(value) == 1 else value
        for one in value if found.has_many else [value]:
            if isinstance(one, Failure):
                raise_failure(run, one)
        return list(value) if found.has_many else value

    return _in_background(followers, run, follow)


def gather(futures: Any) -> Any:
    """Give the values of futures, in the nesting of lists, tuples and dicts that they come in.

    What has no future in it is given as it is; so is what is no plain list, tuple or dict.
    """
    if isinstance(futures, concurrent.futures.Future):
        return futures.result()
    kind = type(futures)
    if kind is list or kind is tuple:
        values = [gather(one) for one in futures]
        return futures if _are_same(values, futures) else kind(values)
    if kind is dict:
        found = {key: gather(one) for key, one in futures.items()}
        return futures if _are_same(found.values(), futures.values()) else found
    return futures


def _are_same(values: Iterable[Any], before: Iterable[Any]) -> bool:
    return all(value is one for value, one in zip(values, before, strict=True))


class _Group:
    """The futures of one run, and the run once there is one."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.begun = threading.Event()
        self._lock = threading.Lock()
        self._open = 0
        self._has_given_up = False

    def watch(self, futures: Sequence[Future]) -> Sequence[Future]:
        """Take these for the futures of the run."""
        self._open = len(futures)
        for future in futures:
            future.add_done_callback(self._note)
        return futures

    def begin(self, run: Run) -> Run:
        """Note the run; nobody may want it any more."""
        self.run = run
        self.begun.set()
        self.stop_if_unwanted()
        return run

    @property
    def is_unwanted(self) -> bool:
        """Tell whether some futures were cancelled, and nobody waits for any other."""
        return self._has_given_up and not self._open

    def stop_if_unwanted(self) -> None:
        """Stop the run if what is left of it are calls that were given up."""
        if self.run is not None and self.is_unwanted:
            self.run.cancel()

    def _note(self, future: concurrent.futures.Future[Any]) -> None:
        with self._lock:
            self._open -= 1
            self._has_given_up |= future.cancelled()


class _Calls:
    """The calls of one run, as they are begun and followed."""

    def __init__(self, asked: Call | Sequence[Call], make_run: MakeRun, retries: int) -> None:
        self._calls = [asked] if isinstance(asked, Call) else asked
        self._keys = asked.key if isinstance(asked, Call) else [call.key for call in asked]
        self._make_run = make_run
        self._retries = retries
        # In the caller's context: there may be a span of its own in it.
        self._context = copy_context()
        self._group = _Group()
        self.futures = self._group.watch([Future(call.key, self._group) for call in self._calls])
        self._waiting = {future.key: future for future in self.futures}

    @property
    def needs(self) -> Collection[concurrent.futures.Future[Any]]:
        """Futures among the arguments."""
        return {
            future
            for call in self._calls
            for future in _futures_in([call.arguments, dict(call.keywords)])
        }

    def begin(self) -> Run:
        """Begin the run; what the calls need is done."""
        return self._context.run(self._begin)

    def _begin(self) -> Run:
        if self._group.is_unwanted:
            raise concurrent.futures.CancelledError
        tasks = {
            call.key: guarded_task(
                call.key,
                call.function,
                gather(call.arguments),
                gather(dict(call.keywords)),
                self._retries,
            )
            for call in self._calls
        }
        graph = Normalised(tasks, frozenset(tasks), {})
        return self._group.begin(self._make_run(graph, self._keys, calls=True))

    def deliver(self, keys: Sequence[Key]) -> None:
        """Complete the futures of these calls."""
        run = self._group.run
        # A store that has lost its last writes tells of a root again.
        wanted = [key for key in keys if key in self._waiting]
        if run is None or not wanted:
            return
        for key, data in run.data(wanted).items():
            _complete(self._waiting.pop(key), run.id, data)
        if self._waiting:
            self._group.stop_if_unwanted()

    def end(self, error: BaseException | None) -> None:
        """Have the futures that are left raise why."""
        for future in self._waiting.values():
            _fail(future, error or RunError(f"the call {future.key!r} has no value"))
        self._group.begun.set()


def _futures_in(value: Any) -> Iterator[concurrent.futures.Future[Any]]:
    """Give the futures that `gather` would wait for."""
    if isinstance(value, concurrent.futures.Future):
        yield value
    elif type(value) in {list, tuple, dict}:
        for one in value.values() if isinstance(value, dict) else value:
            yield from _futures_in(one)


def _in_background(followers: Followers, key: Key, follow: Callable[[_Group], Any]) -> Future:
    group = _Group()
    (future,) = group.watch([Future(key, group)])

    def complete() -> None:
        try:
            value = follow(group)
            if future.set_running_or_notify_cancel():
                future.set_result(value)
        except BaseException as error:  # noqa: BLE001 - whoever waits for the future is to raise it
            _fail(future, followers.blame(error))
        finally:
            group.begun.set()

    # In the caller's context: there may be a span of its own in it.
    context = copy_context()
    followers.run(lambda: context.run(complete))
    return future


def _fail(future: Future, error: BaseException) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)


def _complete(future: Future, run: str, data: Data) -> None:
    """Give a future its value; one that cannot be read ends no other."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        value = _read(future.key, data)
        if isinstance(value, Failure):
            raise_failure(run, value)
    except BaseException as error:  # noqa: BLE001 - the user's own, of whatever class
        future.set_exception(error)
    else:
        future.set_result(value)


def _read(key: Key, data: Data) -> Any:
    try:
        return loads(data)
    except Exception as error:
        with suppress(Exception):
            error.add_note(f"Wukong: the value of {key!r} cannot be unpickled here")
        raise
