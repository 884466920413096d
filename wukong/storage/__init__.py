"""The Storage Manager: control state of runs (metadata store), outputs (intermediate store).

`interface` says what a back-end does and why it is safe; `valkey`, `dynamo` and `memory` are
back-ends of one behaviour, `serialisation` turns values into bytes. `open_storage` picks a back-end
by URL.
"""

from __future__ import annotations

from typing import Literal

from wukong.storage.dynamo.address import SCHEME as DYNAMO_SCHEME
from wukong.storage.interface import Storage
from wukong.storage.terms import (
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
    StorageError,
    Unstored,
    shared_ref,
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
    "StoreKind",
    "Unstored",
    "open_storage",
    "shared_ref",
    "store_kind",
]


StoreKind = Literal["dynamodb", "memory", "valkey"]

VALKEY_SCHEMES = frozenset({"valkey", "valkeys", "redis", "rediss", "unix"})


def store_kind(url: str) -> StoreKind:
    """Say which back-end a store URL names; a Valkey server if it says nothing else."""
    scheme = url.partition("://")[0]
    if scheme == DYNAMO_SCHEME:
        return "dynamodb"
    return "memory" if scheme == "memory" else "valkey"


def open_storage(url: str, signing_key: str | None = None) -> Storage:
    """Open the back-end that a URL names; nothing connects before it is used.

    `valkey://`, `redis://`, `valkeys://`, `rediss://` (TLS) and `unix://` name a Valkey server,
    `dynamodb+s3://TABLE/BUCKET` a DynamoDB table and an S3 bucket, `memory://NAME` a store inside
    this process.

    Parameters
    ----------
    signing_key
        Where the key is with which everything is signed (`keys`); without one nothing is.

    Raises
    ------
    StorageError
        If the URL names no back-end.
    """
    back_end = _back_end(url)
    if not signing_key:
        return back_end
    from wukong.storage.keys import Keys
    from wukong.storage.signing import SignedStorage

    return SignedStorage(back_end, Keys(signing_key))


def _back_end(url: str) -> Storage:
    scheme = url.partition("://")[0]
    if scheme == "memory":
        from wukong.storage.memory import MemoryStorage

        return MemoryStorage.named(url)
    if scheme in VALKEY_SCHEMES:
        from wukong.storage.valkey import ValkeyStorage

        return ValkeyStorage(url)
    if scheme == DYNAMO_SCHEME:
        from wukong.storage.dynamo.backend import DynamoStorage

        return DynamoStorage.at(url)
    raise StorageError(
        f"store URL: no back-end for {scheme + '://' if '://' in url else 'an empty URL'!r}",
        "Give valkey://HOST:PORT (valkeys:// with TLS), dynamodb+s3://TABLE/BUCKET, or "
        "memory://NAME in tests; the Executor reads it from WUKONG_STORE_URL.",
    )
