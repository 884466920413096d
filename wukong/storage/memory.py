"""The memory back-end: the same transitions in Python, for threads of one process and for tests.

It is the twin of protocol.lua: a differential test drives both with the same steps. One lock makes
each step atomic; the clock can be given, so that tests let leases expire without waiting.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from wukong.messages import Start
from wukong.storage.interface import (
    INLINE_BYTES,
    INLINE_INPUTS,
    Arrival,
    Arrived,
    Begun,
    Claim,
    DataRef,
    Fenced,
    Lineage,
    NewRun,
    News,
    RunState,
    RunStatus,
    Storage,
    shared_ref,
)
from wukong.storage.serialisation import Data


@dataclass
class _Attempt:
    """The current attempt of a lineage; no token while it is handed off and has not begun."""

    epoch: int = 1
    token: str | None = None
    finished: bool = False
    handed_off_by: int | None = None

    @property
    def is_unbegun(self) -> bool:
        """Tell whether no attempt of this lineage has ever begun."""
        return self.epoch == 1 and self.token is None and not self.finished


@dataclass
class _Run:
    new: NewRun
    specs: list[bytes]
    manifest: bytes
    state: RunState = RunState.RUNNING
    failure: bytes | None = None
    begun: int = 0
    done: set[int] = field(default_factory=set)
    count: dict[int, int] = field(default_factory=dict)
    claim: dict[int, int] = field(default_factory=dict)
    refs: dict[int, int] = field(default_factory=dict)
    lease: dict[int, float] = field(default_factory=dict)
    attempts: dict[int, _Attempt] = field(default_factory=dict)
    version: dict[int, str] = field(default_factory=dict)
    data: dict[DataRef, bytes] = field(default_factory=dict)
    batches: dict[str, bytes] = field(default_factory=dict)
    notes: list[bytes] = field(default_factory=list)
    news: list[int | RunState] = field(default_factory=list)

    def claimed(self, segment: int, held: int | None = None) -> Claim:
        """Give what an Executor needs to run a segment; it has the output of `held`."""
        inputs = self.new.inputs[segment]
        refs = tuple(DataRef(x, self.version.get(x, "")) for x in inputs)
        values = tuple(
            self._small(ref) if ref.segment != held and place < INLINE_INPUTS else None
            for place, ref in enumerate(refs)
        )
        return Claim(segment, self.specs[segment], refs, values)

    def _small(self, ref: DataRef) -> bytes | None:
        data = self.data.get(ref, b"")
        return data if 0 < len(data) <= INLINE_BYTES else None

    def is_known(self, after: int | None) -> bool:
        """Tell whether a lineage's arrival before this call has not been lost."""
        return after is None or after in self.done

    def is_current(self, lineage: Lineage) -> bool:
        """Tell whether this is the attempt of its lineage that may act."""
        attempt = self.attempts.get(lineage.segment)
        return (
            attempt is not None
            and not attempt.finished
            and attempt.token == lineage.token
            and attempt.epoch == lineage.epoch
        )


class MemoryStorage(Storage):
    """Keeps runs in this process."""

    _named: ClassVar[dict[str, MemoryStorage]] = {}

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._changed = threading.Condition()

    @classmethod
    def named(cls, url: str) -> MemoryStorage:
        """Give the store of this process that a URL names, the same one each time."""
        return cls._named.setdefault(url, cls())

    def create(self, new: NewRun) -> None:
        specs, shared = list(new.specs), list(new.shared)
        kept = replace(new, specs=(), shared=(), manifest=bytes)
        run = _Run(kept, specs, new.manifest(), refs=dict(enumerate(new.references)))
        for leaf in new.leaves:
            run.claim[leaf] = leaf
            run.attempts[leaf] = _Attempt()
            run.lease[leaf] = self._clock() + new.handoff_seconds
        for number, blob in enumerate(shared):
            run.data[shared_ref(number)] = bytes(blob)
        with self._changed:
            self._runs[new.run] = run

    def manifest(self, run: str) -> bytes | None:
        with self._changed:
            return self._runs[run].manifest if run in self._runs else None

    def begin(self, run: str, starts: Sequence[Start], token: str) -> list[Begun | None]:
        with self._changed:
            return [self._begin(run, start, token) for start in starts]

    def _begin(self, name: str, start: Start, token: str) -> Begun | None:
        run = self._running(name)
        attempt = run.attempts.get(start.segment) if run else None
        if run is None or attempt is None or attempt.finished or start.epoch < attempt.epoch:
            return None
        if attempt.token is not None and attempt.token != token:
            if run.lease.get(start.segment, 0.0) > self._clock():
                return None
            attempt.epoch += 1
        attempt.token = token
        run.begun += 1
        self._extend(run, start.segment)
        lineage = Lineage(start.segment, attempt.epoch, token)
        return Begun(lineage, run.claimed(start.segment), run.new.lease_seconds)

    def arrive_all(
        self, run: str, arrivals: Sequence[tuple[Lineage, Arrival]]
    ) -> list[Arrived | None]:
        with self._changed:
            arrived: list[Arrived | None] = []
            self._free(run, [ref for _, arrival in arrivals for ref in arrival.garbage])
            for lineage, arrival in arrivals:
                try:
                    arrived.append(self._arrive(run, lineage, arrival))
                except Fenced:
                    arrived.append(None)
            self._changed.notify_all()
            return arrived

    def _arrive(self, run: str, lineage: Lineage, arrival: Arrival) -> Arrived:
        state = self._unfenced(run, lineage)
        if state.claim.get(arrival.segment) != lineage.segment or not state.is_known(arrival.after):
            raise Fenced
        version = lineage.version
        state.data[DataRef(arrival.segment, version)] = bytes(arrival.output)
        new = arrival.segment not in state.done
        if new:
            state.done.add(arrival.segment)
            state.version[arrival.segment] = version
        deletable = self._consumed(state, arrival, new)
        here, handed_off = self._children(state, lineage, arrival, new)
        if arrival.root and new:
            state.news.append(arrival.segment)
        if arrival.last and not here:
            self._finish(state, lineage)
        return Arrived(tuple(here), tuple(handed_off), deletable)

    @staticmethod
    def _consumed(run: _Run, arrival: Arrival, new: bool) -> tuple[DataRef, ...]:
        """Count what an arrival, and what was held for it, has consumed."""
        deletable: list[DataRef] = []

        def count(inputs: Sequence[int], first: bool) -> None:
            for x in inputs:
                run.refs[x] -= first
                if run.refs[x] == 0 and x in run.version:
                    deletable.append(DataRef(x, run.version[x]))

        for one in arrival.held:
            count(one.inputs, one.segment not in run.done)
            run.done.add(one.segment)
        count(arrival.inputs, new)
        return tuple(deletable)

    def hold(
        self, run: str, lineage: Lineage, segment: int, child: tuple[int, int], after: int | None
    ) -> Claim | None:
        with self._changed:
            state = self._unfenced(run, lineage)
            if state.claim.get(segment) != lineage.segment or not state.is_known(after):
                raise Fenced
            number, need = child
            if number in state.done or segment in state.done:
                return None
            owner = state.claim.get(number)
            if owner is None and state.count.get(number, 0) + 1 >= need:
                owner = state.claim[number] = lineage.segment
            return state.claimed(number, segment) if owner == lineage.segment else None

    def _children(
        self, run: _Run, lineage: Lineage, arrival: Arrival, new: bool
    ) -> tuple[list[Claim], list[Start]]:
        here: list[Claim] = []
        handed_off: list[Start] = []
        live = len(run.lease)
        for child, need in arrival.children:
            run.count[child] = run.count.get(child, 0) + new
            if child in run.done:
                continue
            owner = run.claim.get(child)
            if owner == lineage.segment:
                here.append(run.claimed(child, arrival.segment))
            elif owner is None and run.count[child] >= need:
                if not here or (0 < run.new.max_live <= live):
                    run.claim[child] = lineage.segment
                    here.append(run.claimed(child, arrival.segment))
                else:
                    run.claim[child] = child
                    run.attempts[child] = _Attempt(handed_off_by=lineage.segment)
                    run.lease[child] = self._clock() + run.new.handoff_seconds
                    live += 1
                    handed_off.append(Start(child))
            elif owner == child and run.attempts[child].is_unbegun:
                handed_off.append(Start(child))
        return here, handed_off

    def owned(self, run: str, lineage: Lineage) -> list[Claim]:
        with self._changed:
            state = self._unfenced(run, lineage)
            return [
                state.claimed(segment)
                for segment, owner in sorted(state.claim.items())
                if owner == lineage.segment
                and segment not in state.done
                and all(x in state.version for x in state.new.inputs[segment])
            ]

    def unbegun(self, run: str, lineage: Lineage) -> list[Start]:
        with self._changed:
            state = self._running(run)
            return [
                Start(child)
                for child, attempt in sorted(state.attempts.items() if state else ())
                if attempt.is_unbegun and attempt.handed_off_by == lineage.segment
            ]

    def beat(self, run: str, lineages: Sequence[Lineage]) -> list[int]:
        with self._changed:
            state = self._running(run)
            fenced = []
            for lineage in lineages:
                if state is not None and state.is_current(lineage):
                    self._extend(state, lineage.segment)
                else:
                    fenced.append(lineage.segment)
            return fenced

    def finish(self, run: str, lineage: Lineage, after: int | None) -> None:
        with self._changed:
            state = self._running(run)
            if state is not None and state.is_current(lineage) and state.is_known(after):
                self._finish(state, lineage)

    def pass_on(self, run: str, lineage: Lineage) -> Start:
        with self._changed:
            state = self._unfenced(run, lineage)
            attempt = state.attempts[lineage.segment]
            attempt.epoch, attempt.token = attempt.epoch + 1, None
            state.lease[lineage.segment] = self._clock() + state.new.handoff_seconds
            return Start(lineage.segment, attempt.epoch)

    def reap(self, run: str, most: int = 100, late_seconds: float = 0.0) -> list[Start]:
        with self._changed:
            state = self._running(run)
            if state is None:
                return []
            now = self._clock()
            expired = sorted(
                (until, segment)
                for segment, until in state.lease.items()
                if until <= now - late_seconds
            )
            found = []
            for _, segment in expired[:most]:
                attempt = state.attempts[segment]
                if attempt.token is not None:
                    attempt.epoch, attempt.token = attempt.epoch + 1, None
                state.lease[segment] = now + state.new.handoff_seconds
                found.append(Start(segment, attempt.epoch))
            return found

    def expire(self, run: str, segments: Sequence[int]) -> None:
        with self._changed:
            state = self._running(run)
            for segment in segments:
                if state is not None and segment in state.lease:
                    state.lease[segment] = self._clock()

    def stop(self, run: str, state: RunState, failure: bytes = b"") -> bool:
        with self._changed:
            running = self._running(run)
            if running is None:
                return False
            running.state = state
            running.failure = failure or None
            running.news.append(state)
            self._changed.notify_all()
            return True

    def failure(self, run: str) -> bytes | None:
        with self._changed:
            return self._runs[run].failure if run in self._runs else None

    def news(self, run: str, bookmark: str, timeout: float) -> News:
        seen = int(bookmark or 0)
        with self._changed:
            self._changed.wait_for(
                lambda: run in self._runs and len(self._runs[run].news) > seen, timeout
            )
            entries = self._runs[run].news if run in self._runs else []
            ended = [entry for entry in entries[seen:] if isinstance(entry, RunState)]
            return News(
                tuple(entry for entry in entries[seen:] if isinstance(entry, int)),
                ended[0] if ended else None,
                str(len(entries)),
            )

    def status(self, run: str) -> RunStatus:
        with self._changed:
            state = self._runs.get(run)
            if state is None:
                return RunStatus(None)
            return RunStatus(state.state, len(state.done), len(state.lease), state.begun)

    def read(self, run: str, refs: Sequence[DataRef]) -> list[Data | None]:
        with self._changed:
            data = self._runs[run].data if run in self._runs else {}
            return [data.get(ref) for ref in refs]

    def versions(self, run: str, segments: Sequence[int]) -> list[DataRef | None]:
        with self._changed:
            known = self._runs[run].version if run in self._runs else {}
            return [DataRef(s, known[s]) if s in known else None for s in segments]

    def free(self, run: str, refs: Sequence[DataRef]) -> None:
        with self._changed:
            self._free(run, refs)

    def _free(self, name: str, refs: Sequence[DataRef]) -> None:
        if name in self._runs:
            run = self._runs[name]
            for ref in refs:
                if run.refs[ref.segment] == 0:
                    run.data.pop(ref, None)

    def put_batch(self, run: str, name: str, events: bytes) -> None:
        with self._changed:
            if run in self._runs:
                self._runs[run].batches[name] = events

    def get_batch(self, run: str, name: str) -> bytes | None:
        with self._changed:
            return self._runs[run].batches.get(name) if run in self._runs else None

    def note(self, run: str, blob: bytes) -> None:
        with self._changed:
            if run in self._runs:
                self._runs[run].notes.append(blob)

    def notes(self, run: str) -> list[bytes]:
        with self._changed:
            return list(self._runs[run].notes) if run in self._runs else []

    def drop(self, run: str) -> None:
        with self._changed:
            self._runs.pop(run, None)
            self._changed.notify_all()

    def runs(self) -> list[str]:
        with self._changed:
            return list(self._runs)

    def ping(self) -> None:
        """Answer; this process is always reachable from itself."""

    def close(self) -> None:
        """Keep what is stored: other threads of the process may hold the same store."""

    def _running(self, name: str) -> _Run | None:
        run = self._runs.get(name)
        return run if run is not None and run.state is RunState.RUNNING else None

    def _unfenced(self, name: str, lineage: Lineage) -> _Run:
        run = self._running(name)
        if run is None or not run.is_current(lineage):
            raise Fenced
        self._extend(run, lineage.segment)
        return run

    def _extend(self, run: _Run, segment: int) -> None:
        run.lease[segment] = self._clock() + run.new.lease_seconds

    @staticmethod
    def _finish(run: _Run, lineage: Lineage) -> None:
        run.lease.pop(lineage.segment, None)
        run.attempts[lineage.segment].finished = True
