"""Wide arrivals in pages: one call of the script for so many segments that nobody waits for long.

    arrive: the first PAGE of (children, then inputs) + the rest, packed, for a re-drive
    more:   page 1, page 2, ...   in the same round trip

Children come first, so that the first page has one for the lineage to carry on with. What a lost
lineage owns, leases to extend and data to free are asked for in pages as well.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from wukong.storage.terms import (
    Arrival,
    Arrived,
    Lineage,
    Unstored,
)

T = TypeVar("T")

PAGE = 100
"""Segments in one call; a call for so many takes the server less than a millisecond."""

Item = tuple[int, int]
"""A child and the number of its inputs, or an input and INPUT."""

INPUT = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Page:
    """What one call counts: inputs, and children with the numbers of their inputs."""

    inputs: tuple[int, ...]
    children: tuple[Item, ...]


def pages_of(arrival: Arrival) -> list[Page]:
    """Cut whom an arrival concerns into pages; at least one."""
    return [_page(items) for items in cut(_items(arrival)) or [()]]


def attempt(lineage: Lineage) -> str:
    """Give what protocol.lua knows an attempt of a lineage by."""
    return f"{lineage.epoch}:R{lineage.token}"


def calls(lineage: Lineage, arrival: Arrival) -> list[tuple[Any, ...]]:
    """Give the calls of protocol.lua that make one arrival."""
    page, *more = pages_of(arrival)
    first = (
        *("arrive", lineage.segment, attempt(lineage), arrival.segment),
        *(
            "" if arrival.after is None else arrival.after,
            int(arrival.root),
            int(arrival.last and not more),
            b"".join(struct.pack(">II", *item) for item in _items(arrival)[PAGE:]),
            "".join(_told(one) for one in arrival.held),
        ),
        *_arguments(page),
    )
    return [first, *_more(lineage, arrival.segment, more)]


def rest_calls(lineage: Lineage, segment: int, page: int, rest: bytes) -> list[tuple[Any, ...]]:
    """Give the calls that are left of an arrival, from the next `page` on."""
    items = [(number, need) for number, need in struct.iter_unpack(">II", rest)]
    return _more(lineage, segment, [_page(some) for some in cut(items)])[page - 1 :]


def claims_calls(lineage: Lineage, segments: Sequence[int]) -> list[tuple[Any, ...]]:
    """Give the calls that have a lineage look at these of its segments; at least one."""
    who = ("claims", lineage.segment, attempt(lineage))
    return [(*who, *page) for page in cut(segments) or [()]]


def beat_calls(lineages: Sequence[Lineage]) -> list[tuple[Any, ...]]:
    """Give the calls that extend leases."""
    return [
        ("beat", *(word for one in page for word in (one.segment, attempt(one))))
        for page in cut(lineages)
    ]


def cut(items: Sequence[T]) -> list[Sequence[T]]:
    """Cut what concerns many segments into pages."""
    return [items[first : first + PAGE] for first in range(0, len(items), PAGE)]


def merged(answers: Sequence[Arrived]) -> Arrived:
    """Make one answer of those to all pages of an arrival."""
    if len(answers) == 1:
        return answers[0]
    return Arrived(
        here=tuple(claim for answer in answers for claim in answer.here),
        handed_off=tuple(start for answer in answers for start in answer.handed_off),
        deletable=tuple(ref for answer in answers for ref in answer.deletable),
    )


def _told(one: Unstored) -> str:
    return f"{one.segment}:{','.join(map(str, one.inputs))};"


def _items(arrival: Arrival) -> list[Item]:
    return [*arrival.children, *((segment, INPUT) for segment in arrival.inputs)]


def _page(items: Sequence[Item]) -> Page:
    return Page(
        inputs=tuple(segment for segment, need in items if need == INPUT),
        children=tuple(item for item in items if item[1] != INPUT),
    )


def _more(lineage: Lineage, segment: int, pages: Sequence[Page]) -> list[tuple[Any, ...]]:
    where = (lineage.segment, attempt(lineage), segment)
    return [
        ("more", *where, number, len(pages) + 1, *_arguments(page))
        for number, page in enumerate(pages, 1)
    ]


def _arguments(page: Page) -> tuple[int, ...]:
    children = (number for item in page.children for number in item)
    return len(page.inputs), *page.inputs, *children
