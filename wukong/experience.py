"""What earlier runs teach about later ones: how long tasks of a kind take, and what they give.

    records of runs (wukong/history.py) ──learn──> Experience ──> Range, for a segment of tasks

Tasks are of one kind if their keys begin alike (`dask.utils.key_split`). Records time segments, so
what a kind of task takes is found from segments that are made up in different ways: by iterative
proportional fitting (Deming and Stephan, Annals of Mathematical Statistics, 1940), in which each
round scales a kind by how far the segments that it is in were off. A segment that is made up like
one seen before needs none of this.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import Self

from wukong import history
from wukong.record import RecordError, RunRecord, Summary
from wukong.usage import read_bytes

MOST_RUNS = 20
"""So many of the newest runs of a platform are learnt from."""

PRIOR_SECONDS = 0.02
"""What a task of an unknown kind is taken to take: between a Python call and a large chunk."""

PRIOR_BYTES = 100_000.0
"""What its output is taken to have, in bytes."""

PRIOR_FACTOR = 10.0
"""A task of an unknown kind may take so many times less, or more."""

ONCE_FACTOR = 2.0
"""The same for a kind that one run has had: it may have been the one that imported everything."""

LEAST_FACTOR = 1.2
"""The same for any kind, however alike runs were: machines have neighbours."""

SEGMENT_SECONDS = 0.001
"""What a segment takes besides, until a run has shown it: its round trips to the store."""

ROUNDS = 30


@dataclass(frozen=True, slots=True)
class Range:
    """What something is likely to be, and between what it will be."""

    low: float
    likely: float
    high: float

    @classmethod
    def around(cls, likely: float, factor: float) -> Self:
        """Give what may be so many times less, or more."""
        return cls(likely / factor, likely, likely * factor)

    def __iter__(self) -> Iterator[float]:
        return iter((self.low, self.likely, self.high))

    def __mul__(self, times: float) -> Range:
        return Range(*(each * times for each in self))

    def __add__(self, other: Range) -> Range:
        """Add, as if both were off in the same direction."""
        return Range(*map(sum, zip(self, other, strict=True)))

    def write(self, unit: Callable[[float], str]) -> str:
        """Write it in some unit."""
        return f"{unit(self.likely)} (from {unit(self.low)} to {unit(self.high)})"


NONE = Range(0.0, 0.0, 0.0)
UNKNOWN_TASK = Range.around(PRIOR_SECONDS, PRIOR_FACTOR)
UNKNOWN_REST = Range.around(SEGMENT_SECONDS, PRIOR_FACTOR)
UNKNOWN_OUTPUT = Range.around(PRIOR_BYTES, PRIOR_FACTOR)


@dataclass(slots=True)
class _Seen:
    """What one run has shown of segments that are made up alike."""

    count: int = 0
    seconds: float = 0.0
    written: float = 0.0


@dataclass(frozen=True, slots=True)
class Experience:
    """What earlier runs have shown.

    Attributes
    ----------
    runs
        How many there were.
    segments
        Seconds of segments, by what they are made up of.
    tasks
        Seconds of tasks, by kind.
    outputs
        Bytes of outputs of segments, by what they are made up of.
    rest
        Seconds of an Executor for each segment, besides reading, computing and packing.
    reads
        Bytes that are read from the store for each that is written.
    """

    runs: int = 0
    segments: Mapping[str, Range] = field(default_factory=dict)
    tasks: Mapping[str, Range] = field(default_factory=dict)
    outputs: Mapping[str, Range] = field(default_factory=dict)
    rest: Range = UNKNOWN_REST
    reads: float = 1.0

    def seconds(self, kind: str) -> Range:
        """Say how long a segment that is made up so is likely to take."""
        if kind in self.segments:
            return self.segments[kind]
        parts = parts_of(kind).items()
        return sum((self.tasks.get(name, UNKNOWN_TASK) * count for name, count in parts), NONE)

    def written(self, kind: str) -> Range:
        """Say how many bytes the output of such a segment is likely to have."""
        return self.outputs.get(kind, UNKNOWN_OUTPUT)

    def known(self, kind: str) -> int:
        """Say how many tasks of such a segment are of kinds that have been seen."""
        return sum(count for name, count in parts_of(kind).items() if name in self.tasks)


def recall(platform: str, most: int = MOST_RUNS) -> Experience:
    """Learn from the newest runs of a platform that the history keeps."""
    found: list[RunRecord] = []
    for summary in history.summaries():
        if len(found) == most:
            break
        if _teaches(summary, platform):
            # Another process may have deleted it since.
            with suppress(RecordError, history.HistoryError):
                found.append(history.load(summary.run))
    return learn(found)


def _teaches(summary: Summary, platform: str) -> bool:
    return summary.platform == platform and summary.outcome == "done" and summary.segments > 0


def learn(records: Sequence[RunRecord]) -> Experience:
    """Learn from records."""
    each = [_seen(record) for record in records]
    means = _by_kind(each, lambda seen: seen.seconds / seen.count)
    segments = {kind: _guess(values) for kind, values in means.items()}
    sizes = _by_kind(each, lambda seen: seen.written / seen.count)
    rests = [_rest(record) for record in records if len(record.steps["segment"])]
    return Experience(
        runs=len(records),
        segments=segments,
        tasks=_tasks(segments, each),
        outputs={kind: _guess(values) for kind, values in sizes.items()},
        rest=_guess(rests) if rests else UNKNOWN_REST,
        reads=_reads(records),
    )


def parts_of(kind: str) -> dict[str, int]:
    """Read what `wukong.record.Outline` calls a kind: `sum 15, random` is 15 sums and a random."""
    parts: dict[str, int] = {}
    for part in kind.split(", "):
        name, _, count = part.rpartition(" ")
        is_counted = bool(name) and count.isdecimal()
        parts[name if is_counted else part] = int(count) if is_counted else 1
    return parts


def _seen(record: RunRecord) -> dict[str, _Seen]:
    """Add up segments by what they are made up of.

    The first one of each in a process may have imported what it uses, so it counts only where there
    is no other.
    """
    steps, outline = record.steps, record.outline
    names = ("executor", "segment", "fetch", "compute", "pack", "written")
    first: dict[str, _Seen] = defaultdict(_Seen)
    later: dict[str, _Seen] = defaultdict(_Seen)
    known: set[tuple[str, str]] = set()
    for executor, segment, fetch, compute, pack, written in zip(
        *(steps[name] for name in names), strict=True
    ):
        kind = outline.kinds[int(outline.kind[int(segment)])]
        process = record.executors[int(executor)].place.process
        seen = later[kind] if (process, kind) in known else first[kind]
        known.add((process, kind))
        seen.count += 1
        seen.seconds += fetch + compute + pack
        seen.written += written
    return {**first, **later}


def _rest(record: RunRecord) -> float:
    """Give what Executors did besides, for each segment."""
    steps = record.steps
    busy = sum(map(sum, (steps["fetch"], steps["compute"], steps["pack"])))
    total = sum(one.ended for one in record.executors)
    return max(0.0, total - busy) / len(steps["segment"])


def _by_kind(
    each: Iterable[Mapping[str, _Seen]], value: Callable[[_Seen], float]
) -> dict[str, list[float]]:
    values: dict[str, list[float]] = defaultdict(list)
    for kinds in each:
        for kind, seen in kinds.items():
            values[kind].append(value(seen))
    return values


def _reads(records: Sequence[RunRecord]) -> float:
    written = sum(record.written for record in records)
    return sum(map(read_bytes, records)) / written if written else 1.0


def _guess(values: Sequence[float]) -> Range:
    """Guess from what some runs had: the mean of logarithms, and twice their spread around it."""
    logarithms = [math.log(max(value, 1e-9)) for value in values]
    if len(values) == 1:
        return Range.around(values[0], ONCE_FACTOR)
    factor = max(LEAST_FACTOR, min(PRIOR_FACTOR, math.exp(2 * pstdev(logarithms))))
    return Range.around(math.exp(fmean(logarithms)), factor)


def _tasks(segments: Mapping[str, Range], each: Sequence[Mapping[str, _Seen]]) -> dict[str, Range]:
    """Share the seconds of segments among the kinds of their tasks."""
    weights: Counter[str] = Counter()
    for kinds in each:
        weights.update({kind: seen.count for kind, seen in kinds.items()})
    parts = {kind: parts_of(kind) for kind in segments}
    likely = dict.fromkeys((name for counts in parts.values() for name in counts), 1.0)
    for _ in range(ROUNDS):
        above: dict[str, float] = defaultdict(float)
        below: dict[str, float] = defaultdict(float)
        for kind, counts in parts.items():
            now = sum(likely[name] * count for name, count in counts.items())
            for name, count in counts.items():
                above[name] += weights[kind] * count * segments[kind].likely / max(now, 1e-12)
                below[name] += weights[kind] * count
        likely = {name: likely[name] * above[name] / below[name] for name in likely}
    factors: dict[str, float] = defaultdict(lambda: LEAST_FACTOR)
    for kind, counts in parts.items():
        factor = segments[kind].high / max(segments[kind].likely, 1e-12)
        for name in counts:
            factors[name] = max(factors[name], factor)
    return {name: Range.around(value, factors[name]) for name, value in likely.items()}
