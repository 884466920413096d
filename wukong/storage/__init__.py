"""The Storage Manager: control state of runs (metadata store), outputs (intermediate store).

`interface` says what a back-end does and why it is safe; `valkey` and `memory` are back-ends of
one behaviour, `serialisation` turns values into bytes. `open_storage` picks a back-end by URL.
"""

from __future__ import annotations

from wukong.storage.interface import (
    Arrival,
    Arrived,
    Begun,
    Claim,
    DataRef,
    Fenced,
    Lineage,
    NewRun,
    News,
    RunState,
    RunStatus,
    Storage,
    StorageError,
    open_storage,
)

__all__ = [
    "Arrival",
    "Arrived",
    "Begun",
    "Claim",
    "DataRef",
    "Fenced",
    "Lineage",
    "NewRun",
    "News",
    "RunState",
    "RunStatus",
    "Storage",
    "StorageError",
    "open_storage",
]
