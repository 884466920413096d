"""Outputs as keys of Valkey: a string, or a list of chunks where one string would be too long.

A server takes strings of up to 512 MB (proto-max-bulk-len, and ElastiCache Serverless no item above
that), and keeps others waiting while it takes a long one. MGET gives nothing for a list, so that
only readers of what is not a string need a second look.
https://valkey.io/topics/strings/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wukong.storage.serialisation import Packed, cut

CHUNK_BYTES = 64 * 1024 * 1024


def storing(key: str, value: Packed, keep_seconds: int) -> list[tuple[Any, ...]]:
    """Give the commands that store a value; they may be repeated."""
    if len(value) <= CHUNK_BYTES:
        return [("SET", key, value, "EX", keep_seconds)]
    pushes = [("RPUSH", key, chunk) for chunk in cut(value, CHUNK_BYTES)]
    return [("UNLINK", key), *pushes, ("EXPIRE", key, keep_seconds)]


def reading(server: Any, keys: Sequence[str]) -> list[bytes | bytearray | None]:
    """Read values; None for what is not there."""
    found: list[bytes | bytearray | None] = server.mget(keys)
    missing = [place for place, value in enumerate(found) if value is None]
    if missing:
        pipe = server.pipeline(transaction=False)
        for place in missing:
            pipe.lrange(keys[place], 0, -1)
        for place, chunks in zip(missing, pipe.execute(), strict=True):
            found[place] = bytearray().join(chunks) if chunks else None
    return found
