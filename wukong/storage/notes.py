"""What an Executor notes of itself, for the record of its run: the format of `Storage.note`.

    Executor ──note──> list of the run in storage ──notes──> client ──> RunRecord (wukong/record.py)

All times are seconds since the Executor began, by its own clock; only `began` is a wall clock's,
and those of different machines differ.
"""

from __future__ import annotations

import enum
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from wukong.messages import Start
from wukong.storage.columns import Column, ColumnsError, read, write

VERSION = 2
"""Of what is written; a `Place` of version 1 lacks what it says of bundles."""

READABLE = frozenset({1, 2})


class Way(enum.IntEnum):
    """How a segment came by an input."""

    MEMORY = 0
    """It was there: the same lineage had made or read it."""
    CLAIM = 1
    """In the reply to `begin` or `arrive`, as small ones do."""
    GROUP = 2
    """Read once for several lineages of the Executor."""
    PROCESS = 3
    """This process had read it before."""
    STORE = 4
    """Read from the store."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an Executor ran.

    Attributes
    ----------
    function
        Name and version of the Lambda function; empty on this machine.
    memory_mb
        Its memory size; 0 if unknown.
    request
        Id of the invocation.
    process
        Of a worker its process id; on Lambda the log stream, which is one for each environment.
    born
        Seconds from the start of the process to the start of this Executor.
    earlier
        How many Executors the process had run before.
    unpacking, unpacked
        Seconds that it waited for overflow bundles, and bytes of them that it fetched.
    """

    function: str = ""
    memory_mb: int = 0
    request: str = ""
    process: str = ""
    born: float = 0.0
    earlier: int = 0
    unpacking: float = 0.0
    unpacked: int = 0


STEP_COLUMNS: Mapping[str, str] = {
    "segment": "I",
    "lineage": "I",
    "ready": "f",
    "began": "f",
    "fetch": "f",
    "computing": "f",
    "compute": "f",
    "pack": "f",
    "arrive": "f",
    "arrived": "f",
    "written": "Q",
    "inputs": "I",
}
"""Of each segment: when it was ready, when it began to be read, and how long that took; when it
began to be computed, and how long; how long its output was packed, and on its way; when it was
official (-1: never); bytes of the output; and how many inputs it had."""

HAND_OFF_COLUMNS: Mapping[str, str] = {"at": "f", "seconds": "f", "count": "I"}
"""Of each hand-off: when, how long starting took, and how many Executors were accepted."""


def table(kinds: Mapping[str, str], cells: Sequence[float] = ()) -> dict[str, Column]:
    """Turn cells, one row after another, into columns of these types."""
    width = len(kinds)
    return {
        name: array(kind, cells[place::width]) for place, (name, kind) in enumerate(kinds.items())
    }


@dataclass(frozen=True, slots=True)
class Note:
    """What one Executor did, or the next piece of it.

    Attributes
    ----------
    token
        Who it is; pieces of one Executor have the same.
    parent, reason
        Whose token had it started, and why; see `ExecutorEvent`.
    hop
        How many Executors started one another before it.
    lineages
        Those that it began, with their epochs; in the first piece only.
    stopped
        How many it was asked for besides, and was not let begin.
    place
        Where it ran.
    began
        Wall clock.
    ended
        When this was written.
    failed
        The segment that ended the run, if one did here.
    traffic
        Bytes of inputs, by `Way`; of those in memory none.
    steps
        Columns as in `STEP_COLUMNS`.
    ways
        How each input of each step came (`Way`), in the order of the segment's inputs.
    hand_offs
        Columns as in `HAND_OFF_COLUMNS`.
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
    failed: int | None = None
    traffic: tuple[int, ...] = (0,) * len(Way)
    steps: Mapping[str, Column] = field(default_factory=lambda: table(STEP_COLUMNS))
    ways: Column = field(default_factory=lambda: array("B"))
    hand_offs: Mapping[str, Column] = field(default_factory=lambda: table(HAND_OFF_COLUMNS))

    def to_bytes(self) -> bytes:
        """Serialise."""
        head: dict[str, Any] = {
            "v": VERSION,
            "token": self.token,
            "parent": self.parent,
            "reason": self.reason,
            "hop": self.hop,
            "lineages": [[start.segment, start.epoch] for start in self.lineages],
            "stopped": self.stopped,
            "place": {name: getattr(self.place, name) for name in Place.__dataclass_fields__},
            "began": self.began,
            "ended": self.ended,
            "failed": self.failed,
            "traffic": self.traffic,
        }
        return write(head, [*self.steps.values(), self.ways, *self.hand_offs.values()])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ColumnsError
            If it is no note, or one of another release.
        """
        head, columns = read(data)
        if head.get("v") not in READABLE:
            raise ColumnsError(
                f"a note of version {head.get('v')!r:.80}; this package reads {VERSION}",
                "Deploy client and functions of one release.",
            )
        return cls(
            token=head["token"],
            parent=head["parent"],
            reason=head["reason"],
            hop=head["hop"],
            lineages=tuple(Start(segment, epoch) for segment, epoch in head["lineages"]),
            stopped=head["stopped"],
            place=Place(**head["place"]),
            began=head["began"],
            ended=head["ended"],
            failed=head["failed"],
            traffic=tuple(head["traffic"]),
            steps=dict(zip(STEP_COLUMNS, columns, strict=False)),
            ways=columns[len(STEP_COLUMNS)],
            hand_offs=dict(zip(HAND_OFF_COLUMNS, columns[len(STEP_COLUMNS) + 1 :], strict=True)),
        )
