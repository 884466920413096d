"""How one Executor that has begun many short lineages saves round trips: outputs arrive together.

A segment that is known to be short runs although outputs are waiting to arrive; all of them then
arrive in one round trip. One that is long, or of a kind that has not run here yet, has them arrive
first, so that nobody waits for it. So what is batched follows from what was measured, and a lineage
that is alone in its Executor is never kept waiting.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from executor.clock import CLOCK, Clock
from executor.core import Core, Instruction
from executor.values import Values
from wukong.graph.spec import Spec
from wukong.storage import Arrival, Claim
from wukong.storage.serialisation import Frames, Packed

BATCH_SECONDS = 0.005
BATCH_ARRIVALS = 64
BATCH_BYTES = 262_144
"""How long, and up to how much, outputs wait for each other."""


@dataclass(eq=False, slots=True)
class Walk:
    """One lineage on its way: its core, what it is to do, the values that it holds.

    `spec` is the specification that was read last, of segment `read`; `output`, what is packed and
    has not been sent; `sent`, how many bytes of it were, the last time; `after`, the segment whose
    output arrived last.
    """

    core: Core
    todo: deque[Instruction]
    values: Values = field(default_factory=Values)
    spec: Spec | None = None
    read: int = -1
    output: Packed = b""
    sent: int = 0
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """An output that is to arrive, and what was held for it."""

    walk: Walk
    claim: Claim
    arrival: Arrival
    held: tuple[Claim, ...] = ()


class Batch:
    """The outputs that are to arrive together."""

    def __init__(self, clock: Clock = CLOCK) -> None:
        self._clock = clock
        self.pending: list[Pending] = []
        self._bytes = 0
        self._since = 0.0

    def add(self, one: Pending) -> None:
        """Add an output."""
        if not self.pending:
            self._since = self._clock.now()
        self.pending.append(one)
        self._bytes += len(one.arrival.output)

    def take(self) -> list[Pending]:
        """Give all of them, and begin anew."""
        taken, self.pending, self._bytes = self.pending, [], 0
        return taken

    def is_full(self) -> bool:
        """Tell whether they have waited long enough, or are enough.

        A large output is the memory of the value itself, which the next segment may change.
        """
        return bool(self.pending) and (
            isinstance(self.pending[-1].arrival.output, Frames)
            or len(self.pending) >= BATCH_ARRIVALS
            or self._bytes >= BATCH_BYTES
            or self._clock.now() - self._since >= BATCH_SECONDS
        )
