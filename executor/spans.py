"""A span for each segment that an Executor runs, made of what its recorder is told.

It stands before the recorder and passes everything on, so that who traces nothing pays nothing. How
many spans there are at most, `wukong.platform.tracing` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from executor.recorder import Silent
from wukong.platform.tracing import Attributes, Untraced
from wukong.storage import Begun, Claim, DataRef, Lineage
from wukong.storage.notes import Way
from wukong.storage.serialisation import Data, Packed

SEGMENT = "wukong.segment"


class Spans(Silent):
    """Makes spans for one thread of an Executor.

    Parameters
    ----------
    recorder
        Who is to be told as well.
    trace
        The Executor's span.
    """

    def __init__(self, recorder: Silent, trace: Untraced) -> None:
        self._recorder = recorder
        self._trace = trace
        # 0 while no segment is in hand.
        self._since = 0
        self._seconds = 0.0
        self.task: Callable[[], str] = str
        """Names the task that ran last."""

    def began(self, begun: Sequence[Begun], stopped: int) -> None:
        """Note the lineages that this Executor may run, and how many it may not."""
        self._recorder.began(begun, stopped)

    def reading(self) -> None:
        """Note that inputs are about to be read."""
        self._since = time.time_ns()
        self._recorder.reading()

    def read(
        self,
        claim: Claim,
        data: Mapping[DataRef, Data | None],
        ways: Mapping[Way, Collection[DataRef]],
    ) -> None:
        """Note how inputs have come."""
        self._recorder.read(claim, data, ways)

    def loading(self) -> None:
        """Note that the segment is about to be made ready to run."""
        self._since = self._since or time.time_ns()
        self._recorder.loading()

    def loaded(self) -> None:
        """Note that the segment could run."""
        self._recorder.loaded()

    def ran(self, began: float, seconds: float) -> None:
        """Note when its tasks began, and how long they took."""
        self._seconds = seconds
        self._recorder.ran(began, seconds)

    def packed(self, lineage: Lineage, claim: Claim, output: Packed) -> None:
        """Make the span; of an output that was held and is sent after all, there is one already."""
        if self._since:
            self._add(lineage, claim, {"wukong.bytes": len(output)})
        self._recorder.packed(lineage, claim, output)

    def arrived(self, claim: Claim, seconds: float, here: Sequence[Claim]) -> None:
        """Note that the output is official."""
        self._recorder.arrived(claim, seconds, here)

    def handing_off(self) -> None:
        """Note that Executors are about to be started."""
        self._recorder.handing_off()

    def handed_off(self, accepted: int) -> None:
        """Note that they have been."""
        self._recorder.handed_off(accepted)

    def failed(self, lineage: Lineage, claim: Claim) -> None:
        """Make the span of the segment that has ended the run."""
        self._since = self._since or time.time_ns()
        self._add(lineage, claim, {}, "it has ended the run")
        self._recorder.failed(lineage, claim)

    def flush(self) -> None:
        """Pass it on."""
        self._recorder.flush()

    def close(self) -> None:
        """Pass it on."""
        self._recorder.close()

    def _add(
        self, lineage: Lineage, claim: Claim, more: Mapping[str, int], error: str = ""
    ) -> None:
        attributes: Attributes = {
            "wukong.segment": claim.segment,
            "wukong.lineage": lineage.segment,
            "wukong.epoch": lineage.epoch,
            "wukong.task": self.task(),
            "wukong.inputs": len(claim.inputs),
            "wukong.compute_seconds": self._seconds,
            **more,
        }
        self._trace.add(SEGMENT, self._since, time.time_ns(), attributes, error)
        self._since, self._seconds = 0, 0.0
