"""One run from the client's side: write it, start it, follow it, gather its results, or cancel it.

The client is no scheduler: once the leaves are started, Executors carry the run to its end. What is
left to do here is to wait for the roots, to have lineages whose lease has expired started again,
and to raise the first error.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from dask.order import order

from wukong.config import RunOptions
from wukong.errors import WukongError
from wukong.graph.normalise import Key, Normalised
from wukong.graph.segments import Segment, collapse, leaves
from wukong.graph.spec import SpecError, make_specs
from wukong.messages import ExecutorEvent, Start, Targets
from wukong.platform.interface import Platform, PlatformError
from wukong.storage import NewRun, RunState, RunStatus, Storage, StorageError
from wukong.storage.serialisation import Failure, loads

LISTEN_SECONDS = 1.0
"""How long the client blocks on the store before it looks after the run again."""

CARE_SECONDS = 2.0
"""How often it looks for Executors that have gone."""

FIRST_SECONDS = 180.0
"""If no Executor has begun after this long, none will: a cold start takes seconds."""

STALL_SECONDS = 1200.0
"""If nothing has begun or finished for this long, and Executors are missing, nothing will: no
invocation lasts longer than 900 s.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""


SHOWN = 5
"""How many keys an error names."""


class RunError(WukongError):
    """A run that cannot be finished, for a reason outside the user's tasks."""


class TaskError(RunError):
    """A task raised an exception that cannot be brought back; its text is in the message."""


class RunCancelledError(RunError):
    """The run was cancelled, or its deadline has passed."""


class RemoteTraceback(Exception):  # noqa: N818 - it is a text to chain to an error, no error itself
    """The traceback of an Executor, shown as the cause of the error that it raised."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


class Run:
    """A computation on its way.

    Parameters
    ----------
    graph
        What Dask asked for, normalised.
    storage, platform
        Where state and outputs are, and where Executors run.
    options
        Limits of this run.
    """

    def __init__(
        self, graph: Normalised, storage: Storage, platform: Platform, options: RunOptions
    ) -> None:
        self.id = uuid.uuid4().hex
        self._storage = storage
        self._platform = platform
        self._options = options
        self._tasks = graph.tasks
        self._segments = _segments(graph)
        self._waiting = {segment.number for segment in self._segments if segment.root}
        self._targets: Targets | None = None
        self._bookmark = ""
        self._refused: list[ExecutorEvent] = []
        self._lost: dict[int, set[int]] = {}
        self._progress = (0, 0)
        self._progress_at = 0.0

    @property
    def segments(self) -> Sequence[Segment]:
        """The segments of the graph."""
        return self._segments

    def submit(self) -> None:
        """Write the run to storage and start an Executor for each leaf, or group of leaves.

        Raises
        ------
        RunError
            If a task cannot be pickled; nothing has been started then.
        PlatformError
            If no Executor at all could be started.
        """
        self._targets = self._platform.targets()
        self._storage.create(self._new_run())
        events = self._leaf_events()
        report = self._platform.start(events)
        if events and not report.accepted:
            self._end(RunState.CANCELLED)
            raise PlatformError(
                f"no Executor could be started: {report.refused[0].reason}",
                "`wukong status` tells what is deployed.",
            )
        self._refused = [events[refusal.position] for refusal in report.refused]

    def wait(self, on_done: Callable[[Sequence[Key]], None] | None = None) -> None:
        """Wait until all roots are done.

        Parameters
        ----------
        on_done
            Told the keys of roots as they are done, each once.

        Raises
        ------
        Exception
            What the first failing task raised, with its key and remote traceback.
        RunError
            If the run was cancelled, ran out of time or attempts, or was lost from the store.
        """
        started = cared = self._progress_at = time.monotonic()
        try:
            while self._waiting:
                news = self._storage.news(self.id, self._bookmark, LISTEN_SECONDS)
                self._bookmark = news.bookmark
                new = self._waiting.intersection(news.roots)
                self._waiting -= new
                if new and on_done is not None:
                    on_done([self._segments[number].keys[-1] for number in sorted(new)])
                if news.ended is not None and self._waiting:
                    self._raise_end(news.ended)
                now = time.monotonic()
                self._keep_deadline(now - started)
                if now - cared > CARE_SECONDS:
                    self._care()
                    cared = now
        except BaseException:
            # Whatever ends the waiting, Ctrl-C included, ends the Executors too.
            with suppress(StorageError):
                self._end(RunState.CANCELLED)
            raise

    def gather(self) -> dict[Key, Any]:
        """Read the roots' values, by key, and delete everything of the run."""
        values = self.values([segment.keys[-1] for segment in self._segments if segment.root])
        self.end()
        return values

    def values(self, keys: Collection[Key]) -> dict[Key, Any]:
        """Read the values of roots that are done.

        Raises
        ------
        RunError
            If the store has lost one.
        """
        wanted = set(keys)
        roots = [one for one in self._segments if one.root and one.keys[-1] in wanted]
        refs = self._storage.versions(self.id, [segment.number for segment in roots])
        data = self._storage.read(self.id, [ref for ref in refs if ref is not None])
        if len(data) != len(roots) or any(one is None for one in data):
            raise RunError(
                f"run {self.id}: results are no longer in the store",
                "The store must not evict (maxmemory-policy noeviction) and needs room for them.",
            )
        return {
            segment.keys[-1]: loads(one)
            for segment, one in zip(roots, data, strict=True)
            if one is not None
        }

    def end(self) -> None:
        """Delete everything of a run whose values have been read."""
        self._end(RunState.DONE)

    def cancel(self) -> None:
        """Stop the run: one write, which every Executor meets with its next step."""
        self._storage.stop(self.id, RunState.CANCELLED)

    def _new_run(self) -> NewRun:
        try:
            specs = [spec.to_bytes() for spec in make_specs(self._segments, self._tasks)]
        except SpecError as error:
            raise RunError(
                f"task {error.task!r} cannot be pickled: {error.__cause__}",
                "Open files, connections and locks inside the task, not outside it.",
            ) from error
        return NewRun(
            run=self.id,
            specs=specs,
            inputs=[segment.inputs for segment in self._segments],
            references=[segment.references for segment in self._segments],
            leaves=leaves(self._segments),
            lease_seconds=self._options.lease_seconds,
            handoff_seconds=self._platform.handoff_seconds,
            max_live=self._options.max_executors,
            keep_seconds=self._options.keep_seconds,
        )

    def _leaf_events(self) -> list[ExecutorEvent]:
        starts = [Start(number) for number in leaves(self._segments)]
        most = self._options.max_executors
        groups = _grouped(starts, most) if most else self._platform.grouped(starts)
        return [self._event(group) for group in groups]

    def _event(self, starts: Sequence[Start]) -> ExecutorEvent:
        if self._targets is None:
            raise RunError(f"run {self.id} was not submitted", "Call submit first.")
        return ExecutorEvent(self.id, tuple(starts), self._targets, retries=self._options.retries)

    def _keep_deadline(self, seconds: float) -> None:
        deadline = self._options.deadline
        if deadline is not None and seconds > deadline:
            raise RunCancelledError(
                f"run {self.id}: not done within its deadline of {deadline:g} s",
                "Give it more time with deadline=..., or more Executors.",
            )

    def _care(self) -> None:
        """Have started again what was refused, and lineages whose lease has expired."""
        self._platform.check()
        status = self._storage.status(self.id)
        if status.state is None:
            raise RunError(
                f"run {self.id} has vanished from the store",
                "The store was restarted or flushed, or it evicts keys; it must keep them "
                "(maxmemory-policy noeviction).",
            )
        expired = self._storage.reap(self.id)
        self._check_progress(status, missing=bool(expired))
        for start in expired:
            # An Executor whose time was up also begins an epoch; only those that expired count.
            lost = self._lost.setdefault(start.segment, set())
            lost |= {start.epoch} if start.epoch > 1 else set()
            if len(lost) >= self._options.max_attempts:
                keys = ", ".join(map(str, self._segments[start.segment].keys[:3]))
                raise RunError(
                    f"run {self.id}: the Executor that begins with {keys} was lost "
                    f"{len(lost)} times",
                    "It runs out of memory or time, or ends the process: give it more memory or "
                    "smaller chunks; the function's log group tells which.",
                )
        again = self._refused + [self._event([start]) for start in expired]
        if again:
            report = self._platform.start(again)
            self._refused = [again[refusal.position] for refusal in report.refused]

    def _check_progress(self, status: RunStatus, *, missing: bool) -> None:
        """Raise if Executors are missing and nothing has happened for too long."""
        now = time.monotonic()
        if (status.begun, status.done) != self._progress:
            self._progress, self._progress_at = (status.begun, status.done), now
        allowed = STALL_SECONDS if status.begun else FIRST_SECONDS
        if missing and now - self._progress_at > allowed:
            what = "finished or begun" if status.begun else "begun"
            raise RunError(
                f"run {self.id}: no Executor has {what} for {allowed:g} s",
                "The function's log group tells why: often it cannot reach the store "
                "(WUKONG_STORE_URL, subnets, security groups) or a layer is missing; or the "
                "account's concurrency is used up.",
            )

    def _raise_end(self, state: RunState) -> None:
        failure = self._storage.failure(self.id)
        if state is RunState.FAILED and failure is not None:
            raise_failure(self.id, Failure.from_bytes(failure))
        raise RunCancelledError(f"run {self.id} was cancelled", "Compute it again to get a result.")

    def _end(self, state: RunState) -> None:
        self._storage.stop(self.id, state)
        self._storage.drop(self.id)


def raise_failure(run: str, failure: Failure) -> None:
    """Raise what a task raised, as it would have been raised here, with what happened there."""
    error: BaseException | None = None
    if failure.exception is not None:
        # The exception's class may be known to the Executor only; its text has come in any case.
        with suppress(Exception):
            error = loads(failure.exception)
    if not isinstance(error, Exception):
        error = TaskError(
            f"task {failure.task!r} failed: {failure.message}",
            f"Remote traceback:\n{failure.traceback}" if failure.traceback else "",
        )
    error.add_note(f"Wukong: task {failure.task!r} of run {run} failed in an Executor")
    if failure.inputs:
        error.add_note(f"It was given the values of {_listed(failure.inputs)}")
    if failure.traceback:
        raise error from RemoteTraceback(failure.traceback)
    raise error


def _listed(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more


def _segments(graph: Normalised) -> list[Segment]:
    tasks: dict[Any, Any] = dict(graph.tasks)
    dependencies = {key: task.dependencies for key, task in tasks.items()}
    places: Mapping[Any, int] = order(tasks)
    return collapse(dependencies, graph.roots, places)


def _grouped(starts: Sequence[Start], groups: int) -> list[list[Start]]:
    """Split into contiguous groups of nearly the same size: neighbours share their children."""
    groups = min(groups, len(starts))
    bounds = [len(starts) * i // groups for i in range(groups + 1)] if groups else [0]
    return [list(starts[first:last]) for first, last in pairwise(bounds)]
