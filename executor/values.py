"""The values that a lineage has: what a task does to one that it was given, no other task sees.

The first consumer of a value is given the object itself. For those after it the value is made anew
from its bytes, which are kept if they are few; if they are many, it is not here any more then
(`take` says so), and is read again from where all others read it. Values that cannot be changed, or
that nobody else asks for, are given as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wukong.storage import Claim
from wukong.storage.serialisation import OUT_OF_BAND_BYTES, Data, Packed, loads

FEW_BYTES = OUT_OF_BAND_BYTES
"""Up to so many bytes a value is unpickled faster than it is asked for."""

MANY = 100
"""Tuples of more are not looked through."""

_CONSTANT = frozenset({int, float, complex, bool, str, bytes, type(None)})


class Values:
    """Values by segment."""

    def __init__(self) -> None:
        self._objects: dict[int, Any] = {}
        self._packed: dict[int, bytes] = {}
        # To be given as they are.
        self._harmless: set[int] = set()

    def __getitem__(self, segment: int) -> Any:
        """Give a value that no task was given yet."""
        return self._objects[segment]

    def read(self, segment: int, data: Data) -> None:
        """Add an input from its bytes; raises whatever unpickling it raises."""
        self._add(segment, loads(data), data)

    def made(self, segment: int, value: Any, packed: Packed, consumers: int) -> None:
        """Add an output that was made here, and as how many segments consume it."""
        if consumers > 1:
            self._add(segment, value, packed)
        else:
            self._objects[segment] = value
            self._harmless.add(segment)

    def _add(self, segment: int, value: Any, packed: Data | Packed) -> None:
        self._objects[segment] = value
        if _is_constant(value):
            self._harmless.add(segment)
        elif isinstance(packed, bytes) and len(packed) <= FEW_BYTES:
            self._packed[segment] = packed

    def take(self, claim: Claim) -> tuple[dict[int, Any], tuple[int, ...]]:
        """Give a segment its inputs, and say which of these have to be read again for another.

        Raises whatever unpickling them raises.
        """
        given = {ref.segment: self._take(ref.segment) for ref in claim.inputs}
        return given, tuple([one for one in given if not self._has(one)])

    def _take(self, segment: int) -> Any:
        if segment in self._harmless:
            return self._objects[segment]
        if segment in self._objects:
            return self._objects.pop(segment)
        return loads(self._packed[segment])

    def _has(self, segment: int) -> bool:
        return segment in self._harmless or segment in self._packed

    def forget(self, segments: Iterable[int]) -> None:
        """Drop values."""
        for segment in segments:
            self._objects.pop(segment, None)
            self._packed.pop(segment, None)
            self._harmless.discard(segment)


def _is_constant(value: object) -> bool:
    """Tell values that no task can change; not all of them."""
    if type(value) is tuple:
        return len(value) <= MANY and all(type(one) in _CONSTANT for one in value)
    return type(value) in _CONSTANT
