"""Outputs as keys of Valkey: a string, or a list of chunks where one string would be too long.

A server takes strings of up to 512 MB (proto-max-bulk-len, and ElastiCache Serverless no item above
that), and keeps others waiting while it takes a long one. MGET gives nothing for a list, so that
only readers of what is not a string need a second look.
https://valkey.io/topics/strings/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from wukong.storage.serialisation import Frames, Packed

CHUNK_BYTES = 64 * 1024 * 1024


def storing(key: str, value: Packed, keep_seconds: int) -> list[tuple[Any, ...]]:
    """Give the commands that store a value; they may be repeated."""
    if len(value) <= CHUNK_BYTES:
        return [("SET", key, value, "EX", keep_seconds)]
    pieces = value.pieces if isinstance(value, Frames) else [value]
    pushes = [("RPUSH", key, chunk) for chunk in _chunks(pieces)]
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


def _chunks(pieces: Sequence[bytes | memoryview]) -> Iterator[list[bytes | memoryview]]:
    """Cut pieces into chunks, without copying them."""
    chunk: list[bytes | memoryview] = []
    room = CHUNK_BYTES
    for piece in pieces:
        rest = memoryview(piece)
        while rest.nbytes:
            taken = rest[:room]
            chunk.append(taken)
            rest, room = rest[taken.nbytes :], room - taken.nbytes
            if not room:
                yield chunk
                chunk, room = [], CHUNK_BYTES
    if chunk:
        yield chunk
