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
from collections.abc import Sequence

from wukong.messages import Start
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
)


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
