"""From a graph to the first invocation: the Static Scheduler's last steps.

    tasks ─> Dask's order ─> segments ─> specifications ─> written in one go ─> leaves are started

What the client needs to follow the run is written with it (`Manifest`), so that another client can
come back to it.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from dask.order import order

from wukong.config import RunOptions
from wukong.errors import WukongError
from wukong.graph.normalise import Key, Normalised
from wukong.graph.segments import Segment, collapse, leaves
from wukong.graph.spec import SpecError, Specs, encode
from wukong.messages import ExecutorEvent, Reason, Start, Targets
from wukong.platform.interface import Platform, PlatformError
from wukong.storage import NewRun, RunState, Storage
from wukong.storage.serialisation import dumps, loads


class RunError(WukongError):
    """A run that cannot be begun or finished, for a reason outside the user's tasks."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a client needs to follow a run, and to give what was asked for.

    Attributes
    ----------
    roots
        The segments whose outputs were asked for, and their keys.
    local
        Tasks that the client computes itself from the roots.
    keys
        What was asked for, in its nesting; None for a run of calls, whose roots are their values.
    targets
        The functions that the run uses.
    options
        Its limits.
    """

    roots: Mapping[int, Key]
    local: Mapping[Key, Any]
    keys: Any
    targets: Targets
    options: RunOptions

    def to_bytes(self) -> bytes:
        """Serialise."""
        return dumps((self.roots, self.local, self.keys, self.targets, self.options.model_dump()))

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read what `to_bytes` wrote."""
        roots, local, keys, targets, options = loads(data)
        return cls(roots, local, keys, targets, RunOptions.model_validate(options))


@dataclass(frozen=True, slots=True)
class Submitted:
    """A run that has begun.

    Attributes
    ----------
    names
        The first keys of segments, for messages, as far as they are known here.
    refused
        What could not be started yet.
    executors
        How many Executors it begins with.
    segments
        The graph, as far as it is known here.
    started, submitted
        Wall clock, before the run was written and after its leaves were started.
    """

    run: str
    manifest: Manifest
    names: Mapping[int, tuple[Hashable, ...]] = field(default_factory=dict)
    refused: tuple[ExecutorEvent, ...] = ()
    executors: int = 0
    segments: Sequence[Segment] = ()
    started: float = field(default_factory=time.time)
    submitted: float = field(default_factory=time.time)


def submit(
    run: str,
    graph: Normalised,
    keys: Any,
    storage: Storage,
    platform: Platform,
    options: RunOptions,
) -> Submitted:
    """Write a run to storage and start an Executor for each leaf, or group of leaves.

    Raises
    ------
    RunError
        If a task cannot be pickled; nothing has been started then.
    PlatformError
        If no Executor at all could be started.
    """
    started = time.time()
    segments = segmented(graph, platform.parallelism)
    roots = {segment.number: segment.keys[-1] for segment in segments if segment.root}
    manifest = Manifest(roots, graph.local, keys, platform.targets(), options)
    try:
        _create(storage, _new_run(run, graph, segments, manifest, platform))
        events = _leaf_events(run, segments, manifest, platform)
        refused = _start(events, platform)
    except BaseException:
        # Ctrl-C included: nobody would follow what has begun.
        storage.stop(run, RunState.CANCELLED)
        storage.drop(run)
        raise
    names = {segment.number: segment.keys[:3] for segment in segments}
    return Submitted(run, manifest, names, refused, len(events), segments, started)


def _start(events: Sequence[ExecutorEvent], platform: Platform) -> tuple[ExecutorEvent, ...]:
    """Start Executors, and give those events that were refused; not all may be."""
    report = platform.start(events)
    if events and not report.accepted:
        raise PlatformError(
            f"no Executor could be started: {report.refused[0].reason}",
            "`wukong status` tells what is deployed.",
        )
    return tuple(events[refusal.position] for refusal in report.refused)


def event_of(
    run: str, manifest: Manifest, starts: Sequence[Start], reason: Reason = Reason.LEAF
) -> ExecutorEvent:
    """Give the event that has an Executor run these lineages."""
    options = manifest.options
    return ExecutorEvent(
        run,
        tuple(starts),
        manifest.targets,
        retries=options.retries,
        record=options.record,
        reason=reason,
    )


CLUSTERS = 32
"""So many segments each worker has at least, where the number of workers is known: with more, each
start costs; with fewer, one that takes longer than the others keeps the others waiting at the end.
"""


LAST = 4
"""The last ones are so many times smaller."""


def segmented(graph: Normalised, parallelism: int | None) -> list[Segment]:
    """Collapse a graph into segments, for so many workers if that is known."""
    tasks: dict[Any, Any] = dict(graph.tasks)
    dependencies = {key: task.dependencies for key, task in tasks.items()}
    places: Mapping[Any, int] = order(tasks)
    most = len(tasks) // (CLUSTERS * parallelism) if parallelism else 1
    return collapse(dependencies, graph.roots, places, most, max(1, most // LAST))


def _create(storage: Storage, new: NewRun) -> None:
    try:
        storage.create(new)
    except SpecError as error:
        raise RunError(
            f"task {error.task!r} cannot be pickled: {error.__cause__}",
            "Open files, connections and locks inside the task, not outside it.",
        ) from error


def _new_run(
    run: str,
    graph: Normalised,
    segments: Sequence[Segment],
    manifest: Manifest,
    platform: Platform,
) -> NewRun:
    encoded = encode(Specs(segments, graph.tasks), graph.tasks.values())
    options = manifest.options
    return NewRun(
        run=run,
        specs=encoded,
        inputs=[segment.inputs for segment in segments],
        references=[segment.references for segment in segments],
        leaves=leaves(segments),
        lease_seconds=options.lease_seconds,
        handoff_seconds=platform.handoff_seconds,
        max_live=options.max_executors,
        keep_seconds=options.keep_seconds,
        manifest=manifest.to_bytes(),
        shared=encoded.shared,
    )


def _leaf_events(
    run: str, segments: Sequence[Segment], manifest: Manifest, platform: Platform
) -> list[ExecutorEvent]:
    starts = [Start(number) for number in leaves(segments)]
    most = manifest.options.max_executors
    groups = _grouped(starts, most) if most else platform.grouped(starts)
    return [event_of(run, manifest, group) for group in groups]


def _grouped(starts: Sequence[Start], groups: int) -> list[list[Start]]:
    """Split into contiguous groups of nearly the same size: neighbours share their children."""
    groups = min(groups, len(starts))
    bounds = [len(starts) * i // groups for i in range(groups + 1)] if groups else [0]
    return [list(starts[first:last]) for first, last in pairwise(bounds)]
