"""One run from the client's side, once it has begun: follow it, gather its results, or cancel it.

The client is no scheduler: once the leaves are started, Executors carry the run to its end. What is
left to do here is to wait for the roots, to have lineages whose lease has expired started again,
and to raise the first error.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from wukong.callbacks import Watch
from wukong.failing import RunCancelledError, line_of, outcome_of, raise_failure
from wukong.graph.normalise import Key, Normalised, assemble
from wukong.keeping import End, Keeper
from wukong.messages import ExecutorEvent
from wukong.platform import tracing
from wukong.platform.interface import Platform
from wukong.platform.tracing import NOTHING, Untraced
from wukong.storage import DataRef, RunState, RunStatus, Storage, StorageError
from wukong.storage.serialisation import Data, Failure, loads
from wukong.submission import Manifest, RunError, Submitted, event_of
from wukong.view import Rows, table

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


class Run:
    """A computation on its way.

    Parameters
    ----------
    submitted
        The run, as it was begun.
    storage, platform
        Where state and outputs are, and where Executors run.
    watch
        Who is told how it goes, and what it uses.
    keeper
        Keeps what is known of the run when it has ended.
    trace
        The span that ends with the run.
    """

    def __init__(
        self,
        submitted: Submitted,
        storage: Storage,
        platform: Platform,
        watch: Watch | None = None,
        keeper: Keeper | None = None,
        trace: Untraced = NOTHING,
    ) -> None:
        self._trace = trace
        self._submitted: Submitted | None = submitted
        self._keeper = keeper
        self.id = submitted.run
        self.watch = watch or Watch()
        self._manifest = submitted.manifest
        self._names = submitted.names
        self._refused: list[ExecutorEvent] = list(submitted.refused)
        self._storage = storage
        self._platform = platform
        self._numbers = {key: number for number, key in submitted.manifest.roots.items()}
        self._waiting = set(submitted.manifest.roots)
        self._bookmark = ""
        self._is_quiet = False
        self._refs: dict[int, DataRef] = {}
        self._lost: dict[int, set[int]] = {}
        self._causes: dict[int, str] = {}
        self._began: float | None = None
        self._cared = 0.0
        self._is_over = False
        self._progress = (0, 0)
        self._progress_at = 0.0
        until = submitted.manifest.until
        # From here on by a clock that nobody sets.
        self._ends = time.monotonic() + until - time.time() if until is not None else math.inf

    @classmethod
    def attach(
        cls,
        run: str,
        storage: Storage,
        platform: Platform,
        watch: Watch | None = None,
        keeper: Keeper | None = None,
    ) -> Run:
        """Come back to a run that this client, or another one, has begun.

        Raises
        ------
        RunError
            If the store has no such run.
        """
        written = storage.manifest(run)
        if written is None:
            raise RunError(
                f"the store has no run {run}",
                "It has ended and its values were read, or it has outlived `keep_seconds`.",
            )
        platform.targets()
        manifest = Manifest.from_bytes(written)
        trace = tracing.begin("wukong.attach", manifest.trace, {"wukong.run": run})
        return cls(Submitted(run, manifest), storage, platform, watch, keeper, trace)

    def rows(self) -> Rows:
        """Say in names and values where the run stands, and what it has cost."""
        watch = self.watch
        return [("run", self.id), ("state", watch.state), ("cost", watch.cost.headline)]

    def __repr__(self) -> str:
        return f"<wukong.Run {self.id} {self.watch.state}>"

    def _repr_html_(self) -> str:
        return table("wukong.Run", self.rows())

    def wait(self, on_done: Callable[[Sequence[Key]], None] | None = None) -> None:
        """Wait until all roots are done; parameters and errors as of `advance`."""
        while not self.advance(LISTEN_SECONDS, on_done):
            continue

    def advance(
        self, seconds: float, on_done: Callable[[Sequence[Key]], None] | None = None
    ) -> bool:
        """Wait so long for news of the run, look after it, and tell whether all roots are done.

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
        with self._trace.here(), self:
            if self._began is None:
                self._began = self._cared = self._progress_at = time.monotonic()
                self.watch.start(self)
            if self._waiting or self._are_forgotten():
                self._listen(seconds, on_done)
                return False
            self.watch.end(self, None)
            return True

    def _listen(self, seconds: float, on_done: Callable[[Sequence[Key]], None] | None) -> None:
        news = self._storage.news(self.id, self._bookmark, self.watch.listens(seconds))
        self._bookmark = news.bookmark
        self._is_quiet &= not news.roots
        new = self._waiting.intersection(news.roots)
        self._waiting -= new
        if new and on_done is not None:
            on_done([self._manifest.roots[number] for number in sorted(new)])
        if news.ended is not None and self._waiting:
            self._raise_end(news.ended)
        now = time.monotonic()
        self._keep_deadline(now)
        if self._bury() or now - self._cared > CARE_SECONDS:
            self._care()
            self._cared = now
        if self.watch.is_due:
            self._look(self._storage.status(self.id))

    def __enter__(self) -> Self:
        """Follow the run: whatever is raised in here, Ctrl-C included, ends the Executors too."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or self._is_over:
            return
        try:
            with suppress(StorageError):
                self._end(RunState.CANCELLED, error)
        finally:
            # Where the store cannot be reached, once is enough.
            self._is_over = True
        if self._began is not None:
            self.watch.end(self, error)

    def result(self) -> Any:
        """Read what was asked for, in its nesting, and delete everything of the run."""
        with self._trace.here(), self:
            values = self.values(self._manifest.roots.values())
            self.end()
        asked = self._manifest
        return assemble(Normalised({}, frozenset(values), asked.local), asked.keys, values)

    @property
    def is_of_calls(self) -> bool:
        """Tell whether each value is one of a call, or its `Failure`."""
        return self._manifest.calls

    @property
    def has_many(self) -> bool:
        """Tell whether `result` gives a sequence of what was asked for, and not one value."""
        return isinstance(self._manifest.keys, list)

    def values(self, keys: Collection[Key]) -> dict[Key, Any]:
        """Read the values of roots that are done.

        Raises
        ------
        RunError
            If the store has lost one.
        """
        return {key: loads(data) for key, data in self.data(keys).items()}

    def data(self, keys: Collection[Key]) -> dict[Key, Data]:
        """Read the values of roots that are done, as they are in the store.

        Raises
        ------
        RunError
            If the store has lost one.
        """
        refs = self.refs(keys)
        read = self._storage.read(self.id, list(refs.values()))
        found = {key: one for key, one in zip(refs, read, strict=True) if one is not None}
        if len(found) != len(refs):
            raise self._lost_results()
        return found

    def refs(self, keys: Collection[Key]) -> dict[Key, DataRef]:
        """Say where the values of roots that are done are in the store.

        Raises
        ------
        RunError
            If the store has lost one.
        """
        numbers = {key: self._numbers[key] for key in keys}
        if not all(number in self._refs for number in numbers.values()):
            self._learn_refs(list(numbers.values()))
        refs = {key: self._refs.get(number) for key, number in numbers.items()}
        found = {key: ref for key, ref in refs.items() if ref is not None}
        if len(found) != len(refs):
            raise self._lost_results()
        return found

    def _learn_refs(self, numbers: Sequence[int]) -> None:
        found = self._storage.versions(self.id, numbers)
        known = zip(numbers, found, strict=True)
        self._refs |= {number: ref for number, ref in known if ref is not None}

    def _are_forgotten(self) -> bool:
        """Wait again for roots that the store, restarted without its last writes, does not know."""
        self._refs.clear()
        self._learn_refs(list(self._manifest.roots))
        self._waiting = self._manifest.roots.keys() - self._refs.keys()
        return bool(self._waiting)

    def _lost_results(self) -> RunError:
        return RunError(
            f"run {self.id}: results are no longer in the store",
            "The store must not evict (maxmemory-policy noeviction) and needs room for them.",
        )

    def end(self) -> None:
        """Delete everything of a run whose values have been read."""
        self._end(RunState.DONE)

    def cancel(self) -> None:
        """Stop the run: one write, which every Executor meets with its next step."""
        if self._is_over:
            return
        self._storage.stop(self.id, RunState.CANCELLED)

    def keep(self) -> None:
        """End a run that is done, and leave its roots' values in the store."""
        with self._trace.here():
            self._storage.stop(self.id, RunState.DONE)
        self._is_over = True
        self._keep_record(None)
        self._trace.end()

    def _keep_deadline(self, now: float) -> None:
        if now > self._ends:
            deadline = self._manifest.options.deadline
            raise RunCancelledError(
                f"run {self.id}: not done within its deadline of {deadline:g} s",
                "Give it more time with deadline=..., or more Executors.",
            )

    def _bury(self) -> bool:
        """End the leases of Executors that the platform knows to have died; tells if any had."""
        deaths = self._platform.check(self.id)
        for death in deaths:
            segments = [start.segment for start in death.event.starts]
            self._storage.expire(self.id, segments)
            self._causes |= dict.fromkeys(segments, death.cause)
        return bool(deaths)

    def _care(self) -> None:
        """Have started again what was refused, and lineages whose lease has expired."""
        if self._is_quiet:
            # A bookmark in what a restarted store has lost leads nowhere.
            self._bookmark = ""
        self._is_quiet = True
        status = self._storage.status(self.id)
        if status.state is None:
            raise RunError(
                f"run {self.id} has vanished from the store",
                "The store was restarted or flushed, or it evicts keys; it must keep them "
                "(maxmemory-policy noeviction).",
            )
        self._look(status)
        expired = self._storage.reap(self.id)
        self._check_progress(status, missing=bool(expired))
        for start in expired:
            # An Executor whose time was up also begins an epoch; only those that expired count.
            lost = self._lost.setdefault(start.segment, set())
            lost |= {start.epoch} if start.epoch > 1 else set()
            if len(lost) >= self._manifest.options.max_attempts:
                known = self._names.get(start.segment, (f"segment {start.segment}",))
                keys = ", ".join(map(str, known))
                cause = self._causes.get(start.segment, "")
                raise RunError(
                    f"run {self.id}: the Executor that begins with {keys} was lost "
                    f"{len(lost)} times" + (f"; {cause}" if cause else ""),
                    "It runs out of memory or time, or ends the process: give it more memory or "
                    "smaller chunks; the function's log group tells which.",
                )
        again = self._refused + [event_of(self.id, self._manifest, [start]) for start in expired]
        if again:
            with self._trace.invoking(again) as wanted:
                report = self._platform.start(wanted)
            self._refused = [again[refusal.position] for refusal in report.refused]

    def _look(self, status: RunStatus) -> None:
        self.watch.look(self, alive=status.live, begun=status.begun, done=status.done)

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

    def _end(self, state: RunState, error: BaseException | None = None) -> None:
        with self._trace.here():
            self._storage.stop(self.id, state)
            self._keep_record(error)
            self._storage.drop(self.id)
        self._is_over = True
        self._trace.end(error)

    def _keep_record(self, error: BaseException | None) -> None:
        """Have kept what is known of the run, once; its notes go when it is dropped."""
        submitted, self._submitted = self._submitted, None
        if self._keeper is None or submitted is None or not self._manifest.options.record:
            return
        lost = sum(map(len, self._lost.values()))
        self._keeper.keep(submitted, self._storage, End(outcome_of(error), line_of(error), lost))
