"""Outputs that this process has read before, for the next segments that consume them.

An official output never changes, so a copy of its bytes stays right. On Lambda an environment that
is used again still has it; a worker process runs one Executor after another.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache

from wukong.storage import DataRef, Storage
from wukong.storage.serialisation import Data

CACHE_BYTES = 256 * 1024 * 1024


class Inputs:
    """Reads outputs from a store, and keeps the newest ones of one run."""

    def __init__(self, storage: Storage, most: int = CACHE_BYTES) -> None:
        self._storage = storage
        self._most = most
        self._run = ""
        self._size = 0
        self._known: OrderedDict[DataRef, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, run: str, refs: Sequence[DataRef]) -> list[Data | None]:
        """Read outputs; None for what is not there."""
        known = self._look_up(run, refs)
        missing = [ref for ref in refs if ref not in known]
        if missing:
            found = self._storage.read(run, missing)
            known |= dict(zip(missing, found, strict=True))
            self._keep(run, missing, found)
        return [known[ref] for ref in refs]

    def known(self, run: str, refs: Sequence[DataRef]) -> list[DataRef]:
        """Give those of these outputs that need not be read from the store."""
        return list(self._look_up(run, refs))

    def _look_up(self, run: str, refs: Sequence[DataRef]) -> dict[DataRef, Data | None]:
        with self._lock:
            if run != self._run:
                self._run, self._size = run, 0
                self._known.clear()
            found: dict[DataRef, Data | None] = {}
            for ref in refs:
                if ref in self._known:
                    self._known.move_to_end(ref)
                    found[ref] = self._known[ref]
            return found

    def _keep(self, run: str, refs: Sequence[DataRef], found: Sequence[Data | None]) -> None:
        with self._lock:
            if run != self._run:
                return
            for ref, data in zip(refs, found, strict=True):
                # The memory of anything else becomes that of the value, which a task may change.
                if isinstance(data, bytes) and ref not in self._known:
                    self._known[ref] = data
                    self._size += len(data)
            while self._size > self._most:
                self._size -= len(self._known.popitem(last=False)[1])


@lru_cache(maxsize=1)
def inputs_of(storage: Storage) -> Inputs:
    """Give what this process knows, one object for all its Executors one after another."""
    return Inputs(storage)
