"""What an Executor remembers of what it did, for the record of its run (wukong/storage/notes.py).

The driver tells it things; it keeps a tuple for each segment, and writes all of them at the end of
the Executor, or every few thousand segments. The driver's steps of one segment follow one another,
so the segment in hand needs no name until its output is packed.

    reading ─> read ─> loading ─> loaded ─> ran ─> packed ─> arrived
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from executor.overflow import with_cost
from wukong.messages import ExecutorEvent, Start
from wukong.storage import Begun, Claim, DataRef, Lineage, Storage, StorageError
from wukong.storage.notes import HAND_OFF_COLUMNS, STEP_COLUMNS, Note, Place, Way, table
from wukong.storage.serialisation import Data, Packed

PIECE = 4096
"""So many segments are written at once, about 200 KB."""

ARRIVE, ARRIVED = (list(STEP_COLUMNS).index(name) for name in ("arrive", "arrived"))

WIDTH = len(STEP_COLUMNS)

_now = time.monotonic


class Silent:
    """Remembers nothing, for runs that want no record."""

    def began(self, begun: Sequence[Begun], stopped: int) -> None:
        """Note the lineages that this Executor may run, and how many it may not."""

    def reading(self) -> None:
        """Note that inputs are about to be read."""

    def read(
        self,
        claim: Claim,
        data: Mapping[DataRef, Data | None],
        ways: Mapping[Way, Collection[DataRef]],
    ) -> None:
        """Note how inputs have come, by way; of those with several, the last named counts."""

    def loading(self) -> None:
        """Note that the segment is about to be made ready to run."""

    def loaded(self) -> None:
        """Note that the segment could run."""

    def ran(self, began: float, seconds: float) -> None:
        """Note when its tasks began (`time.monotonic`), and how long they took."""

    def packed(self, lineage: Lineage, claim: Claim, output: Packed) -> None:
        """Note that its output is ready to be sent."""

    def arrived(self, claim: Claim, seconds: float, here: Sequence[Claim]) -> None:
        """Note that the output is official, and which segments this has made ready here."""

    def handing_off(self) -> None:
        """Note that Executors are about to be started."""

    def handed_off(self, accepted: int) -> None:
        """Note that they have been."""

    def failed(self, lineage: Lineage, claim: Claim) -> None:
        """Note that the segment in hand has ended the run."""

    def flush(self) -> None:
        """Write what is remembered, if it is much."""

    def close(self) -> None:
        """Write what is remembered."""


class Recorder(Silent):
    """Remembers what one Executor does."""

    def __init__(self, event: ExecutorEvent, storage: Storage, token: str, place: Place) -> None:
        self._event = event
        self._storage = storage
        self._token = token
        self._place = place
        self._wall = time.time()
        self._zero = self._at = self._computing = self._starting = _now()
        self._fetch = self._compute = 0.0
        self._has_read = False
        self._how = b""
        self._lineages: tuple[Start, ...] = ()
        self._stopped = 0
        self._failed: int | None = None
        self._ready: dict[int, float] = {}
        self._began = 0.0
        # Packed, and not yet known to have arrived: where their rows are.
        self._open: dict[int, int] = {}
        self._clear()

    def _clear(self) -> None:
        # One row after another: as a list of its own, each would cost twice as much.
        self._cells: list[float] = []
        self._ways = bytearray()
        self._hand_offs: list[float] = []
        self._traffic = [0] * len(Way)

    def began(self, begun: Sequence[Begun], stopped: int) -> None:
        """Note the lineages that this Executor may run, and how many it may not."""
        if not self._lineages:
            self._began = _now() - self._zero
        self._lineages += tuple(Start(one.lineage.segment, one.lineage.epoch) for one in begun)
        self._stopped += stopped

    def reading(self) -> None:
        """Note that inputs are about to be read."""
        self._at = _now()
        self._has_read = True

    def read(
        self,
        claim: Claim,
        data: Mapping[DataRef, Data | None],
        ways: Mapping[Way, Collection[DataRef]],
    ) -> None:
        """Note how inputs have come, by way; of those with several, the last named counts."""
        how = {ref: way for way, refs in ways.items() for ref in refs}
        for ref, way in how.items():
            self._traffic[way] += len(data.get(ref) or b"")
        self._how = bytes([how.get(ref, Way.MEMORY) for ref in claim.inputs])

    def loading(self) -> None:
        """Note that the segment is about to be made ready to run."""
        if not self._has_read:
            self._at = _now()
            self._how = b""

    def loaded(self) -> None:
        """Note that the segment could run."""
        self._fetch = _now() - self._at
        self._has_read = False

    def ran(self, began: float, seconds: float) -> None:
        """Note when its tasks began (`time.monotonic`), and how long they took."""
        self._computing = began
        self._compute = seconds

    def packed(self, lineage: Lineage, claim: Claim, output: Packed) -> None:
        """Note that its output is ready to be sent."""
        pack = _now() - self._computing - self._compute
        self._open[claim.segment] = self._add(lineage, claim, pack, len(output))

    def _add(self, lineage: Lineage, claim: Claim, pack: float, size: int) -> int:
        """Add a row, and give its place."""
        segment, zero, place = claim.segment, self._zero, len(self._cells)
        self._ways += self._how or bytes(len(claim.inputs))
        self._cells += (
            segment,
            lineage.segment,
            self._ready.pop(segment, self._began),
            self._at - zero,
            self._fetch,
            self._computing - zero,
            self._compute,
            pack,
            0.0,
            -1.0,
            size,
            len(claim.inputs),
        )
        return place

    def arrived(self, claim: Claim, seconds: float, here: Sequence[Claim]) -> None:
        """Note that the output is official, and which segments this has made ready here."""
        at = _now() - self._zero
        place = self._open.pop(claim.segment, None)
        # None if it was written already, or if two epochs of a lineage are both here.
        if place is not None:
            self._cells[place + ARRIVE], self._cells[place + ARRIVED] = seconds, at
        for child in here:
            self._ready[child.segment] = at

    def handing_off(self) -> None:
        """Note that Executors are about to be started."""
        self._starting = _now()

    def handed_off(self, accepted: int) -> None:
        """Note that they have been."""
        at = self._starting - self._zero
        self._hand_offs += (at, _now() - self._starting, accepted)

    def failed(self, lineage: Lineage, claim: Claim) -> None:
        """Note that the segment in hand has ended the run."""
        self._failed = claim.segment
        self._computing = max(self._computing, self._at)
        self._compute = _now() - self._computing
        self._add(lineage, claim, 0.0, 0)

    def flush(self) -> None:
        """Write what is remembered, if it is much."""
        if len(self._cells) >= PIECE * WIDTH:
            self._write()

    def close(self) -> None:
        """Write what is remembered; a record that cannot be written costs nobody anything."""
        if self._lineages or self._cells:
            self._write()

    def _write(self) -> None:
        note = Note(
            token=self._token,
            parent=self._event.parent,
            reason=self._event.reason,
            hop=self._event.hop,
            lineages=self._lineages,
            stopped=self._stopped,
            place=with_cost(self._place),
            began=self._wall,
            ended=_now() - self._zero,
            failed=self._failed,
            traffic=tuple(self._traffic),
            steps=table(STEP_COLUMNS, self._cells),
            ways=array("B", self._ways),
            hand_offs=table(HAND_OFF_COLUMNS, self._hand_offs),
        )
        self._lineages, self._stopped = (), 0
        self._open.clear()
        self._clear()
        with suppress(StorageError):
            self._storage.note(self._event.run, note.to_bytes())


def recorder_of(event: ExecutorEvent, storage: Storage, token: str, place: Place) -> Silent:
    """Give what remembers an Executor, as its run wants it."""
    return Recorder(event, storage, token, place) if event.record else Silent()
