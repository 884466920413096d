"""Values that stay in the store after their run, as tasks of other graphs read them.

The client makes the references (`wukong.persisted`); Executors read what they name, each from the
store of the place where it runs.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import Any

from wukong.errors import WukongError
from wukong.platform import surroundings
from wukong.storage import DataRef, Storage, StorageError
from wukong.storage.serialisation import loads


class StoredError(WukongError):
    """A value that was to stay in the store is not there any more."""


class Hold:
    """Keeps the values of a run in the store for as long as this process refers to them.

    It stays in the process: what is sent to Executors has none.
    """

    def __init__(self, run: str, storage: Storage) -> None:
        self.run = run
        self.storage = storage
        weakref.finalize(self, _drop, run, storage)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def __dask_tokenize__(self) -> object:
        return "wukong.Hold", self.run


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


def _drop(run: str, storage: Storage) -> None:
    with suppress(StorageError):
        storage.drop(run)
