"""What is kept of a run: the format of the files in the history (wukong/history.py).

A record is made by the client when a run ends, from the notes of its Executors and from what the
client knows of the graph. Reports, estimates and costs read it; nothing of it is needed to run.

Times of `Step` columns are seconds since their Executor began, whose `began` is a wall clock's of
the machine that it ran on; `started` and `ended` are the client's.
"""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from wukong.errors import WukongError
from wukong.messages import Start
from wukong.storage.columns import Column, head_length, read, read_head, write
from wukong.storage.notes import HAND_OFF_COLUMNS, STEP_COLUMNS, Place, Way, table

VERSION = 1

LEVEL = 1
"""Of zlib; a higher one takes three times as long to save a tenth."""


class RecordError(WukongError):
    """A record that cannot be read."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The segments of a run, as the client knows them; empty for a run that it came back to.

    Attributes
    ----------
    names, index
        Of each segment the name of its output's key, in two parts: what it has in common with
        others, and the rest. `names` has each common part once, `name` says which.
    kinds
        What segments consist of, such as `random_sample 16, sum 15`, each once; `kind` says which.
    tasks
        How many tasks each segment has.
    root
        1 if the client asked for its output.
    needs, inputs
        How many input segments each has, and all of them one after another.
    """

    names: tuple[str, ...] = ()
    name: Column = field(default_factory=lambda: array("I"))
    index: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    kind: Column = field(default_factory=lambda: array("I"))
    tasks: Column = field(default_factory=lambda: array("I"))
    root: Column = field(default_factory=lambda: array("B"))
    needs: Column = field(default_factory=lambda: array("I"))
    inputs: Column = field(default_factory=lambda: array("I"))

    def __len__(self) -> int:
        return len(self.name)

    def label(self, segment: int) -> str:
        """Name a segment for people: the key of its output, with what is random in it cut short."""
        if segment >= len(self):
            return f"segment {segment}"
        return self.names[int(self.name[segment])] + self.index[segment]

    def edges(self) -> Iterator[tuple[int, int]]:
        """Give each edge, from producer to consumer, in the order of the consumers."""
        place = 0
        for segment, count in enumerate(self.needs):
            for producer in self.inputs[place : place + int(count)]:
                yield int(producer), segment
            place += int(count)


@dataclass(frozen=True, slots=True)
class ExecutorRecord:
    """One Executor: as `wukong.storage.notes.Note`, all its pieces together.

    `ended` is in seconds since `began`.
    """

    token: str
    parent: str
    reason: str
    hop: int
    lineages: tuple[Start, ...]
    stopped: int
    place: Place
    began: float
    ended: float
    failed: int | None
    traffic: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a list of runs shows of one; read without the rest of the file.

    Attributes
    ----------
    run
        Its id.
    title
        What was asked for, by the names of its keys.
    outcome
        done, failed or cancelled.
    error
        What ended it, in a line; empty if it is done.
    started, submitted, ended
        When the client began with it, had the first Executors started, and had its end: wall clock.
    platform, workers
        Where it ran; how many workers there were, None if there was no end to them.
    where
        More about that: region, endpoint, and the store: dynamodb, memory or valkey.
    options
        Of the run.
    tasks, segments, executors
        How many; of tasks those that Executors ran or were to run.
    begun, missing
        How often lineages have begun, and of how many of these nothing is known: their Executors
        were lost, or wrote too late.
    version
        Of Wukong.
    more
        What others keep with it, such as an estimate that was made before.
    """

    run: str
    title: str = ""
    outcome: str = "done"
    error: str = ""
    started: float = 0.0
    submitted: float = 0.0
    ended: float = 0.0
    platform: str = ""
    workers: int | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    tasks: int = 0
    segments: int = 0
    executors: int = 0
    begun: int = 0
    missing: int = 0
    version: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it took, as its client saw it."""
        return self.ended - self.started


RECORD_COLUMNS: Mapping[str, str] = {"executor": "I", **STEP_COLUMNS}
GIVEN_COLUMNS: Mapping[str, str] = {"executor": "I", **HAND_OFF_COLUMNS}


@dataclass(frozen=True, slots=True)
class RunRecord:
    """All that is kept of a run.

    Attributes
    ----------
    summary
        What it was and how it ended.
    outline
        Its graph.
    executors
        Those that have told what they did, in the order in which they began.
    steps
        What they ran: columns as in `STEP_COLUMNS`, and `executor`, the place in `executors`.
    ways
        How each input of each step came (`Way`), one after another.
    hand_offs
        When they had others started: columns as in `HAND_OFF_COLUMNS`, and `executor`.
    """

    summary: Summary
    outline: Outline = field(default_factory=Outline)
    executors: tuple[ExecutorRecord, ...] = ()
    steps: Mapping[str, Column] = field(default_factory=lambda: table(RECORD_COLUMNS))
    ways: Column = field(default_factory=lambda: array("B"))
    hand_offs: Mapping[str, Column] = field(default_factory=lambda: table(GIVEN_COLUMNS))

    @property
    def written(self) -> int:
        """Bytes of outputs that were stored."""
        return int(sum(self.steps["written"]))

    @property
    def unpacking(self) -> float:
        """Seconds that Executors waited for overflow bundles, all together."""
        return sum(one.place.unpacking for one in self.executors)

    @property
    def unpacked(self) -> int:
        """Bytes of overflow bundles that Executors fetched."""
        return sum(one.place.unpacked for one in self.executors)

    @property
    def traffic(self) -> Mapping[Way, int]:
        """Bytes of inputs, by the way in which they came."""
        return {way: sum(one.traffic[way] for one in self.executors) for way in Way}

    def to_bytes(self) -> bytes:
        """Serialise; the summary is first, so that it can be read alone."""
        outline = self.outline
        texts = [outline.names, outline.index, outline.kinds, list(map(_row, self.executors))]
        columns = [
            *(array("B", zlib.compress(json.dumps(text).encode(), LEVEL)) for text in texts),
            *(outline.name, outline.kind, outline.tasks, outline.root),
            *(outline.needs, outline.inputs, self.ways),
            *self.steps.values(),
            *self.hand_offs.values(),
        ]
        packed = [array("B", zlib.compress(column.tobytes(), LEVEL)) for column in columns[4:]]
        kinds = "".join(column.typecode for column in columns[4:])
        head = {"v": VERSION, "summary": _asdict(self.summary), "kinds": kinds}
        return write(head, [*columns[:4], *packed])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        RecordError
            If it is not a record, or of a later release.
        """
        summary = summary_of(data)
        head, blobs = read(data)
        names, index, kinds, rows = (
            json.loads(zlib.decompress(blob.tobytes())) for blob in blobs[:4]
        )
        columns = []
        for kind, blob in zip(head["kinds"], blobs[4:], strict=True):
            column: Column = array(kind)
            column.frombytes(zlib.decompress(blob.tobytes()))
            columns.append(column)
        name, kind, tasks, root, needs, inputs, ways, *rest = columns
        return cls(
            summary,
            Outline(
                tuple(names), name, tuple(index), tuple(kinds), kind, tasks, root, needs, inputs
            ),
            tuple(map(_executor, rows)),
            dict(zip(RECORD_COLUMNS, rest, strict=False)),
            ways,
            dict(zip(GIVEN_COLUMNS, rest[len(RECORD_COLUMNS) :], strict=True)),
        )


def summary_of(data: bytes) -> Summary:
    """Read the summary alone; the rest of the record need not be there.

    Raises
    ------
    RecordError
        If it is not a record, or of a later release.
    """
    try:
        head = read_head(data)
        version = head["v"]
    except (WukongError, KeyError, TypeError, IndexError) as error:
        raise RecordError(f"no record of a run: {error}", "Delete the file.") from error
    if version != VERSION:
        raise RecordError(
            f"a record of version {version!r:.20}; this release reads {VERSION}",
            "Read it with the release of Wukong that wrote it.",
        )
    return Summary(**head["summary"])


summary_length = head_length
"""Tells how many bytes `summary_of` needs, given the first four."""


def _asdict(summary: Summary) -> dict[str, Any]:
    return {name: getattr(summary, name) for name in Summary.__dataclass_fields__}


def _row(one: ExecutorRecord) -> Sequence[Any]:
    place = one.place
    return (
        *(one.token, one.parent, one.reason, one.hop),
        [[start.segment, start.epoch] for start in one.lineages],
        one.stopped,
        [getattr(place, name) for name in Place.__dataclass_fields__],
        *(one.began, one.ended, one.failed, one.traffic),
    )


def _executor(row: Sequence[Any]) -> ExecutorRecord:
    token, parent, reason, hop, lineages, stopped, place, began, ended, failed, traffic = row
    starts = tuple(Start(segment, epoch) for segment, epoch in lineages)
    return ExecutorRecord(
        token,
        parent,
        reason,
        hop,
        starts,
        stopped,
        Place(*place),
        began,
        ended,
        failed,
        tuple(traffic),
    )
