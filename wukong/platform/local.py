"""The local platform: worker processes on this machine, as Lambda's sandboxes would be.

Workers take events from a list in Valkey. A worker moves an event to a list of its own while it
runs it, so that it is known what a worker that died was about; whoever follows the run has it begun
again.

    start ──RPUSH──> w:{queue}:events ──BLMOVE──> w:{queue}:taken:<worker> ──> Executor
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from valkey import Valkey
from valkey.exceptions import ValkeyError

from wukong.messages import ExecutorEvent, InvokerReport, Targets
from wukong.platform.deaths import Deaths
from wukong.platform.handlers import EXECUTOR
from wukong.platform.interface import Death, Platform, PlatformError
from wukong.platform.overflow import PLACE

STOP_SECONDS = 5.0

MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 25), "MALLOC_TRIM_THRESHOLD_": str(1 << 28)}
"""Has glibc's malloc keep up to 256 MB that a worker has freed, and give out arrays of up to 32 MB
(the most it allows) from there: else each array is mapped, page by page, and unmapped again, which
takes longer than filling it. https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html
"""


def events_key(queue: str) -> str:
    """Name the list of waiting events."""
    return f"w:{{{queue}}}:events"


def taken_key(queue: str, worker: str) -> str:
    """Name the list that holds what a worker runs at the moment."""
    return f"w:{{{queue}}}:taken:{worker}"


class QueuePlatform(Platform):
    """Puts events into the queue; what an Executor in a worker process hands off with."""

    def __init__(self, queue_url: str, queue: str, workers: int) -> None:
        self._queue = queue
        self.parallelism = workers
        self._server: Any = Valkey.from_url(queue_url, socket_timeout=30.0)

    def targets(self) -> Targets:
        """Give the handler; there is no Invoker here, the queue is fast enough."""
        return Targets(executor=EXECUTOR, invoker="")

    def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
        """Queue the events."""
        if events:
            self._put([event.to_bytes() for event in events])
        return InvokerReport(accepted=len(events))

    def close(self) -> None:
        """Give back the connection."""
        self._server.close()

    def _put(self, events: Sequence[bytes]) -> None:
        try:
            self._server.rpush(events_key(self._queue), *events)
        except ValkeyError as error:
            raise PlatformError(
                f"the queue of the workers cannot be reached: {error}",
                "The store has ended; a new client starts one of its own.",
            ) from error


class LocalPlatform(QueuePlatform):
    """Keeps `workers` worker processes alive and gives them events.

    Parameters
    ----------
    store_url
        Where runs are.
    workers
        How many worker processes.
    queue_url
        The Valkey server that has the queue, if the store is none.
    bundles
        A folder with a manifest and overflow bundles, which workers import from; None for none.

    Raises
    ------
    PlatformError
        From `check`, if workers keep dying.
    """

    def __init__(
        self,
        store_url: str,
        workers: int,
        queue_url: str | None = None,
        bundles: str | None = None,
        signing_key: str | None = None,
    ) -> None:
        self._queue_url = queue_url or store_url
        super().__init__(self._queue_url, uuid.uuid4().hex, workers)
        self._store = {
            "WUKONG_STORE_URL": store_url,
            "WUKONG_STORE_SIGNING_KEY": signing_key or "",
        }
        self._bundles = {} if bundles is None else {PLACE: f"file:{Path(bundles).resolve()}"}
        self._deaths = Deaths(
            "A process that is killed usually means that the machine ran out of memory: use fewer "
            "workers or smaller chunks."
        )
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        # Followers of several runs look after them, and the client may close meanwhile.
        self._lock = threading.Lock()
        self._is_closed = False
        for _ in range(workers):
            self._hire()

    def targets(self) -> Targets:
        """Give the handler; a new run begins, and so does the count of deaths."""
        self._deaths.begin()
        return super().targets()

    @property
    def workers(self) -> dict[str, int]:
        """Process ids of the workers, by name."""
        return {name: process.pid for name, process in dict(self._workers).items()}

    def check(self, run: str) -> list[Death]:
        """Replace workers that have died, and give what they had taken of a run."""
        with self._lock:
            dead = [] if self._is_closed else self._dead()
            for name, status in dead:
                self._bury(name, status)
        return self._deaths.of(run)

    def _dead(self) -> list[tuple[str, int]]:
        states = [(name, process.poll()) for name, process in self._workers.items()]
        return [(name, status) for name, status in states if status is not None]

    def _bury(self, name: str, status: int) -> None:
        """Replace a worker, and note what it was about."""
        del self._workers[name]
        self._hire()
        cause = _cause(status)
        deaths = []
        while taken := self._server.lpop(taken_key(self._queue, name)):
            deaths.append(Death(ExecutorEvent.from_event(json.loads(taken)), cause))
        self._deaths.note(deaths, cause)

    def close(self) -> None:
        """End the workers and what they are doing."""
        with self._lock:
            self._is_closed = True
        for process in self._workers.values():
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._workers.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()
        self._workers.clear()
        super().close()

    def _hire(self) -> None:
        name = uuid.uuid4().hex
        settings = self._store | {
            "WUKONG_PLATFORM": "local",
            "WUKONG_QUEUE": self._queue,
            "WUKONG_QUEUE_URL": self._queue_url,
            "WUKONG_WORKERS": str(self.parallelism),
            "WUKONG_WORKER": name,
            "WUKONG_PARENT": str(os.getpid()),
            # Modules that the client can import, its workers can import.
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            # One thread for each worker: workers are as many as cores, and more would only fight.
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
            "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", "1"),
        }
        self._workers[name] = subprocess.Popen(
            [sys.executable, "-m", "wukong.platform.worker"],
            env={**MEMORY, **os.environ, **self._bundles, **settings},
            stdin=subprocess.DEVNULL,
        )


def _cause(status: int) -> str:
    """Say what a process died of, given its exit status."""
    if status == -signal.SIGKILL:
        return "its process was killed, as the system does when memory runs out"
    return f"its process ended with status {status}"
