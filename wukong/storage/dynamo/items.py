"""What is written to DynamoDB: names of items, their attributes, and what a segment never changes.

Of a run with N segments (`pk` / `sk`):

    runs / RUN                   that it exists
    RUN / run                    state, limits, failure
    RUN / manifest, shared#i     what a client that comes back needs; what specifications share
    RUN / batch#NAME             events for the Invoker, or what became of them
    RUN#notes / TIME             what Executors note of themselves
    RUN#p# / BLOCK               which of 256 segments are done, which roots; begins of lineages
    RUN#l# / S                   the lease of lineage S, as long as it has not ended
    RUN# / sD                    segment D
    RUN# / sDt                   what is fixed of segment D, if it is too long for its item
    RUN# / sDaL.I, sDrL.I        of a wide segment: a node of its arrivals, of its consumers' marks

A segment:

    n        how many inputs have arrived, or nodes of inputs
    iX       input X has arrived: the version of its data, and `|size` if that is an object; where
             the inputs have nodes, node X is full
    claim    which attempt owns it: LINEAGE.EPOCH as long as it has not begun, LINEAGE.EPOCH.TOKEN
    ver      it is official: the attempt whose data this is; written once
    held     with `ver`: what was held for it and became official with it
    hd       it is official without data of its own, as it was held for its child
    v, o     its output: here, or an object of so many bytes
    r        which of its consumers (or nodes of them) have arrived
    fin      the lineage that began with it has ended
    front    of a lineage: segments from which all that it still owns can be reached; what comes
             before them has had all its effects
    fixed    specification, inputs, children; `fo`: an object of so many bytes instead
    c        how many consumers it has, unless its output is never freed
    wide     how many inputs it has, if they are counted in a tree

The others:

    a node      n, iX and r as above, of what arrives at it; last: which arrival has completed it
    a lease     at: of which attempt; until: milliseconds since 1970; by: which lineage has handed
                it off, until it begins
    a block     done, roots: places in it; begun: how often lineages of it have begun
    a run       state; n: its segments; lease, handoff: milliseconds; live: the most lineages alive;
                by: which call has ended it; v, o: the failure
    any value   v: here, or o: an object of so many bytes

Many partition keys (`RUN#`, `RUN#l#` and `RUN#p#` are followed by a number) spread a run over the
servers of the table. Every item has `expires`.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wukong.storage.dynamo.table import Item, Key
from wukong.storage.terms import (
    DataRef,
    Lineage,
)

FIXED_BYTES = 640
"""Up to this size what is fixed is in the segment's item, which then mostly stays below 1 KB: each
change of it is then one write unit."""

ITEM_BYTES = 8192
"""Up to this size it is an item of its own: so many write units cost as much as an object."""

FAN = 32
"""So many inputs, or consumers, are counted in one item; of more, in a tree of such nodes. An item
grows with each, and takes 1,000 writes a second at most."""

BLOCK = 256
"""So many segments are marked as done in one item."""

PARTITION = 64
MOST_PARTITIONS = 100
"""About so many segments have one partition key, of at most so many."""

LEASE_PARTITION = 1024
MOST_LEASE_PARTITIONS = 8


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a lineage; no token while it is handed off and has not begun."""

    lineage: int
    epoch: int = 1
    token: str | None = None

    @classmethod
    def of(cls, claim: str) -> Attempt:
        """Read what a claim says."""
        lineage, epoch, *token = claim.split(".", 2)
        return cls(int(lineage), int(epoch), token[0] if token else None)

    def __str__(self) -> str:
        pending = f"{self.lineage}.{self.epoch}"
        return pending if self.token is None else f"{pending}.{self.token}"

    def next(self) -> Attempt:
        """Give the attempt after this one, which has not begun."""
        return Attempt(self.lineage, self.epoch + 1)


def attempt_of(lineage: Lineage) -> Attempt:
    """Give the attempt that a lineage acts in."""
    return Attempt(lineage.segment, lineage.epoch, lineage.token)


@dataclass(frozen=True, slots=True)
class Layout:
    """Names the items of a run of so many segments."""

    run: str
    count: int

    def segment(self, number: int, part: str = "") -> Key:
        """Name a segment, or a part of it."""
        return f"{self.run}#{number % self._partitions}", f"s{number}{part}"

    def lease(self, lineage: int) -> Key:
        """Name the lease of a lineage."""
        return f"{self.run}#l#{lineage % self._lease_partitions}", str(lineage)

    def progress(self, number: int) -> Key:
        """Name the block that a segment is marked in."""
        block = number // BLOCK
        return f"{self.run}#p#{block % self._progress_partitions}", f"{block:08d}"

    @property
    def _partitions(self) -> int:
        return min(MOST_PARTITIONS, 1 + self.count // PARTITION)

    @property
    def _lease_partitions(self) -> int:
        return min(MOST_LEASE_PARTITIONS, 1 + self.count // LEASE_PARTITION)

    @property
    def _progress_partitions(self) -> int:
        return min(MOST_LEASE_PARTITIONS, 1 + self.count // LEASE_PARTITION)

    @property
    def lease_partitions(self) -> list[str]:
        """Name the partitions of leases."""
        return [f"{self.run}#l#{number}" for number in range(self._lease_partitions)]

    @property
    def progress_partitions(self) -> list[str]:
        """Name the partitions of blocks."""
        return [f"{self.run}#p#{number}" for number in range(self._progress_partitions)]

    @property
    def partitions(self) -> list[str]:
        """Name all partitions that a run has items in."""
        segments = [f"{self.run}#{number}" for number in range(self._partitions)]
        others = [self.run, notes_partition(self.run)]
        return [*segments, *self.lease_partitions, *self.progress_partitions, *others]


MOST_IN_FRONT = 400
"""A front of more segments is not written: the item would grow beyond a few KB."""


def front_text(numbers: Iterable[int]) -> str:
    """Write a front."""
    return ",".join(map(str, sorted(numbers)))


def front_of(item: Item) -> list[int] | None:
    """Read the front of a lineage; None if its first segment is all of it."""
    front = item.get("front")
    return [int(one) for one in front.split(",") if one] if isinstance(front, str) else None


def run_key(run: str) -> Key:
    """Name the item of a run."""
    return run, "run"


RUNS = "runs"


def registered(run: str) -> Key:
    """Name the item that says that a run exists."""
    return RUNS, run


def notes_partition(run: str) -> str:
    """Name the partition of what Executors note."""
    return f"{run}#notes"


def output_name(run: str, ref: DataRef) -> str:
    """Name the object of an output."""
    return f"{run}/{ref.segment}.{ref.version}"


def arrived_as(segment: int) -> str:
    """Name the attribute that says that an input has arrived."""
    return f"i{segment}"


@dataclass(frozen=True, slots=True)
class Output:
    """Where official data is: its version, and its size if it is an object."""

    version: str
    size: int | None = None

    @classmethod
    def of(cls, text: str) -> Output:
        """Read what an arrival says."""
        version, _, size = text.partition("|")
        return cls(version, int(size) if size else None)

    def __str__(self) -> str:
        return self.version if self.size is None else f"{self.version}|{self.size}"


def output_of(item: Item) -> Output:
    """Tell where the output of an official segment is."""
    size = item.get("o")
    return Output(str(item["ver"]), int(size) if isinstance(size, int) else None)


def arrivals_of(item: Item) -> dict[int, Output]:
    """Give the inputs that have arrived, as an item of a segment or of a node has them."""
    return {
        int(name[1:]): Output.of(str(value))
        for name, value in item.items()
        if name[0] == "i" and name[1:].isdigit()
    }


@dataclass(frozen=True, slots=True)
class Step:
    """One node on the way of an arrival, or a mark, to its segment.

    Attributes
    ----------
    part
        Which item of the segment; "" is its own.
    place
        The place in the node.
    size
        How many places the node has.
    """

    part: str
    place: int
    size: int


def is_wide(width: int) -> bool:
    """Tell whether so many inputs, or consumers, are counted in a tree."""
    return width > FAN


def steps(kind: str, width: int, place: int) -> list[Step]:
    """Give the nodes from the `place`-th of `width` to the top, in a tree of FAN a node."""
    found = []
    level = 1
    while width > FAN:
        node = place // FAN
        size = min(FAN, width - node * FAN)
        found.append(Step(f"{kind}{level}.{node}", place % FAN, size))
        place, width, level = node, -(-width // FAN), level + 1
    return [*found, Step("", place, width)]


def nodes(kind: str, width: int) -> list[str]:
    """Name the nodes of a tree but its top."""
    return list(
        dict.fromkeys(
            step.part
            for place in range(0, width, FAN)
            for step in steps(kind, width, place)
            if step.part
        )
    )


@dataclass(frozen=True, slots=True)
class Fixed:
    """What never changes of a segment.

    Attributes
    ----------
    spec
        Its specification, opaque here.
    root
        Whether the client reads its output.
    consumers
        How many consumers its output has; 0 if it is never freed, as for a root.
    inputs
        For each input its number, how many consumers it has (0 if it is never freed), and the place
        among them.
    children
        For each child its number, how many inputs it has, and the place among them.
    """

    spec: bytes
    root: bool
    consumers: int
    inputs: tuple[tuple[int, int, int], ...]
    children: tuple[tuple[int, int, int], ...]

    _HEAD = struct.Struct("<BIII")

    def to_bytes(self) -> bytes:
        """Serialise."""
        head = self._HEAD.pack(self.root, self.consumers, len(self.inputs), len(self.children))
        return b"".join([head, _packed(self.inputs), _packed(self.children), self.spec])

    @classmethod
    def from_bytes(cls, data: bytes) -> Fixed:
        """Read what `to_bytes` wrote."""
        root, consumers, inputs, children = cls._HEAD.unpack_from(data)
        first = cls._HEAD.size
        middle = first + 12 * inputs
        last = middle + 12 * children
        return cls(
            data[last:],
            bool(root),
            consumers,
            _unpacked(data[first:middle]),
            _unpacked(data[middle:last]),
        )


def _packed(triples: Iterable[tuple[int, int, int]]) -> bytes:
    return b"".join(struct.pack("<3I", *one) for one in triples)


def _unpacked(data: bytes) -> tuple[tuple[int, int, int], ...]:
    return tuple((a, b, c) for a, b, c in struct.iter_unpack("<3I", data))


def structure(
    inputs: Sequence[tuple[int, ...]], references: Sequence[int]
) -> tuple[array[int], list[list[tuple[int, int, int]]], array[int]]:
    """Invert a graph: consumers of each segment (0: never freed), children, and places.

    Returns
    -------
    The number of consumers of each segment; its children, as `Fixed` has them; and for each input
    of each segment, one after another, the place among that input's consumers.
    """
    seen = array("I", bytes(4 * len(inputs)))
    children: list[list[tuple[int, int, int]]] = [[] for _ in inputs]
    places = array("I")
    for child, some in enumerate(inputs):
        for place, one in enumerate(some):
            children[one].append((child, len(some), place))
            places.append(seen[one])
            seen[one] += 1
    consumers = array(
        "I", [many if many == wanted else 0 for many, wanted in zip(seen, references, strict=True)]
    )
    return consumers, children, places
