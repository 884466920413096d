"""The memory back-end: runs in this process, for its threads and for tests.

What a run's steps do is in `protocol`; one lock makes each of them atomic. The clock can be given.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from wukong.messages import Start
from wukong.storage import pages
from wukong.storage.interface import Storage
from wukong.storage.protocol import Control
from wukong.storage.serialisation import Data
from wukong.storage.terms import (
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
    shared_ref,
)


@dataclass
class _Run:
    """A run: its control state, and what is kept beside it."""

    control: Control
    manifest: bytes
    batches: dict[str, bytes] = field(default_factory=dict)
    notes: list[bytes] = field(default_factory=list)


class MemoryStorage(Storage):
    """Keeps runs in this process.

    Parameters
    ----------
    clock
        Gives the time, in seconds.
    between
        Called between the pages of a wide arrival, where an Executor may end.
    """

    _named: ClassVar[dict[str, MemoryStorage]] = {}
    _naming: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._between = between
        self._runs: dict[str, _Run] = {}
        self._changed = threading.Condition()
        self._holders = 0

    @classmethod
    def named(cls, url: str) -> MemoryStorage:
        """Give the store that a URL names: the same one until all who have it have closed it."""
        with cls._naming:
            store = cls._named.setdefault(url, cls())
            store._holders += 1
            return store

    def create(self, new: NewRun) -> None:
        specs, shared = list(new.specs), list(new.shared)
        kept = replace(new, specs=(), shared=(), manifest=bytes)
        run = _Run(Control(kept, specs, self._clock), new.manifest())
        for number, blob in enumerate(shared):
            run.control.data[shared_ref(number)] = bytes(blob)
        with self._changed:
            self._runs[new.run] = run

    def manifest(self, run: str) -> bytes | None:
        with self._changed:
            return self._runs[run].manifest if run in self._runs else None

    def begin(self, run: str, starts: Sequence[Start], token: str) -> list[Begun | None]:
        with self._changed:
            control = self._known(run)
            return [control.begin(start, token) if control else None for start in starts]

    def arrive_all(
        self, run: str, arrivals: Sequence[tuple[Lineage, Arrival]]
    ) -> list[Arrived | None]:
        self.free(run, [ref for _, arrival in arrivals for ref in arrival.garbage])
        arrived: list[Arrived | None] = []
        for lineage, arrival in arrivals:
            try:
                arrived.append(self._arrive(run, lineage, arrival))
            except Fenced:
                arrived.append(None)
        return arrived

    def _arrive(self, run: str, lineage: Lineage, arrival: Arrival) -> Arrived:
        every = pages.pages_of(arrival)
        with self._changed:
            answers = [self._control(run).arrive(lineage, arrival, every)]
            self._changed.notify_all()
        for number in range(1, len(every)):
            self._between()
            with self._changed:
                answers.append(self._control(run).more(lineage, arrival.segment, number, every))
        answer = pages.merged(answers)
        if len(every) > 1 and arrival.last and not answer.here:
            self.finish(run, lineage, arrival.segment)
        return answer

    def hold(
        self, run: str, lineage: Lineage, segment: int, child: tuple[int, int], after: int | None
    ) -> Claim | None:
        with self._changed:
            return self._control(run).hold(lineage, segment, child, after)

    def owned(self, run: str, lineage: Lineage) -> list[Claim]:
        with self._changed:
            return self._control(run).owned(lineage)

    def unbegun(self, run: str, lineage: Lineage) -> list[Start]:
        with self._changed:
            control = self._known(run)
            return control.unbegun(lineage) if control else []

    def beat(self, run: str, lineages: Sequence[Lineage]) -> list[int]:
        with self._changed:
            control = self._known(run)
            return control.beat(lineages) if control else [one.segment for one in lineages]

    def finish(self, run: str, lineage: Lineage, after: int | None) -> None:
        with self._changed:
            if control := self._known(run):
                control.finish(lineage, after)

    def pass_on(self, run: str, lineage: Lineage) -> Start:
        with self._changed:
            return self._control(run).pass_on(lineage)

    def reap(self, run: str, most: int = 100, late_seconds: float = 0.0) -> list[Start]:
        with self._changed:
            control = self._known(run)
            return control.reap(most, late_seconds) if control else []

    def expire(self, run: str, segments: Sequence[int]) -> None:
        with self._changed:
            if control := self._known(run):
                control.expire(segments)

    def stop(self, run: str, state: RunState, failure: bytes = b"") -> bool:
        with self._changed:
            control = self._known(run)
            self._changed.notify_all()
            return control is not None and control.stop(state, failure)

    def failure(self, run: str) -> bytes | None:
        with self._changed:
            control = self._known(run)
            return control.failure if control else None

    def news(self, run: str, bookmark: str, timeout: float) -> News:
        seen = int(bookmark or 0)

        def entries() -> list[int | RunState]:
            control = self._known(run)
            return control.news if control else []

        with self._changed:
            self._changed.wait_for(lambda: len(entries()) > seen, timeout)
            new, size = entries()[seen:], len(entries())
        ended = next((entry for entry in new if isinstance(entry, RunState)), None)
        return News(tuple(entry for entry in new if isinstance(entry, int)), ended, str(size))

    def status(self, run: str) -> RunStatus:
        with self._changed:
            control = self._known(run)
            if control is None:
                return RunStatus(None)
            return RunStatus(control.state, len(control.done), len(control.lease), control.begun)

    def read(self, run: str, refs: Sequence[DataRef]) -> list[Data | None]:
        with self._changed:
            control = self._known(run)
            return [control.data.get(ref) if control else None for ref in refs]

    def versions(self, run: str, segments: Sequence[int]) -> list[DataRef | None]:
        with self._changed:
            control = self._known(run)
            known = control.version if control else {}
            return [DataRef(s, known[s]) if s in known else None for s in segments]

    def free(self, run: str, refs: Sequence[DataRef]) -> None:
        with self._changed:
            if control := self._known(run):
                control.free(refs)

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
        """Let the store go, if nobody else of the process has it open by its name."""
        with self._naming:
            self._holders -= 1
            if self._holders <= 0:
                for url in [url for url, store in self._named.items() if store is self]:
                    del self._named[url]

    def _known(self, run: str) -> Control | None:
        return self._runs[run].control if run in self._runs else None

    def _control(self, run: str) -> Control:
        """Give the state of a run that a step is to change; raises `Fenced` if there is none."""
        control = self._known(run)
        if control is None:
            raise Fenced
        return control
