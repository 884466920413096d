"""Tables as bytes: a head in JSON, then each column as its memory is.

What Executors note, and what is kept of a run, is many rows of numbers: as columns they take a
quarter of the room of JSON, and are read without a loop.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from wukong.errors import WukongError

Column: TypeAlias = "array[int] | array[float]"

_LENGTH = struct.Struct("<I")


class ColumnsError(WukongError):
    """Bytes that are no such table."""


def write(head: Mapping[str, Any], columns: Sequence[Column]) -> bytes:
    """Serialise a head and columns; numbers are little-endian."""
    kinds = "".join(column.typecode for column in columns)
    lengths = [len(column) for column in columns]
    text = json.dumps([head, kinds, lengths], separators=(",", ":")).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *(_swapped(one).tobytes() for one in columns)])


def read_head(data: bytes) -> Mapping[str, Any]:
    """Read the head of what `write` gave; the rest need not be there.

    Raises
    ------
    ColumnsError
        If it is not of this form.
    """
    return _head(data)[0]


def read(data: bytes) -> tuple[Mapping[str, Any], list[Column]]:
    """Read what `write` gave.

    Raises
    ------
    ColumnsError
        If it is not of this form, or has been cut off.
    """
    head, kinds, lengths = _head(data)
    place = head_length(data)
    columns: list[Column] = []
    for kind, length in zip(kinds, lengths, strict=True):
        column: Column = array(kind)
        end = place + length * column.itemsize
        if end > len(data):
            raise ColumnsError(f"column {len(columns)} has been cut off", "Write it again.")
        column.frombytes(data[place:end])
        columns.append(_swapped(column))
        place = end
    return head, columns


def head_length(data: bytes) -> int:
    """Tell how many bytes `read_head` needs, given the first four."""
    if len(data) < _LENGTH.size:
        raise ColumnsError("the head has been cut off", "Write it again.")
    return _LENGTH.size + int(_LENGTH.unpack_from(data)[0])


def _head(data: bytes) -> tuple[Mapping[str, Any], str, list[int]]:
    try:
        head, kinds, lengths = json.loads(data[_LENGTH.size : head_length(data)])
    except ValueError as error:
        raise ColumnsError(f"the head is not JSON: {error}", "Write it again.") from error
    return head, kinds, lengths


def _swapped(column: Column) -> Column:
    if sys.byteorder == "little":
        return column
    swapped = column[:]
    swapped.byteswap()
    return swapped
