"""Makes the record of a run when it ends: from the notes of its Executors, and from its graph.

    run ends ─> notes are read ─> run is dropped ─> (in the background) record ─> history

Only reading the notes keeps the run's end waiting: two calls to the store.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any

from wukong import __version__, history
from wukong.graph.normalise import kind_of
from wukong.graph.segments import Segment
from wukong.record import (
    GIVEN_COLUMNS,
    RECORD_COLUMNS,
    ExecutorRecord,
    Outline,
    RunRecord,
    Summary,
)
from wukong.storage import Storage
from wukong.storage.columns import Column, ColumnsError
from wukong.storage.notes import Note, Place
from wukong.submission import Submitted

LATE_SECONDS = 0.3
"""How long to wait for notes at the end of a run: the last root is known a moment before."""

ENDED_SECONDS = 0.05
"""The same for a run that did not get to its end: Executors may be in the middle of a long task."""

PAUSE_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the runs of a client run: as in `Summary`."""

    platform: str
    workers: int | None = None
    where: Mapping[str, str] = field(default_factory=dict)


class Keeper:
    """Keeps the records of a client's runs.

    Parameters
    ----------
    surroundings
        Gives where they run.
    save
        Keeps one.
    """

    def __init__(
        self,
        surroundings: Callable[[], Surroundings],
        save: Callable[[RunRecord], object] = history.save,
    ) -> None:
        self._surroundings = surroundings
        self._save = save
        # Its thread begins with the first record, and this process ends when the last is kept.
        self._thread = ThreadPoolExecutor(1, "wukong-record")
        self._last: Future[RunRecord] | None = None

    @property
    def last(self) -> RunRecord | None:
        """The record of the run that ended last."""
        return self._last.result() if self._last is not None else None

    def keep(self, submitted: Submitted, storage: Storage, end: End) -> None:
        """Keep what is known of a run that has ended and is not dropped yet."""
        blobs, begun = _gather(storage, submitted.run, end)
        here = self._surroundings()

        def finish() -> RunRecord:
            record = record_of(submitted, here, end, blobs, begun)
            self._save(record)
            return record

        self._last = self._thread.submit(finish)

    def wait(self) -> None:
        """Wait until all is kept."""
        if self._last is not None:
            wait([self._last])


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended.

    Attributes
    ----------
    outcome, error
        As in `Summary`.
    lost
        How many lineages began and are known to have been lost.
    at
        Wall clock.
    """

    outcome: str
    error: str = ""
    lost: int = 0
    at: float = field(default_factory=time.time)


def _gather(storage: Storage, run: str, end: End) -> tuple[list[bytes], int]:
    """Read the notes of a run, and how many lineages have begun; waits a moment for the last."""
    patience = LATE_SECONDS if end.outcome == "done" else ENDED_SECONDS
    deadline = time.monotonic() + patience
    while True:
        begun = storage.status(run).begun
        blobs = storage.notes(run)
        noted = sum(len(note.lineages) for note in _notes(blobs))
        if noted >= begun - end.lost or time.monotonic() > deadline:
            return blobs, begun
        time.sleep(PAUSE_SECONDS)


def record_of(
    submitted: Submitted,
    surroundings: Surroundings,
    end: End,
    blobs: Sequence[bytes],
    begun: int,
) -> RunRecord:
    """Make the record of a run that has ended."""
    notes = _notes(blobs)
    executors = _executors(notes)
    segments = submitted.segments
    known = sum(len(one.lineages) for one in executors)
    summary = Summary(
        run=submitted.run,
        title=_title(submitted),
        outcome=end.outcome,
        error=end.error,
        started=submitted.started,
        submitted=submitted.submitted,
        ended=end.at,
        platform=surroundings.platform,
        workers=surroundings.workers,
        where=surroundings.where,
        options=submitted.manifest.options.model_dump(),
        tasks=sum(len(segment.keys) for segment in segments),
        segments=len(segments),
        executors=len(executors),
        begun=begun,
        missing=max(0, begun - known),
        version=__version__,
    )
    place = {one.token: number for number, one in enumerate(executors)}
    return RunRecord(
        summary,
        outline_of(segments),
        executors,
        _joined(notes, place, RECORD_COLUMNS, lambda note: note.steps),
        _chained("B", [note.ways for note in notes]),
        _joined(notes, place, GIVEN_COLUMNS, lambda note: note.hand_offs),
    )


def outline_of(segments: Sequence[Segment]) -> Outline:
    """Give the outline of a graph."""
    names: dict[str, int] = {}
    kinds: dict[str, int] = {}
    parts = [_label(segment.keys[-1]) for segment in segments]
    return Outline(
        name=array("I", [names.setdefault(name, len(names)) for name, _ in parts]),
        names=tuple(names),
        index=tuple(index for _, index in parts),
        kind=array("I", [kinds.setdefault(_kind(one), len(kinds)) for one in segments]),
        kinds=tuple(kinds),
        tasks=array("I", [len(segment.keys) for segment in segments]),
        root=array("B", [segment.root for segment in segments]),
        needs=array("I", [len(segment.inputs) for segment in segments]),
        inputs=array("I", [number for segment in segments for number in segment.inputs]),
    )


def _label(key: Hashable) -> tuple[str, str]:
    """Split a key into what it has in common with others, and the rest."""
    if isinstance(key, tuple):
        return _short(str(key[0])), f"({', '.join(map(str, key[1:]))})" if key[1:] else ""
    text = str(key)
    kind = kind_of(text)
    return (kind, _short(text)[len(kind) :]) if text.startswith(kind) else (_short(text), "")


SHOWN = 3
HASH = 8
LONGEST = 120


def _short(name: str) -> str:
    """Cut what is random in a key to its first characters; enough to find it in a log."""
    kind = kind_of(name)
    if name.startswith(f"{kind}-"):
        return name[: len(kind) + 1 + HASH]
    return name[:LONGEST]


def _kind(segment: Segment) -> str:
    counts = Counter(map(kind_of, segment.keys))
    return ", ".join(f"{kind} {count}" if count > 1 else kind for kind, count in counts.items())


def _title(submitted: Submitted) -> str:
    names = dict.fromkeys(_telling(submitted, *root) for root in submitted.manifest.roots.items())
    shown = ", ".join(list(names)[:SHOWN])
    return f"{shown}, ..." if len(names) > SHOWN else shown


def _telling(submitted: Submitted, number: int, key: Hashable) -> str:
    """Give the name of a root, or of what it only puts together."""
    if kind_of(key).startswith("finalize") and submitted.segments:
        segment = submitted.segments[number]
        before = [submitted.segments[x].keys[-1] for x in segment.inputs[:1]]
        for other in [*segment.keys[-2::-1], *before]:
            if not kind_of(other).startswith("finalize"):
                return kind_of(other)
    return kind_of(key)


def _notes(blobs: Sequence[bytes]) -> list[Note]:
    """Read notes; one that was sent twice is one."""
    found = []
    for blob in dict.fromkeys(blobs):
        try:
            found.append(Note.from_bytes(blob))
        except ColumnsError:
            # Of Executors of another release; the record says that some are missing.
            continue
    return found


def _executors(notes: Sequence[Note]) -> tuple[ExecutorRecord, ...]:
    known: dict[str, ExecutorRecord] = {}
    for note in notes:
        if note.token not in known:
            known[note.token] = _executor(note)
            continue
        before = known[note.token]
        known[note.token] = replace(
            before,
            lineages=before.lineages + note.lineages,
            place=_both(before.place, note.place),
            ended=max(before.ended, note.ended),
            failed=note.failed if before.failed is None else before.failed,
            traffic=tuple(map(sum, zip(before.traffic, note.traffic, strict=True))),
        )
    return tuple(sorted(known.values(), key=lambda one: one.began))


def _both(first: Place, second: Place) -> Place:
    """Give the place of an Executor whose pieces have each noted what bundles cost meanwhile."""
    return replace(
        first,
        unpacking=first.unpacking + second.unpacking,
        unpacked=first.unpacked + second.unpacked,
    )


def _executor(note: Note) -> ExecutorRecord:
    return ExecutorRecord(
        token=note.token,
        parent=note.parent,
        reason=note.reason,
        hop=note.hop,
        lineages=note.lineages,
        stopped=note.stopped,
        place=note.place,
        began=note.began,
        ended=note.ended,
        failed=note.failed,
        traffic=note.traffic,
    )


def _joined(
    notes: Sequence[Note],
    place: Mapping[str, int],
    kinds: Mapping[str, str],
    columns: Callable[[Note], Mapping[str, Column]],
) -> dict[str, Column]:
    """Put the columns of all notes one after another, and say of each row whose it is."""
    who: Column = array("I")
    for note in notes:
        who.extend(array("I", [place[note.token]]) * len(next(iter(columns(note).values()))))
    joined = {"executor": who}
    for name, kind in list(kinds.items())[1:]:
        joined[name] = _chained(kind, [columns(note)[name] for note in notes])
    return joined


def _chained(kind: str, parts: Sequence[Any]) -> Column:
    chained: Column = array(kind)
    for part in parts:
        chained.extend(part)
    return chained
