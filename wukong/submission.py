"""From a graph to the first invocation: the Static Scheduler's last steps.

    tasks ─> Dask's order ─> segments ─> specifications ─> written in one go ─> leaves are started

What the client needs to follow the run is written with it (`Manifest`), so that another client can
come back to it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

from dask.order import order

from wukong import compatibility, modules
from wukong.config import RunOptions
from wukong.errors import WukongError
from wukong.graph.normalise import Key, Normalised
from wukong.graph.segments import Segment, collapse, leaves
from wukong.graph.spec import Encoded, SpecError, Specs, encode
from wukong.messages import Bundle, ExecutorEvent, Reason, Start, Targets
from wukong.platform import tracing
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
        What was asked for, in its nesting. Of calls: the key of one, or a list of keys, in the
        order of the calls.
    targets
        The functions that the run uses.
    options
        Its limits.
    bundle
        The modules that it takes with it.
    trace
        The run's span, for who comes back to it; as in an `ExecutorEvent`.
    calls
        Whether it is a run of calls: a value may be the `Failure` of its call alone.
    until
        When its deadline has passed, whoever follows it then: wall clock; None without a deadline.
    """

    roots: Mapping[int, Key]
    local: Mapping[Key, Any]
    keys: Any
    targets: Targets
    options: RunOptions
    bundle: Bundle | None = None
    trace: str = ""
    calls: bool = False
    until: float | None = None

    def to_bytes(self) -> bytes:
        """Serialise."""
        options = self.options.model_dump()
        asked = self.roots, self.local, self.keys
        more = self.bundle, self.trace, self.calls, self.until
        return dumps((*asked, self.targets, options, *more))

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read what `to_bytes` wrote."""
        roots, local, keys, targets, options, bundle, *rest = loads(data)
        # A client of an earlier release wrote less.
        return cls(roots, local, keys, targets, RunOptions.model_validate(options), bundle, *rest)


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
    *,
    calls: bool = False,
) -> Submitted:
    """Write a run to storage and start an Executor for each leaf, or group of leaves.

    Parameters
    ----------
    calls
        As in `Manifest`.

    Raises
    ------
    RunError
        If a task cannot be pickled; nothing has been started then.
    ModulesError, SurroundingsError
        If Executors lack what the tasks import, or run on versions that do not fit.
    PlatformError
        If no Executor at all could be started.
    """
    with _settled(len(graph.tasks)):
        return _submit(run, graph, keys, storage, platform, options, calls=calls)


MANY = 10_000
"""From so many tasks on, the garbage collector would take a quarter of the time."""


@contextmanager
def _settled(tasks: int) -> Iterator[None]:
    """Have the garbage collector leave alone what there is of a large graph.

    It would look at its millions of objects again and again while more are made of them.
    """
    if tasks < MANY or gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _submit(
    run: str,
    graph: Normalised,
    keys: Any,
    storage: Storage,
    platform: Platform,
    options: RunOptions,
    *,
    calls: bool,
) -> Submitted:
    started = time.time()
    targets = platform.targets()
    segments = segmented(graph, platform.parallelism)
    roots = {segment.number: segment.keys[-1] for segment in segments if segment.root}
    trace = tracing.current()
    trace.note({"wukong.tasks": len(graph.tasks), "wukong.segments": len(segments)})
    until = started + options.deadline if options.deadline is not None else None
    asked = roots, graph.local, keys, targets, options
    first = Manifest(*asked, trace=trace.parent, calls=calls, until=until)
    preparation = _Preparation(
        encode(Specs(segments, graph.tasks), graph.tasks.values()), platform, first
    )
    try:
        _create(storage, _new_run(run, segments, preparation, platform))
        manifest = preparation.manifest
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
    with tracing.current().invoking(events) as wanted:
        report = platform.start(wanted)
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
        trace=manifest.trace,
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


class _Preparation:
    """What a run's specifications tell when all of them have been made, and what follows from it.

    Where Executors run on something else than this process, one is asked meanwhile what that is
    (`probe`); then nothing is started that could not be imported there, and the user's own modules
    are put among what the tasks share.

    Attributes
    ----------
    encoded
        The specifications.
    manifest
        Of the run; complete after `shared`.
    """

    def __init__(self, encoded: Encoded, platform: Platform, manifest: Manifest) -> None:
        self.encoded = encoded
        self.manifest = manifest
        self._platform = platform
        self._probed = platform.probe(manifest.targets)

    def __iter__(self) -> Iterator[Packed]:
        """Give what the specifications share, after they have been taken.

        Raises
        ------
        ModulesError, SurroundingsError
            If Executors lack what the tasks import, or run on versions that do not fit.
        """
        shared = self.encoded.blobs()
        if self._probed is not None:
            needs = modules.needs_of(self.encoded.references)
            ask = partial(self._platform.ask, self.manifest.targets)
            compatibility.check(needs.packages, environment_here(), self._probed.result(), ask)
            self._platform.carried |= needs.own
            bundle = _bundled(self._platform.carried, shared)
            self.manifest = replace(self.manifest, bundle=bundle)
        return iter(shared)

    def described(self) -> bytes:
        """Give the manifest as it is written."""
        return self.manifest.to_bytes()


def _bundled(own: Collection[str], shared: list[Packed]) -> Bundle | None:
    """Put own modules among what the run's tasks share."""
    if not own:
        return None
    packed = modules.pack(own)
    # Blob 0 is that of small objects, whether there are any or not.
    shared += [b""] if not shared else []
    shared.append(packed.data)
    return Bundle(len(shared) - 1, packed.digest)


def _create(storage: Storage, new: NewRun) -> None:
    try:
        storage.create(new)
    except SpecError as error:
        raise RunError(
            f"task {error.task!r} cannot be pickled: {error.__cause__}",
            "Open files, connections and locks inside the task, not outside it.",
        ) from error


def _new_run(
    run: str, segments: Sequence[Segment], preparation: _Preparation, platform: Platform
) -> NewRun:
    options = preparation.manifest.options
    return NewRun(
        run=run,
        specs=preparation.encoded,
        inputs=[segment.inputs for segment in segments],
        references=[segment.references for segment in segments],
        leaves=leaves(segments),
        lease_seconds=options.lease_seconds,
        handoff_seconds=platform.handoff_seconds,
        max_live=options.max_executors,
        keep_seconds=options.keep_seconds,
        manifest=preparation.described,
        shared=preparation,
    )


def _leaf_events(
    run: str, segments: Sequence[Segment], manifest: Manifest, platform: Platform
) -> list[ExecutorEvent]:
    starts = [Start(number) for number in leaves(segments)]
    most = manifest.options.max_executors
    groups = _grouped(starts, most) if most else platform.grouped(starts)
    return platform.events_for(event_of(run, manifest, ()), groups)


def _grouped(starts: Sequence[Start], groups: int) -> list[list[Start]]:
    """Split into contiguous groups of nearly the same size: neighbours share their children."""
    groups = min(groups, len(starts))
    bounds = [len(starts) * i // groups for i in range(groups + 1)] if groups else [0]
    return [list(starts[first:last]) for first, last in pairwise(bounds)]
