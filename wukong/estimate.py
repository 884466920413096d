"""What a run is likely to take, before it begins: Executors, bytes, seconds and dollars.

    graph ─> segments ─> what each takes (wukong/experience.py) ─> work, critical path ─> Estimate

On p Executors a graph with work W and critical path C takes at least max(C, W/p), and at most
W/p + C (p - 1)/p if none is idle while something is ready (Graham, SIAM Journal on Applied
Mathematics, 1969). docs/cost.md says how far off it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from dask.base import compute as dask_compute

from wukong.cost import Cost, Tariff, dollars
from wukong.experience import NONE, Experience, Range
from wukong.graph.normalise import Normalised, normalise
from wukong.graph.segments import Segment, leaves
from wukong.graph.spec import Specs, encode
from wukong.keeping import outline_of
from wukong.progress import clock
from wukong.submission import segmented
from wukong.usage import Usage, invoked, is_object
from wukong.view import Rows, table

QUOTA = 1_000
"""Executors at once on Lambda, unless an account has another quota.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

WARM_SECONDS, COLD_SECONDS = 0.05, 3.0
"""What starting an Executor on Lambda takes if an environment is warm, and if none is."""

LAMBDA_START = Range(WARM_SECONDS, WARM_SECONDS, COLD_SECONDS)

SUBMIT_SECONDS = 0.0001
"""What the client takes for a task, from the graph to the first Executor (docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run is likely to take.

    Attributes
    ----------
    tasks, segments, leaves
        How many.
    executors
        How many are likely to be started.
    at_once
        How many of them can run at the same time.
    specification_bytes
        What is written before the run begins.
    result_bytes
        What is asked for, where the collection knows it.
    stored_bytes
        What tasks write to the store.
    seconds
        How long the run takes.
    dollars
        What it costs; on this machine, what it would cost on Lambda.
    cost
        What it is likely to cost, by function and use.
    known
        The share of tasks of kinds that earlier runs have had.
    runs
        How many earlier runs it was learnt from.
    """

    tasks: int
    segments: int
    leaves: int
    executors: int
    at_once: int
    specification_bytes: int
    result_bytes: int | None
    stored_bytes: Range
    seconds: Range
    dollars: Range
    cost: Cost
    known: float
    runs: int

    def rows(self) -> Rows:
        """Say all of it in names and values."""
        where = "costs" if self.cost.billed else "costs nothing here; on Lambda"
        result = "not known" if self.result_bytes is None else size(self.result_bytes)
        return [
            ("tasks", f"{self.tasks:,} in {self.segments:,} segments, {self.leaves:,} leaves"),
            ("Executors", f"about {self.executors:,}, {self.at_once:,} at once"),
            ("bytes", f"{size(self.specification_bytes)} of specifications; result {result}"),
            ("stored", self.stored_bytes.write(size)),
            ("takes", self.seconds.write(clock)),
            (where, self.dollars.write(dollars)),
            ("experience", self._experience()),
        ]

    def _experience(self) -> str:
        if not self.known:
            return "none: no earlier run had tasks of these kinds, so this is a guess"
        runs = "an earlier run" if self.runs == 1 else f"{self.runs} earlier runs"
        return f"{self.known:.0%} of the tasks are of kinds that {runs} had"

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return table("wukong.Estimate", self.rows())


def size(amount: float) -> str:
    """Write a number of bytes."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1024:
            return f"{amount:,.0f} {unit}" if unit == "bytes" else f"{amount:,.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} TB"


@dataclass(frozen=True, slots=True)
class Conditions:
    """Where a run would run.

    Attributes
    ----------
    tariff
        What things cost there.
    workers
        How many there are; None where there is no end to them.
    max_executors
        The most that are wanted at once; 0 for no limit.
    """

    tariff: Tariff
    workers: int | None = None
    max_executors: int = 0


def graph_of(collection: Any) -> Normalised:
    """Give the graph that Dask would have computed for a collection, or for several in a list."""
    caught: list[Normalised] = []

    def catch(graph: Any, keys: Any, **_: Any) -> Any:
        caught.append(normalise(graph, keys))
        return [None] * len(keys)

    several = collection if isinstance(collection, list | tuple) else [collection]
    dask_compute(*several, scheduler=catch)
    return caught[0]


def bytes_of(collection: Any) -> int | None:
    """Say how many bytes a collection has, if it knows; dataframes and bags do not."""
    several = collection if isinstance(collection, list | tuple) else [collection]
    sizes = [getattr(one, "nbytes", None) for one in several]
    known = [size for size in sizes if isinstance(size, int | float) and size == size // 1]
    return int(sum(known)) if len(known) == len(sizes) else None


def estimate(
    graph: Normalised,
    conditions: Conditions,
    experience: Experience,
    result_bytes: int | None = None,
) -> Estimate:
    """Estimate what a graph takes.

    Raises
    ------
    SpecError
        If a task cannot be pickled.
    """
    segments = segmented(graph, conditions.workers)
    plan = _plan(segments, experience)
    start = LAMBDA_START if _is_lambda(conditions) else NONE
    at_once = _at_once(plan.executors, conditions)
    seconds = _seconds(plan, at_once, start, SUBMIT_SECONDS * len(graph.tasks))
    encoded = encode(Specs(segments, graph.tasks), graph.tasks.values())
    written = sum(map(len, encoded)) + sum(map(len, encoded.shared))
    busy = plan.work + start * plan.executors
    bills = [
        conditions.tariff.cost(_usage(plan, conditions, *each, written, experience.reads))
        for each in zip(busy, plan.outputs, seconds, strict=True)
    ]
    amounts = [bill.dollars for bill in bills]
    return Estimate(
        tasks=len(graph.tasks),
        segments=len(segments),
        leaves=plan.batches[0],
        executors=plan.executors,
        at_once=at_once,
        specification_bytes=written,
        result_bytes=result_bytes,
        stored_bytes=plan.stored,
        seconds=seconds,
        # Small outputs can cost more than objects.
        dollars=Range(min(amounts), bills[1].dollars, max(amounts)),
        cost=bills[1],
        known=plan.known,
        runs=experience.runs,
    )


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What segments write: all bytes, those of small outputs, and how many are larger."""

    stored: float = 0.0
    inline: float = 0.0
    objects: float = 0.0

    @classmethod
    def of(cls, sizes: Iterable[tuple[float, int]]) -> Self:
        """Add up outputs: bytes of one, and how many there are of them."""
        pairs = list(sizes)
        return cls(
            stored=sum(size * count for size, count in pairs),
            inline=sum(size * count for size, count in pairs if not is_object(size)),
            objects=sum(count for size, count in pairs if is_object(size)),
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a graph asks for, wherever it runs.

    Attributes
    ----------
    segments
        How many.
    batches
        How many Executors are started at a time, the leaves first.
    work
        Seconds of all segments.
    path
        Seconds of the critical path.
    outputs
        At the low end of their range, as is likely, and at the high end.
    known
        The share of tasks that are of kinds that have been seen.
    """

    segments: int
    batches: Sequence[int]
    work: Range
    path: float
    outputs: Sequence[_Outputs]
    known: float

    @property
    def stored(self) -> Range:
        return Range(*(each.stored for each in self.outputs))

    @property
    def executors(self) -> int:
        return sum(self.batches)


def _plan(segments: Sequence[Segment], experience: Experience) -> _Plan:
    outline = outline_of(segments)
    kinds = [outline.kinds[int(kind)] for kind in outline.kind]
    counts = Counter(kinds).items()
    inside = sum((experience.seconds(kind) * count for kind, count in counts), NONE)
    known = sum(experience.known(kind) * count for kind, count in counts)
    return _Plan(
        segments=len(segments),
        batches=_batches(segments),
        work=inside + experience.rest * len(segments),
        path=_critical_path(segments, kinds, experience),
        outputs=_outputs(counts, experience),
        known=known / max(1, sum(outline.tasks)),
    )


def _outputs(counts: Iterable[tuple[str, int]], experience: Experience) -> list[_Outputs]:
    each = [(tuple(experience.written(kind)), count) for kind, count in counts]
    return [_Outputs.of((sizes[end], count) for sizes, count in each) for end in range(3)]


def _usage(
    plan: _Plan,
    conditions: Conditions,
    busy: float,
    outputs: _Outputs,
    seconds: float,
    specifications: int,
    reads: float,
) -> Usage:
    calls = invoked(plan.batches) if _is_lambda(conditions) else (0.0, 0)
    return Usage(
        executor_seconds=busy,
        executor_requests=plan.executors,
        invoker_seconds=calls[0],
        invoker_requests=calls[1],
        segments=plan.segments,
        stored_bytes=specifications + outputs.stored,
        read_bytes=specifications + outputs.stored * reads,
        inline_bytes=outputs.inline,
        objects=outputs.objects,
        object_reads=outputs.objects * reads,
        seconds=seconds,
    )


def _is_lambda(conditions: Conditions) -> bool:
    return conditions.workers is None


def _critical_path(
    segments: Sequence[Segment], kinds: Sequence[str], experience: Experience
) -> float:
    """Give the seconds of the longest chain."""
    each = {kind: experience.seconds(kind).likely + experience.rest.likely for kind in set(kinds)}
    begins = [0.0] * len(segments)
    missing = [len(segment.inputs) for segment in segments]
    ready = leaves(segments)
    longest = 0.0
    while ready:
        segment = segments[ready.pop()]
        ends = begins[segment.number] + each[kinds[segment.number]]
        longest = max(longest, ends)
        for child in segment.children:
            begins[child] = max(begins[child], ends)
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    return longest


def _batches(segments: Sequence[Segment]) -> list[int]:
    """Say how many Executors are started at a time: the leaves, and at fan-outs all but one.

    Which input of a fan-in arrives last is not known before; the last by number is taken for it.
    """
    ready = Counter(segment.inputs[-1] for segment in segments if segment.inputs)
    return [len(leaves(segments)), *(children - 1 for children in ready.values())]


def _at_once(executors: int, conditions: Conditions) -> int:
    limits = (executors, conditions.workers or QUOTA, conditions.max_executors)
    return max(1, min(filter(None, limits), default=1))


def _seconds(plan: _Plan, at_once: int, start: Range, submitting: float) -> Range:
    """Bound the duration: by Graham's bounds, with the range of the work."""
    path = plan.path / max(plan.work.likely, 1e-12)
    least = max(path, 1 / at_once)
    most = 1 / at_once + path * (at_once - 1) / at_once
    work = Range(plan.work.low * least, plan.work.likely * least, plan.work.high * most)
    return start + work + Range(submitting, submitting, submitting)
