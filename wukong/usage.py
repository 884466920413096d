"""What runs use and are billed for: metered while they run, exact from their record.

While a run goes on, only the number of Executors alive is known, from looks at it. When it has
ended, its record has the seconds of every Executor.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from wukong.platform.costs import EACH_SECONDS, StartCosts
from wukong.record import RunRecord
from wukong.storage.notes import Way
from wukong.storage.terms import (
    INLINE_BYTES,
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run, or several, have used.

    Attributes
    ----------
    executor_seconds, executor_requests
        Seconds of all Executors together, and how many were started.
    invoker_seconds, invoker_requests
        The same of Invokers.
    segments
        Segments that were run; each takes steps of the store.
    stored_bytes, read_bytes
        Bytes that were written to the store, and read from it.
    inline_bytes
        Bytes of outputs that are small enough for an item of a table.
    objects, object_reads
        Larger outputs, which a bucket has where the store is DynamoDB and S3, and how often one was
        read.
    seconds
        How long the data was there: the run's duration.
    """

    executor_seconds: float = 0.0
    executor_requests: int = 0
    invoker_seconds: float = 0.0
    invoker_requests: int = 0
    segments: int = 0
    stored_bytes: float = 0.0
    read_bytes: float = 0.0
    inline_bytes: float = 0.0
    objects: float = 0.0
    object_reads: float = 0.0
    seconds: float = 0.0


class Meter:
    """Adds up what a run uses while it runs, from looks at how many Executors are alive.

    Parameters
    ----------
    alive
        How many it begins with.
    """

    def __init__(self, alive: int) -> None:
        self._alive = alive
        self._seconds = 0.0
        self._executor_seconds = 0.0
        self._begun = alive
        self._done = 0

    def look(self, seconds: float, alive: int, begun: int, done: int) -> None:
        """Note a look, `seconds` after the beginning; between looks the number goes evenly."""
        passed = seconds - self._seconds
        self._executor_seconds += passed * (self._alive + alive) / 2
        self._seconds, self._alive = seconds, alive
        self._begun, self._done = max(begun, self._begun), done

    def end(self, seconds: float, segments: int) -> None:
        """Note the end; until then there were as many as at the last look."""
        self.look(max(seconds, self._seconds), self._alive, self._begun, segments)
        self._alive = 0

    @property
    def usage(self) -> Usage:
        """What was used so far; without outputs, whose sizes a status does not tell."""
        return Usage(
            executor_seconds=self._executor_seconds,
            executor_requests=self._begun,
            segments=self._done,
            seconds=self._seconds,
        )


def usage_of(record: RunRecord) -> Usage:
    """Say what a run has used, from its record.

    Lambda bills an Executor by the millisecond, and the start of its environment too:
    https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/.
    Executors of which nothing is known are taken to be like the others.
    """
    summary = record.summary
    is_lambda = summary.platform == "aws"
    seconds = 0.0
    for one in record.executors:
        seconds += math.ceil(one.ended * 1000) / 1000
        if is_lambda and one.place.earlier == 0:
            seconds += one.place.born
    first = sum(not one.parent for one in record.executors)
    batches = [first, *map(int, record.hand_offs["count"])] if is_lambda else []
    invoker_seconds, invoker_requests = invoked(batches)
    known = summary.begun - summary.missing
    share = summary.begun / known if known > 0 else 1.0
    return Usage(
        executor_seconds=seconds * share,
        executor_requests=round(len(record.executors) * share),
        invoker_seconds=invoker_seconds,
        invoker_requests=invoker_requests,
        segments=len(record.steps["segment"]),
        stored_bytes=record.written,
        read_bytes=read_bytes(record),
        inline_bytes=sum(size for size in record.steps["written"] if not is_object(size)),
        objects=sum(map(is_object, record.steps["written"])),
        object_reads=object_reads(record),
        seconds=summary.seconds,
    )


def read_bytes(record: RunRecord) -> int:
    """Say how many bytes of inputs have come from the store."""
    traffic = record.traffic
    return traffic[Way.STORE] + traffic[Way.CLAIM]


def is_object(size: float) -> bool:
    """Tell whether an output of so many bytes is too large for an item of a table."""
    return size > INLINE_BYTES


def object_reads(record: RunRecord) -> int:
    """Say how often large outputs were read: by Executors, and by the client, which reads roots.

    Of a run that its client came back to the graph is not known; all that was fetched counts.
    """
    steps, place, reads = record.steps, 0, 0
    sizes = dict(zip(steps["segment"], steps["written"], strict=True))
    producers: dict[int, list[int]] = defaultdict(list)
    for producer, consumer in record.outline.edges():
        producers[consumer].append(producer)
    for segment, count in zip(steps["segment"], steps["inputs"], strict=True):
        ways = record.ways[place : place + int(count)]
        place += int(count)
        known = producers[int(segment)]
        if len(known) != len(ways):
            reads += sum(way == Way.STORE for way in ways)
            continue
        for producer, way in zip(known, ways, strict=True):
            reads += way == Way.STORE and is_object(sizes.get(producer, 0))
    roots = enumerate(record.outline.root)
    return reads + sum(is_object(sizes.get(number, 0)) for number, is_root in roots if is_root)


def invoked(batches: Iterable[int]) -> tuple[float, int]:
    """Say how long Invokers work, and how many, if so many Executors at a time are started."""
    large = [batch for batch in batches if batch > StartCosts().threshold]
    return EACH_SECONDS * sum(large), len(large)
