"""What a record says of edges and Executors: how inputs came and why, who started whom and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from dask.utils import key_split

from wukong.messages import Reason
from wukong.record import ExecutorRecord, Outline, RunRecord
from wukong.storage.notes import Way
from wukong.storage.terms import (
    INLINE_BYTES,
    INLINE_INPUTS,
)

WAYS: Mapping[Way, str] = {
    Way.MEMORY: "local",
    Way.CLAIM: "with the claim",
    Way.GROUP: "read once for a group",
    Way.PROCESS: "kept by the process",
    Way.STORE: "from the store",
}


@dataclass(frozen=True, slots=True)
class Edge:
    """How the output of one segment came to another, and why so."""

    producer: int
    consumer: int
    way: Way
    size: int
    why: str


def edges(record: RunRecord) -> Iterator[Edge]:
    """Give each edge of which the consumer's Executor has told."""
    needs = _inputs(record.outline)
    written, made_by = _outputs(record)
    steps, place = record.steps, 0
    for row, consumer in enumerate(steps["segment"]):
        count = int(steps["inputs"][row])
        ways = record.ways[place : place + count]
        place += count
        producers = needs(int(consumer))
        if len(producers) != count:
            continue
        for position, (producer, way) in enumerate(zip(producers, ways, strict=True)):
            size = written.get(producer, 0)
            same = made_by.get(producer) == steps["executor"][row]
            why = _why(Way(int(way)), size, position, same=same)
            yield Edge(producer, int(consumer), Way(int(way)), size, why)


def _inputs(outline: Outline) -> Callable[[int], list[int]]:
    begins = [0]
    for count in outline.needs:
        begins.append(begins[-1] + int(count))

    def of(segment: int) -> list[int]:
        if segment + 1 >= len(begins):
            return []
        return [int(x) for x in outline.inputs[begins[segment] : begins[segment + 1]]]

    return of


def _outputs(record: RunRecord) -> tuple[dict[int, int], dict[int, int]]:
    steps = record.steps
    written: dict[int, int] = {}
    made_by: dict[int, int] = {}
    for row, segment in enumerate(steps["segment"]):
        if steps["arrived"][row] >= 0:
            written[int(segment)] = int(steps["written"][row])
            made_by[int(segment)] = int(steps["executor"][row])
    return written, made_by


def _why(way: Way, size: int, position: int, *, same: bool) -> str:
    match way:
        case Way.MEMORY:
            return "the Executor that made it, or had read it, carried on with its consumer"
        case Way.CLAIM:
            return f"it is no larger than {INLINE_BYTES:,} bytes, so it came with the reply"
        case Way.GROUP:
            return "several lineages of the Executor began with it, so it was read once for all"
        case Way.PROCESS:
            return "an earlier segment or Executor of the same process had read it"
    where = "another lineage of the Executor" if same else "another Executor"
    if 0 < size <= INLINE_BYTES and position >= INLINE_INPUTS:
        return f"{where} made it, and only the first {INLINE_INPUTS} inputs come with the claim"
    return f"{where} made it, and it is larger than {INLINE_BYTES:,} bytes"


def why_started(record: RunRecord, one: ExecutorRecord) -> str:
    """Say who had an Executor started, and why."""
    outline = record.outline
    first = outline.label(one.lineages[0].segment) if one.lineages else "nothing"
    more = f" and {len(one.lineages) - 1} more" if len(one.lineages) > 1 else ""
    who = f"Executor {one.parent[:6]}" if one.parent else "the client"
    match one.reason:
        case Reason.LEAF:
            return f"{who}, for the leaves {first}{more}" if more else f"{who}, for {first}"
        case Reason.FAN_OUT:
            return f"{who}, which carried on with another child and handed off {first}{more}"
        case Reason.TIME:
            return f"{who}, whose time was up, for the rest of the lineage of {first}"
        case Reason.AGAIN:
            return f"{who}, as the lease of {first}{more} had expired"
    return f"{who}: {one.reason}"


def group_of(outline: Outline, segment: int) -> str:
    """Give the key prefix of a segment's output."""
    if segment >= len(outline):
        return "(unknown)"
    return str(key_split(outline.names[int(outline.name[segment])]))
