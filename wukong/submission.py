"""From a graph to the first invocation: the Static Scheduler's last steps.

    tasks ─> Dask's order ─> segments ─> specifications ─> written in one go ─> leaves are started

What the client needs to follow the run is written with it (`Manifest`), so that another client can
come back to it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

from dask.order import order

from wukong import compatibility, modules
from wukong.config import RunOptions
from wukong.errors import WukongError
from wukong.graph.normalise import Key, Normalised
from wukong.graph.references import References
from wukong.graph.segments import Segment, collapse, leaves
from wukong.graph.shared import Sharing
from wukong.graph.spec import SpecError, encode, make_specs
from wukong.messages import Bundle, ExecutorEvent, Reason, Start, Targets
from wukong.platform.interface import Platform, PlatformError
from wukong.platform.probe import environment_here
from wukong.storage import NewRun, RunState, Storage
from wukong.storage.serialisation import Packed, dumps, loads


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
    bundle
        The modules that it takes with it.
    """

    roots: Mapping[int, Key]
    local: Mapping[Key, Any]
    keys: Any
    targets: Targets
    options: RunOptions
    bundle: Bundle | None = None

    def to_bytes(self) -> bytes:
        """Serialise."""
        options = self.options.model_dump()
        return dumps((self.roots, self.local, self.keys, self.targets, options, self.bundle))

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read what `to_bytes` wrote."""
        roots, local, keys, targets, options, bundle = loads(data)
        return cls(roots, local, keys, targets, RunOptions.model_validate(options), bundle)


@dataclass(frozen=True, slots=True)
class Submitted:
    """A run that has begun.

    Attributes
    ----------
    names
        The first keys of segments, for messages, as far as they are known here.
    refused
        What could not be started yet.
    segments
        The graph, as far as it is known here.
    started, submitted
        Wall clock, before the run was written and after its leaves were started.
    """

    run: str
    manifest: Manifest
    names: Mapping[int, tuple[Hashable, ...]] = field(default_factory=dict)
    refused: tuple[ExecutorEvent, ...] = ()
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
    ModulesError, SurroundingsError
        If Executors lack what the tasks import, or run on versions that do not fit.
    PlatformError
        If no Executor at all could be started.
    """
    started = time.time()
    targets = platform.targets()
    # Answered while the graph is prepared.
    probed = platform.probe(targets)
    segments = _segments(graph, platform.parallelism)
    roots = {segment.number: segment.keys[-1] for segment in segments if segment.root}
    specs, shared, references = _encoded(graph, segments)
    bundle = None
    if probed is not None:
        needs = modules.needs_of(references)
        ask = partial(platform.ask, targets)
        compatibility.check(needs.packages, environment_here(), probed.result(), ask)
        platform.carried |= needs.own
        bundle = _bundled(platform.carried, shared)
    manifest = Manifest(roots, graph.local, keys, targets, options, bundle)
    storage.create(_new_run(run, specs, shared, segments, manifest, platform))
    try:
        refused = _start(_leaf_events(run, segments, manifest, platform), platform)
    except BaseException:
        # Ctrl-C included: nobody would follow what has begun.
        storage.stop(run, RunState.CANCELLED)
        storage.drop(run)
        raise
    names = {segment.number: segment.keys[:3] for segment in segments}
    return Submitted(run, manifest, names, refused, segments, started)


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
        bundle=manifest.bundle,
    )


CLUSTERS = 32
"""So many segments each worker has at least, where the number of workers is known: with more, each
start costs; with fewer, one that takes longer than the others keeps the others waiting at the end.
"""


LAST = 4
"""The last ones are so many times smaller."""


def _segments(graph: Normalised, parallelism: int | None) -> list[Segment]:
    tasks: dict[Any, Any] = dict(graph.tasks)
    dependencies = {key: task.dependencies for key, task in tasks.items()}
    places: Mapping[Any, int] = order(tasks)
    most = len(tasks) // (CLUSTERS * parallelism) if parallelism else 1
    return collapse(dependencies, graph.roots, places, most, max(1, most // LAST))


def _encoded(
    graph: Normalised, segments: Sequence[Segment]
) -> tuple[list[bytes], list[Packed], References]:
    sharing = Sharing()
    try:
        specs, shared = encode(make_specs(segments, graph.tasks), sharing)
    except SpecError as error:
        raise RunError(
            f"task {error.task!r} cannot be pickled: {error.__cause__}",
            "Open files, connections and locks inside the task, not outside it.",
        ) from error
    return specs, shared, sharing.references


def _bundled(own: Collection[str], shared: list[Packed]) -> Bundle | None:
    """Put own modules among what the run's tasks share."""
    if not own:
        return None
    packed = modules.pack(own)
    # Blob 0 is that of small objects, whether there are any or not.
    shared += [b""] if not shared else []
    shared.append(packed.data)
    return Bundle(len(shared) - 1, packed.digest)


def _new_run(
    run: str,
    specs: Sequence[bytes],
    shared: Sequence[Packed],
    segments: Sequence[Segment],
    manifest: Manifest,
    platform: Platform,
) -> NewRun:
    options = manifest.options
    return NewRun(
        run=run,
        specs=specs,
        inputs=[segment.inputs for segment in segments],
        references=[segment.references for segment in segments],
        leaves=leaves(segments),
        lease_seconds=options.lease_seconds,
        handoff_seconds=platform.handoff_seconds,
        max_live=options.max_executors,
        keep_seconds=options.keep_seconds,
        manifest=manifest.to_bytes(),
        shared=shared,
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
