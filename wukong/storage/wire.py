"""Commands as they go over the wire to Valkey, packed by us and sent on the client's connections.

The client library's own packing takes longer than all the rest of a call: it looks at each of the
script's fourteen keys every time.
https://valkey.io/topics/protocol/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from valkey.exceptions import ResponseError

from wukong.storage.serialisation import Frames

LARGE_BYTES = 65_536
"""A word from this length on is sent as it is: packing it with others would copy it, twice."""

Pieces = Sequence[bytes | memoryview]
"""A command, or several, in as many pieces as spare copies."""


def packed_command(*words: object) -> Pieces:
    """Write a command; a word may also be `Frames`, or a list of pieces."""
    pieces: list[bytes | memoryview] = [b"*%d\r\n" % len(words)]
    for word in words:
        parts = word.pieces if isinstance(word, Frames) else word
        if isinstance(parts, list):
            pieces += [b"$%d\r\n" % sum(map(len, parts)), *parts, b"\r\n"]
        elif isinstance(word, bytes) and len(word) >= LARGE_BYTES:
            pieces += [b"$%d\r\n" % len(word), word, b"\r\n"]
        else:
            pieces.append(packed_words(word))
    return pieces


def packed_words(*words: object) -> bytes:
    """Write words of a command: bytes as they are, all else as text."""
    plain = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in plain])


def joined(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Join small pieces that follow each other, as each that is sent is a call of the system."""
    small: list[bytes | memoryview] = []
    for piece in pieces:
        if len(piece) >= LARGE_BYTES:
            yield b"".join(small)
            yield piece
            small.clear()
        else:
            small.append(piece)
    yield b"".join(small)


def exchange(server: Any, packed: Sequence[Pieces]) -> list[Any]:
    """Send commands and read their replies, in one round trip.

    A lost connection is made again and all is sent again, as often as the client's retry says.

    Raises
    ------
    ResponseError
        The first one, after all replies have been read.
    """
    pool = server.connection_pool
    message = list(joined(piece for command in packed for piece in command))
    connection = pool.get_connection("EVALSHA")

    def talk() -> list[Any]:
        connection.send_packed_command(message)
        return [_reply(connection) for _ in packed]

    try:
        replies: list[Any] = connection.retry.call_with_retry(
            talk, lambda _: connection.disconnect()
        )
    finally:
        pool.release(connection)
    problem = next((reply for reply in replies if isinstance(reply, ResponseError)), None)
    if problem is not None:
        raise problem
    return replies


def _reply(connection: Any) -> Any:
    """Read a reply; an error is one too, as the replies after it must be read all the same."""
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
