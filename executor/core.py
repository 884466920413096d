"""The core of the Executor: a state machine without I/O, one for each lineage.

Events go in, instructions come out; a driver performs them and gives back what happened. So the
rules can be tested without storage, clock or threads, and every driver runs the same ones.

    Began ─> Fetch ─> Fetched ─> Compute ─> Computed ─> Arrive ─> Arrived ─┬─> (next segment)
        └─ TimeUp ─> PassOn         │                      │               └─> Halt
                                    └─> Failed ─> Fail     └─> Fenced ─> Halt

State: `ready`, the segments that this lineage owns and may run, best last; `memory`, the outputs
that it holds; `uses`, how many owned segments still consume an output; `ran`, what has run.

Invariants (`validate`): every ready segment is owned by this lineage and runs at most once; memory
holds only outputs that a ready segment consumes; nothing happens after Halt.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from wukong.messages import Start
from wukong.storage import Claim, DataRef, Lineage


@dataclass(frozen=True, slots=True)
class Began:
    """The lineage may run; these segments are its own."""

    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """The inputs that were asked for are in memory."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Computed:
    """The segment ran; its output is in memory."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class ArrivedAt:
    """The output is official; what follows from it."""

    claim: Claim
    here: tuple[Claim, ...]
    handed_off: tuple[Start, ...]
    deletable: tuple[DataRef, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """A task raised, or an input is missing."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class FencedOff:
    """Somebody else acts for this lineage, or the run has ended."""


@dataclass(frozen=True, slots=True)
class TimeUp:
    """The Executor has no time for what it was instructed to do next."""


Event = Began | Fetched | Computed | ArrivedAt | Failed | FencedOff | TimeUp


@dataclass(frozen=True, slots=True)
class Fetch:
    """Read these inputs into memory."""

    claim: Claim
    refs: tuple[DataRef, ...]


@dataclass(frozen=True, slots=True)
class Compute:
    """Run the segment on the inputs in memory."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Arrive:
    """Store the output and let it arrive; `last` if this lineage has nothing else to do."""

    claim: Claim
    last: bool


@dataclass(frozen=True, slots=True)
class HandOff:
    """Have Executors started for these lineages."""

    starts: tuple[Start, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete data that nobody reads any more."""

    refs: tuple[DataRef, ...]


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop these outputs from memory."""

    segments: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PassOn:
    """Leave the lineage, with all that it owns, to an Executor to be started."""


@dataclass(frozen=True, slots=True)
class Halt:
    """This lineage is over; `known` if the store need not be told so."""

    known: bool = False


Instruction = Fetch | Compute | Arrive | HandOff | Delete | Forget | PassOn | Halt


@dataclass(slots=True)
class Core:
    """The state of one lineage; see the module's docstring."""

    lineage: Lineage
    ready: list[Claim] = field(default_factory=list)
    memory: set[int] = field(default_factory=set)
    uses: dict[int, int] = field(default_factory=dict)
    ran: list[int] = field(default_factory=list)
    halted: bool = False

    def step(self, event: Event) -> Sequence[Instruction]:
        """Take one event and give what is to be done, in order."""
        match event:
            case Began(claims):
                self._own(claims)
                return self._next()
            case Fetched(claim):
                self.memory.update(ref.segment for ref in claim.inputs)
                return [Compute(claim)]
            case Computed(claim):
                self.memory.add(claim.segment)
                self.ran.append(claim.segment)
                return [Arrive(claim, last=not self.ready)]
            case ArrivedAt():
                return self._arrived(event)
            case Failed() | FencedOff():
                self.ready.clear()
                self.uses.clear()
                # The store has told us, or has been told.
                return [*self._forget(self.memory), *self._next(known=True)]
            case TimeUp():
                self.ready.clear()
                self.uses.clear()
                self.halted = True
                return [*self._forget(self.memory), PassOn()]

    def _arrived(self, event: ArrivedAt) -> Sequence[Instruction]:
        self._own(event.here)
        consumed = [ref.segment for ref in event.claim.inputs]
        for segment in consumed:
            self.uses[segment] -= 1
        instructions: list[Instruction] = []
        if event.handed_off:
            instructions.append(HandOff(event.handed_off))
        if event.deletable:
            instructions.append(Delete(event.deletable))
        idle = self._forget([*consumed, event.claim.segment])
        # An arrival without anything ready was the last unless it was given something.
        return [*instructions, *idle, *self._next(known=True)]

    def _own(self, claims: Sequence[Claim]) -> None:
        # They come best first, and the last of `ready` runs next.
        self.ready.extend(reversed(claims))
        for claim in claims:
            for ref in claim.inputs:
                self.uses[ref.segment] = self.uses.get(ref.segment, 0) + 1

    def _next(self, *, known: bool = False) -> Sequence[Instruction]:
        if not self.ready:
            self.halted = True
            return [Halt(known)]
        claim = self.ready.pop()
        missing = tuple(ref for ref in claim.inputs if ref.segment not in self.memory)
        return [Fetch(claim, missing)] if missing else [Compute(claim)]

    def _forget(self, segments: Collection[int]) -> Sequence[Instruction]:
        idle = tuple(sorted(x for x in set(segments) if x in self.memory and not self.uses.get(x)))
        self.memory -= set(idle)
        for segment in idle:
            self.uses.pop(segment, None)
        return [Forget(idle)] if idle else []

    def validate(self) -> None:
        """Check the invariants; tests call it after every event.

        Raises
        ------
        AssertionError
            That names the invariant which does not hold.
        """
        waiting = [claim.segment for claim in self.ready]
        if len(set(waiting)) != len(waiting):
            raise AssertionError(f"a segment is ready twice: {waiting}")
        if set(waiting) & set(self.ran):
            raise AssertionError(f"a segment would run again: {waiting}, ran {self.ran}")
        if self.halted and (self.ready or self.memory):
            raise AssertionError(f"halted with {waiting} ready and {self.memory} in memory")
