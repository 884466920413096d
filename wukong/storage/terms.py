"""What back-ends and their callers tell each other: lineages, claims, arrivals, runs, news.

`interface` says what is done with them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from wukong.errors import WukongError
from wukong.messages import Start
from wukong.storage.serialisation import Packed


class StorageError(WukongError):
    """The storage cannot be reached, or answered with something that is not of this protocol."""


class Fenced(Exception):  # noqa: N818 - the field's word for being shut out by a newer epoch
    """This lineage has a newer epoch, lost its claim, or the run has ended: stop, discard."""


class RunState(enum.StrEnum):
    """Where a run stands."""

    RUNNING = "R"
    CANCELLED = "C"
    FAILED = "E"
    DONE = "D"


@dataclass(frozen=True, slots=True)
class Lineage:
    """An Executor's identity.

    Attributes
    ----------
    segment
        Its start segment.
    epoch
        Which attempt of it this is.
    token
        What the invocation began with. Epochs alone would do if a store never lost its last writes:
        one that did gives an epoch again that somebody still works in.
    """

    segment: int
    epoch: int
    token: str = field(default="", compare=False)

    @property
    def version(self) -> str:
        """What names the data that it makes, and nobody else's."""
        return f"{self.segment}.{self.epoch}.{self.token}"


INLINE_BYTES = 4096
"""Up to this size, inputs come with a claim instead of being fetched."""

INLINE_INPUTS = 16
"""Of so many inputs, the first ones: an answer must not grow with the graph."""


@dataclass(frozen=True, slots=True)
class DataRef:
    """Names the data of one segment: the segment, and the version of who made it."""

    segment: int
    version: str


def shared_ref(number: int) -> DataRef:
    """Name what specifications have in common, by its place; no output has such a version."""
    return DataRef(number, "shared")


@dataclass(frozen=True, slots=True)
class Claim:
    """A segment to run.

    Attributes
    ----------
    segment, spec
        Which, and its specification.
    inputs
        Where its inputs are.
    values
        For each input its data, if it is small and not what the caller has just made; else None.
    """

    segment: int
    spec: bytes
    inputs: tuple[DataRef, ...]
    values: tuple[bytes | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Begun:
    """A lineage may run: its current epoch, its start segment, and how long its lease lasts."""

    lineage: Lineage
    claim: Claim
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class Unstored:
    """A segment whose output only its lineage has: which, and what it consumed."""

    segment: int
    inputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Arrival:
    """The output of a segment, and whom it concerns.

    Attributes
    ----------
    segment
        The segment that was run.
    output
        Its serialised value.
    root
        Whether the client asked for it.
    inputs
        Segments whose outputs it has consumed.
    children
        Pairs (child, number of the child's inputs).
    last
        Whether the lineage has nothing else to do.
    garbage
        Data to free on the way, which earlier arrivals have found deletable.
    after
        The segment whose output this lineage had arrive before, if any.
    held
        Segments that were held for this one; they become official with it.
    """

    segment: int
    output: Packed
    root: bool
    inputs: tuple[int, ...]
    children: tuple[tuple[int, int], ...]
    last: bool
    garbage: tuple[DataRef, ...] = ()
    after: int | None = None
    held: tuple[Unstored, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrived:
    """The answer to an arrival.

    Attributes
    ----------
    here
        Children that this lineage now owns and runs itself.
    handed_off
        Children that need Executors of their own; the caller has them started.
    deletable
        Data that nobody will read any more.
    """

    here: tuple[Claim, ...]
    handed_off: tuple[Start, ...]
    deletable: tuple[DataRef, ...]


@dataclass(frozen=True, slots=True)
class NewRun:
    """All that is written when a run is created.

    Attributes
    ----------
    run
        Its id; a fresh one for each computation.
    specs
        One opaque specification for each segment, by number. They are taken one after another, so
        that those of a large graph need not be in memory together; taking them may raise.
    inputs
        For each segment, the segments it consumes.
    references
        For each segment, how many consumers its data has, the client included.
    leaves
        Segments without inputs; each begins as a lineage of its own.
    lease_seconds
        How long an Executor is taken for alive after its last sign of life.
    handoff_seconds
        How long a started Executor may take to begin.
    max_live
        The most lineages alive at once before fan-outs stay in place; 0 for no limit.
    keep_seconds
        After this long everything of the run has gone, whatever happens.
    manifest
        Gives what a client needs to come back to the run, opaque here; it is asked for when
        specifications and what they share have been taken.
    shared
        What specifications have in common, taken after them; opaque here. Each is data under its
        `shared_ref`.
    """

    run: str
    specs: Iterable[bytes]
    inputs: Sequence[tuple[int, ...]]
    references: Sequence[int]
    leaves: Sequence[int]
    lease_seconds: float = 15.0
    handoff_seconds: float = 60.0
    max_live: int = 0
    keep_seconds: int = 86_400
    manifest: Callable[[], bytes] = bytes
    shared: Iterable[Packed] = ()


@dataclass(frozen=True, slots=True)
class News:
    """What happened since the client last looked: finished roots, the run's end, and a bookmark."""

    roots: tuple[int, ...] = ()
    ended: RunState | None = None
    bookmark: str = ""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How far a run is.

    Attributes
    ----------
    state
        None if there is no such run.
    done
        Segments whose output is official.
    live
        Lineages taken for alive.
    begun
        How often a lineage has begun, repeats included.
    """

    state: RunState | None
    done: int = 0
    live: int = 0
    begun: int = 0
