"""Where the inputs of a segment come from, nearest first: claim, group, process, store.

Small inputs come with the claim. What several lineages of one event begin with was read for all of
them (work.py), and what this process has read before it keeps (inputs.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

from executor.recorder import Silent
from executor.work import Work
from wukong.storage import Claim, DataRef, Fenced, Lineage
from wukong.storage.notes import Way
from wukong.storage.serialisation import Data


class Reader:
    """Reads the inputs of segments, and tells the recorder how they came."""

    def __init__(self, work: Work, recorder: Silent) -> None:
        self._work = work
        self._recorder = recorder

    def read(self, claim: Claim, refs: Sequence[DataRef]) -> list[Data | None]:
        """Give the data of these inputs of a segment; None for what is not there."""
        known: dict[DataRef, Data | None] = dict(zip(claim.inputs, claim.values, strict=False))
        known = {ref: data for ref, data in known.items() if data is not None}
        # Another thread may replace it meanwhile.
        together = self._work.shared
        shared = {ref: together[ref] for ref in refs if ref in together}
        ways: dict[Way, Collection[DataRef]] = {
            Way.CLAIM: [ref for ref in refs if ref in known],
            Way.GROUP: shared,
        }
        known |= shared
        missing = [ref for ref in refs if ref not in known]
        if missing:
            run, earlier = self._work.run, self._work.earlier
            ways[Way.STORE] = missing
            ways[Way.PROCESS] = earlier.known(run, missing)
            known |= dict(zip(missing, earlier.read(run, missing), strict=True))
        self._recorder.read(claim, known, ways)
        return [known[ref] for ref in refs]

    def is_still_so(self, lineage: Lineage, claim: Claim) -> bool:
        """Tell whether the store says the same of a claim as it did."""
        with suppress(Fenced):
            owned = self._work.storage.owned(self._work.run, lineage)
            return any((one.segment, one.inputs) == (claim.segment, claim.inputs) for one in owned)
        return False
