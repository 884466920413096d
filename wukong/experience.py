"""What earlier runs teach about later ones: how long tasks of a kind take, and what they give.

    records of runs (wukong/history.py) ──learn──> Experience ──> Guess, for a segment of tasks

Tasks are of one kind if their keys begin alike (`dask.utils.key_split`). Records time segments, so
what a kind of task takes is found from segments that are made up in different ways: by iterative
proportional fitting (Deming and Stephan, Annals of Mathematical Statistics, 1940), in which each
round scales a kind by how far the segments that it is in were off. A segment that is made up like
one seen before needs none of this.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import fmean, pstdev

from wukong import history
from wukong.record import RecordError, RunRecord, Summary

MOST_RUNS = 20
"""So many of the newest runs of a platform are learnt from."""

PRIOR_SECONDS = 0.02
"""What a task of an unknown kind is taken to take: between a Python call and a large chunk."""

PRIOR_BYTES = 100_000.0
"""What its output is taken to have, in bytes."""

PRIOR_FACTOR = 10.0
"""A task of an unknown kind may take so many times less, or more."""

ONCE_FACTOR = 1.5
"""The same for a kind that one run has had: nothing is known of how runs differ."""

LEAST_FACTOR = 1.2
"""The same for any kind, however alike runs were: machines have neighbours."""

SEGMENT_SECONDS = 0.001
"""What a segment takes besides, until a run has shown it: its round trips to the store."""

ROUNDS = 30


@dataclass(frozen=True, slots=True)
class Guess:
    """What something is likely to take, and how many times less or more it may be."""

    likely: float
    factor: float


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
    """

    runs: int = 0
    segments: Mapping[str, Guess] = field(default_factory=dict)
    tasks: Mapping[str, Guess] = field(default_factory=dict)
    outputs: Mapping[str, Guess] = field(default_factory=dict)
    rest: Guess = Guess(SEGMENT_SECONDS, PRIOR_FACTOR)

    def seconds(self, kind: str) -> Guess:
        """Say how long a segment that is made up so is likely to take."""
        if kind in self.segments:
            return self.segments[kind]
        parts = [(self.tasks.get(name), count) for name, count in parts_of(kind).items()]
        known = [(guess, count) for guess, count in parts if guess is not None]
        unknown = sum(count for guess, count in parts if guess is None)
        likely = sum(guess.likely * count for guess, count in known) + PRIOR_SECONDS * unknown
        if unknown:
            return Guess(likely, PRIOR_FACTOR)
        return Guess(likely, max(guess.factor for guess, _ in known) * ONCE_FACTOR)

    def written(self, kind: str) -> Guess:
        """Say how many bytes the output of such a segment is likely to have."""
        return self.outputs.get(kind, Guess(PRIOR_BYTES, PRIOR_FACTOR))

    def knows(self, kind: str) -> bool:
        """Tell whether all tasks of such a segment have been seen."""
        return kind in self.segments or parts_of(kind).keys() <= self.tasks.keys()


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
        rest=_guess(rests) if rests else Experience().rest,
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
    steps, outline = record.steps, record.outline
    kinds: dict[str, _Seen] = defaultdict(_Seen)
    for segment, fetch, compute, pack, written in zip(
        *(steps[name] for name in ("segment", "fetch", "compute", "pack", "written")), strict=True
    ):
        seen = kinds[outline.kinds[int(outline.kind[int(segment)])]]
        seen.count += 1
        seen.seconds += fetch + compute + pack
        seen.written += written
    return kinds


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


def _guess(values: Sequence[float]) -> Guess:
    """Guess from what some runs had: their mean, and twice their spread (of logarithms)."""
    if len(values) == 1:
        return Guess(values[0], ONCE_FACTOR)
    spread = pstdev([math.log(max(value, 1e-9)) for value in values])
    return Guess(fmean(values), max(LEAST_FACTOR, min(PRIOR_FACTOR, math.exp(2 * spread))))


def _tasks(segments: Mapping[str, Guess], each: Sequence[Mapping[str, _Seen]]) -> dict[str, Guess]:
    """Share the seconds of segments among the kinds of their tasks."""
    weights: dict[str, int] = defaultdict(int)
    for kinds in each:
        for kind, seen in kinds.items():
            weights[kind] += seen.count
    parts = {kind: parts_of(kind) for kind in segments}
    seconds = {name: 1.0 for counts in parts.values() for name in counts}
    for _ in range(ROUNDS):
        above: dict[str, float] = defaultdict(float)
        below: dict[str, float] = defaultdict(float)
        for kind, counts in parts.items():
            now = sum(seconds[name] * count for name, count in counts.items())
            scale = segments[kind].likely / max(now, 1e-12)
            for name, count in counts.items():
                above[name] += weights[kind] * count * scale
                below[name] += weights[kind] * count
        seconds = {name: seconds[name] * above[name] / below[name] for name in seconds}
    factors: dict[str, float] = defaultdict(float)
    for kind, counts in parts.items():
        for name in counts:
            factors[name] = max(factors[name], segments[kind].factor)
    return {name: Guess(value, factors[name]) for name, value in seconds.items()}
