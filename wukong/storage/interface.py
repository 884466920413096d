"""What a storage back-end does: the steps of a run that must be atomic, and the bytes of outputs.

State of a run, the same in every back-end (N segments, numbered from 0):

    state             running, cancelled, failed or done; checked first by every step
    done[d]           the output of segment d is official
    count[c]          how many inputs of segment c have arrived
    claim[c]          which lineage owns segment c
    refs[d]           consumers of d that have not arrived; a root counts its client as one
    lease[s]          until when lineage s is taken for alive
    epoch[s]          which attempt of lineage s is current, and whether it has begun
    version[d]        'lineage.epoch.token' of the official data of d

What makes it safe when invocations are delivered twice, die, or come back from the dead:

1. Data is stored before its segment arrives, under a name that only this invocation uses, so
   nobody overwrites official bytes.
2. `arrive` flips done[d] and counts at all children in one step, so a repeated call counts nothing.
3. Claims belong to lineages, so a repeated call, or the next epoch, is given the same children.
4. Whoever is not of its lineage's current epoch gets `Fenced` and stops at once.
5. A lineage says which of its outputs arrived before (`after`). A store that was restarted without
   its last writes does not know it any more; then the lineage is fenced, and driven again.

`tests/storage/test_contract.py` holds every back-end to this.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from wukong.errors import WukongError
from wukong.messages import Start
from wukong.storage.serialisation import Data, Packed


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


class Storage(abc.ABC):
    """A storage back-end. Methods are safe to repeat; `StorageError` says it is unreachable."""

    @abc.abstractmethod
    def create(self, new: NewRun) -> None:
        """Write a new run; its leaves are claimed by their lineages and may begin.

        What taking the specifications raises is passed on, and nothing of the run is left then.
        """

    @abc.abstractmethod
    def manifest(self, run: str) -> bytes | None:
        """Give the manifest that a run was created with; None if there is no such run."""

    @abc.abstractmethod
    def begin(self, run: str, starts: Sequence[Start], token: str) -> list[Begun | None]:
        """Begin lineages; None for each that must not run (duplicate, stale, or the run ended).

        `token` is new for each invocation, repeats by Lambda included; the same token is let in
        again, as its first reply may have been lost.
        """

    @abc.abstractmethod
    def arrive_all(
        self, run: str, arrivals: Sequence[tuple[Lineage, Arrival]]
    ) -> list[Arrived | None]:
        """Store outputs and make them official, in order and in one round trip; None if fenced."""

    def arrive(self, run: str, lineage: Lineage, arrival: Arrival) -> Arrived:
        """Store one output and make it official; raises `Fenced`."""
        (arrived,) = self.arrive_all(run, [(lineage, arrival)])
        if arrived is None:
            raise Fenced
        return arrived

    @abc.abstractmethod
    def hold(
        self, run: str, lineage: Lineage, segment: int, child: tuple[int, int], after: int | None
    ) -> Claim | None:
        """Own the only child of a segment whose output is not stored, if it waits for that alone.

        None if it waits for others too. The output becomes official with the child's (`held`); as
        nobody else consumes it, nobody has seen it if this lineage begins anew.

        Parameters
        ----------
        child
            The child and the number of its inputs.
        after
            The segment whose output this lineage had arrive before, if any.

        Raises
        ------
        Fenced
            If somebody else acts for this lineage.
        """

    @abc.abstractmethod
    def owned(self, run: str, lineage: Lineage) -> list[Claim]:
        """Give what a re-driven lineage owns, has not done, and can run; raises `Fenced`.

        A segment whose input an earlier attempt held back is given when that input has arrived.
        """

    @abc.abstractmethod
    def unbegun(self, run: str, lineage: Lineage) -> list[Start]:
        """Give what a lineage has handed off and nobody has begun, in order of segments.

        Its Executor may have ended before it had them started; or their events are on their way.
        """

    @abc.abstractmethod
    def beat(self, run: str, lineages: Sequence[Lineage]) -> list[int]:
        """Extend leases; gives the segments of the lineages that were fenced meanwhile."""

    @abc.abstractmethod
    def finish(self, run: str, lineage: Lineage, after: int | None) -> None:
        """End a lineage that has nothing left to do; no error if it has ended already."""

    @abc.abstractmethod
    def pass_on(self, run: str, lineage: Lineage) -> Start:
        """Leave a lineage, with all that it owns, to an Executor to be started; raises `Fenced`."""

    @abc.abstractmethod
    def reap(self, run: str, most: int = 100, late_seconds: float = 0.0) -> list[Start]:
        """Give lineages whose lease expired so long ago, each with the epoch to start it again in.

        One that had begun gets its next epoch, which fences the old one off; one that was handed
        off and has not begun keeps its epoch: its event may only be waiting somewhere.
        """

    @abc.abstractmethod
    def expire(self, run: str, segments: Sequence[int]) -> None:
        """Take the leases of lineages for over whose Executor is known to have died."""

    @abc.abstractmethod
    def stop(self, run: str, state: RunState, failure: bytes = b"") -> bool:
        """End a running run; False if it had ended already. The first failure is kept."""

    @abc.abstractmethod
    def failure(self, run: str) -> bytes | None:
        """Give the failure that ended the run, as it was given to `stop`."""

    @abc.abstractmethod
    def news(self, run: str, bookmark: str, timeout: float) -> News:
        """Wait up to `timeout` seconds for roots or the end; consumes nothing."""

    @abc.abstractmethod
    def status(self, run: str) -> RunStatus:
        """Tell how far a run is."""

    @abc.abstractmethod
    def read(self, run: str, refs: Sequence[DataRef]) -> list[Data | None]:
        """Read outputs; None for what is not there."""

    @abc.abstractmethod
    def versions(self, run: str, segments: Sequence[int]) -> list[DataRef | None]:
        """Name the official data of segments; None for a segment that is not done."""

    @abc.abstractmethod
    def free(self, run: str, refs: Sequence[DataRef]) -> None:
        """Delete those of these outputs that no consumer waits for."""

    @abc.abstractmethod
    def put_batch(self, run: str, name: str, events: bytes) -> None:
        """Keep a batch of Executor events for the Invoker."""

    @abc.abstractmethod
    def get_batch(self, run: str, name: str) -> bytes | None:
        """Read a batch of Executor events."""

    @abc.abstractmethod
    def note(self, run: str, blob: bytes) -> None:
        """Add what an Executor notes of itself; nothing happens if there is no such run."""

    @abc.abstractmethod
    def notes(self, run: str) -> list[bytes]:
        """Give what Executors have noted, in the order in which it came."""

    @abc.abstractmethod
    def drop(self, run: str) -> None:
        """Delete everything of a run."""

    @abc.abstractmethod
    def runs(self) -> list[str]:
        """Give the ids of the runs that are there, in no order; looks at every key of the store."""

    @abc.abstractmethod
    def ping(self) -> None:
        """Raise `StorageError` unless the storage answers."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give back connections."""
