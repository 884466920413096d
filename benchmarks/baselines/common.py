"""What the baselines share: worker processes that pop work from a list, and the client's side.

Both are given the same normalised graphs as Wukong, on the same store, and pickle in the same way.
Nothing of them survives a failure: no leases, no exactly-once, no cleaning up. So they do less
than Wukong, and what they take is a lower bound of what such an engine takes.
"""

from __future__ import annotations

import abc
import os
import subprocess
import sys
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from valkey import Valkey

from wukong.graph.normalise import Key, Normalised, assemble, normalise
from wukong.storage.serialisation import dumps, loads

LISTEN_SECONDS = 5


def consumers_of(graph: Normalised) -> dict[Key, list[Key]]:
    """Give for each task the tasks that consume its output."""
    consumers: dict[Key, list[Key]] = {key: [] for key in graph.tasks}
    for key, task in graph.tasks.items():
        for name in task.dependencies:
            consumers[name].append(key)
    return consumers


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run begins with.

    Attributes
    ----------
    records
        What workers read from the store, by name.
    work
        The first items of the queue.
    """

    records: Mapping[str, bytes]
    work: list[bytes]


class Baseline(abc.ABC):
    """A client with worker processes; `get` is what Dask calls a scheduler."""

    module: str

    def __init__(self, url: str, workers: int) -> None:
        self._queue = f"b:{uuid.uuid4().hex}"
        self._server: Any = Valkey.from_url(url)
        self._workers = [
            subprocess.Popen(
                [sys.executable, "-m", self.module, url, self._queue],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            for _ in range(workers)
        ]

    @abc.abstractmethod
    def plan(self, run: str, graph: Normalised, numbers: Mapping[Key, int]) -> Plan:
        """Turn a graph into what workers read."""

    def get(self, dsk: Any, keys: Any, **_: Any) -> Any:
        """Compute keys of a graph."""
        graph = normalise(dsk, keys)
        numbers = {key: number for number, key in enumerate(graph.tasks)}
        run = uuid.uuid4().hex
        plan = self.plan(run, graph, numbers)
        self._server.mset({f"{run}:{name}": data for name, data in plan.records.items()})
        self._server.rpush(self._queue, *plan.work)
        self._wait(run, len(graph.roots))
        values = {key: loads(self._server.get(f"{run}:v{numbers[key]}")) for key in graph.roots}
        return assemble(graph, keys, values)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.wait()
        self._server.close()

    def _wait(self, run: str, roots: int) -> None:
        while roots:
            told = self._server.blpop([f"{run}:done"], LISTEN_SECONDS)
            if told is not None and told[1]:
                raise RuntimeError(told[1].decode())
            roots -= told is not None
            if any(worker.poll() is not None for worker in self._workers):
                raise RuntimeError(f"a worker of {self.module} has died")


class Store:
    """What a worker does with the store, one call after another as the originals do."""

    def __init__(self, server: Any, queue: str) -> None:
        self._server = server
        self._queue = queue

    def record(self, run: str, name: str) -> Any:
        """Read what the client has planned."""
        return loads(self._server.get(f"{run}:{name}"))

    def value(self, run: str, number: int) -> Any:
        """Read an output."""
        return loads(self._server.get(f"{run}:v{number}"))

    def put(self, run: str, number: int, value: object) -> None:
        """Write an output."""
        self._server.set(f"{run}:v{number}", dumps(value))

    def count(self, run: str, number: int) -> int:
        """Count one more input of a task, and tell how many have come."""
        return int(self._server.incr(f"{run}:c{number}"))

    def enqueue(self, work: list[bytes]) -> None:
        """Leave work to whichever worker is free."""
        if work:
            self._server.rpush(self._queue, *work)

    def done(self, run: str) -> None:
        """Tell the client that a root is there."""
        self._server.rpush(f"{run}:done", b"")


def serve(work: Callable[[Store, str, tuple[int, ...]], None]) -> None:
    """Pop items of the queue and do them, until the parent process has gone."""
    url, queue = sys.argv[1:]
    server: Any = Valkey.from_url(url)
    store = Store(server, queue)
    parent = os.getppid()
    while os.getppid() == parent:
        popped = server.blpop([queue], LISTEN_SECONDS)
        if popped is None:
            continue
        run, *numbers = popped[1].decode().split()
        try:
            work(store, run, tuple(map(int, numbers)))
        except Exception:  # noqa: BLE001 - a task may raise anything; the client is told
            server.rpush(f"{run}:done", traceback.format_exc())
