"""Values that stay in the store after their run, as tasks of other graphs read them.

The client makes the references (`wukong.persisted`); Executors read what they name, each from the
store of the place where it runs.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from wukong.errors import WukongError
from wukong.platform import surroundings
from wukong.storage import DataRef, Storage, StorageError
from wukong.storage.serialisation import loads

CLOSE_SECONDS = 5.0
"""How long the thread that drops garbage is waited for; what it has not dropped is dropped then."""


class StoredError(WukongError):
    """A value that was to stay in the store is not there any more."""


class Hold:
    """Keeps the values of a run in the store for as long as this process refers to them.

    It stays in the process: what is sent to Executors has none.
    """

    def __init__(self, run: str, storage: Storage) -> None:
        self.run = run
        self.storage = storage

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def __dask_tokenize__(self) -> object:
        return "wukong.Hold", self.run


class Holds:
    """Drops from one store what nothing in this process refers to any more.

    A collection may become garbage in the middle of anything, with any lock held; so the end of a
    hold is only noted then, in a queue that takes no lock, and a thread of its own drops the run.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._process = os.getpid()
        self._over: SimpleQueue[str | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._thread: threading.Thread | None = None

    def hold(self, run: str) -> Hold:
        """Keep the values of a run until nothing refers to what this gives."""
        hold = Hold(run, self._storage)
        # At the end of the process all are dropped in any case.
        weakref.finalize(hold, self._over.put, run).atexit = False
        with self._lock:
            self._held.add(run)
            if self._thread is None:
                atexit.register(self.close)
                self._thread = threading.Thread(
                    target=self._drop_garbage, name="wukong-holds", daemon=True
                )
                self._thread.start()
        return hold

    def close(self) -> None:
        """Drop all that is held; does nothing in a process that was forked."""
        if self._process != os.getpid():
            return
        atexit.unregister(self.close)
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._over.put(None)
            thread.join(CLOSE_SECONDS)
        # A store that does not answer once is not asked for each of them.
        with suppress(StorageError):
            for run in list(self._held):
                self._storage.drop(run)

    def _drop_garbage(self) -> None:
        while (run := self._over.get()) is not None:
            self._held.discard(run)
            with suppress(StorageError):
                self._storage.drop(run)


def fetch(run: str, segment: int, version: str, hold: Hold | None) -> Any:
    """Read a value.

    Raises
    ------
    StoredError
        If it is gone.
    """
    storage = hold.storage if hold is not None else surroundings.store()
    (data,) = storage.read(run, [DataRef(segment, version)])
    if data is None:
        raise StoredError(
            f"a persisted value of run {run} is no longer in the store",
            "Its collection was garbage, its client ended, or it has outlived `keep_seconds`: "
            "persist it again.",
        )
    return loads(data)
