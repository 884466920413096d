"""The core of the Executor: a state machine without I/O, one for each lineage.

Events go in, instructions come out; a driver performs them and gives back what happened. So the
rules can be tested without storage, clock or threads, and every driver runs the same ones.

    Began ─> Fetch ─> Fetched ─> Compute ─> Computed ─> Arrive ─> Arrived ─┬─> (next segment)
        └─ TimeUp ─> PassOn         │           └─> Hold ─> Held ─┘        └─> Halt
                                    └─> Failed ─> Halt            Fenced ─> Halt

A big output that only one segment consumes is held back (delayed I/O): if it is the last input that
segment waits for, both run here, and the output is never stored. It becomes official together with
the next output of this lineage that is; so nobody has seen it if it has to be computed anew.

State: `ready`, the segments that this lineage owns and may run, best last; `hand`, the one that it
is at; `memory`, the outputs that it has; `uses`, how many owned segments still consume an output;
`held`, what has run and is not official, each the input of the next; `released`, what was held and
is stored after all; `ran`, what has run.

Invariants (`validate`): every ready segment is owned by this lineage and runs at most once; memory
holds only the output of the segment at hand, what is held, and what the segment at hand or a ready
one consumes; after Halt or PassOn nothing is left and no event comes. `story` tells what has
happened to a segment.
"""

from __future__ import annotations

from collections import deque
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
    """The segment ran; its output is in memory, and worth holding back or not.

    The inputs `spent` are not in memory any more: the task may have changed them.
    """

    claim: Claim
    hold: bool = False
    spent: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """The segment that consumes an output, now owned by this lineage; None if it has to wait."""

    claim: Claim
    child: Claim | None


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
    """The Executor has no time for the segment that it was instructed to run next."""

    claim: Claim


Event = Began | Fetched | Computed | Held | ArrivedAt | Failed | FencedOff | TimeUp


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
class Hold:
    """Find out whether the only segment that consumes an output can run here at once."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Arrive:
    """Store the output and let it arrive; `last` if this lineage has nothing else to do.

    What was `held` for it becomes official with it.
    """

    claim: Claim
    last: bool
    held: tuple[Claim, ...] = ()


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


Instruction = Fetch | Compute | Hold | Arrive | HandOff | Delete | Forget | PassOn | Halt

REMEMBERED = 1_000
"""So many events and instructions a core remembers, for its story."""


@dataclass(slots=True)
class Core:
    """The state of one lineage; see the module's docstring."""

    lineage: Lineage
    ready: list[Claim] = field(default_factory=list)
    hand: Claim | None = None
    memory: set[int] = field(default_factory=set)
    uses: dict[int, int] = field(default_factory=dict)
    held: list[Claim] = field(default_factory=list)
    released: set[int] = field(default_factory=set)
    ran: list[int] = field(default_factory=list)
    halted: bool = False
    past: deque[Event | Instruction] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def step(self, event: Event) -> Sequence[Instruction]:
        """Take one event and give what is to be done, in order."""
        instructions = self._step(event)
        self.past.append(event)
        self.past.extend(instructions)
        return instructions

    def _step(self, event: Event) -> Sequence[Instruction]:  # noqa: PLR0911 - one for each event
        match event:
            case Began(claims):
                self._own(claims)
                return self._next()
            case Fetched(claim):
                self.memory.update(ref.segment for ref in claim.inputs)
                return [Compute(claim)]
            case Computed(claim, hold, spent):
                self.memory.difference_update(spent)
                self.memory.add(claim.segment)
                self.ran.append(claim.segment)
                return [Hold(claim)] if hold else [self._arrive(claim)]
            case Held(claim, child):
                return [self._arrive(claim)] if child is None else self._hold(claim, child)
            case ArrivedAt():
                return self._arrived(event)
            case TimeUp(claim) if self.held:
                # What nobody else has is stored first, or it is computed again and again.
                self._disown(claim)
                kept = self._release()
                idle = {ref.segment for ref in claim.inputs} - {kept.segment}
                return [*self._forget(idle), self._arrive(kept)]
            case TimeUp():
                return [*self._let_go(), PassOn()]
            case Failed() | FencedOff():
                # The store has told us, or has been told.
                return [*self._let_go(), Halt(known=True)]

    def story(self, segment: int) -> list[str]:
        """Tell what has happened to a segment in this lineage, oldest first."""
        return [_told(one) for one in self.past if segment in _concerned(one)]

    def _arrive(self, claim: Claim) -> Arrive:
        return Arrive(claim, last=not self.ready, held=tuple(self.held))

    def _hold(self, claim: Claim, child: Claim) -> Sequence[Instruction]:
        self.held.append(claim)
        self._own([child])
        return [*self._consume(claim), *self._next()]

    def _release(self) -> Claim:
        self.hand = claim = self.held.pop()
        self.released.add(claim.segment)
        return claim

    def _let_go(self) -> Sequence[Instruction]:
        self.ready.clear()
        self.hand = None
        self.uses.clear()
        self.held.clear()
        self.halted = True
        return self._forget(self.memory)

    def _arrived(self, event: ArrivedAt) -> Sequence[Instruction]:
        self.held.clear()
        self._own(event.here)
        instructions: list[Instruction] = []
        if event.handed_off:
            instructions.append(HandOff(event.handed_off))
        if event.deletable:
            instructions.append(Delete(event.deletable))
        idle = self._consume(event.claim)
        # An arrival without anything ready was the last unless it was given something.
        return [*instructions, *idle, *self._next(known=True)]

    def _consume(self, claim: Claim) -> Sequence[Instruction]:
        """Let go of the inputs of a segment that has run, and of its output if nobody waits."""
        if claim.segment in self.released:
            # It let go of its inputs when it was held.
            return self._forget([claim.segment])
        consumed = [ref.segment for ref in claim.inputs]
        for segment in consumed:
            self.uses[segment] -= 1
        return self._forget([*consumed, claim.segment])

    def _disown(self, claim: Claim) -> None:
        for ref in claim.inputs:
            self.uses[ref.segment] -= 1

    def _own(self, claims: Sequence[Claim]) -> None:
        # They come best first, and the last of `ready` runs next.
        self.ready.extend(reversed(claims))
        for claim in claims:
            for ref in claim.inputs:
                self.uses[ref.segment] = self.uses.get(ref.segment, 0) + 1

    def _next(self, *, known: bool = False) -> Sequence[Instruction]:
        if not self.ready:
            self.halted, self.hand = True, None
            return [Halt(known)]
        self.hand = claim = self.ready.pop()
        missing = tuple(ref for ref in claim.inputs if ref.segment not in self.memory)
        return [Fetch(claim, missing)] if missing else [Compute(claim)]

    def _forget(self, segments: Collection[int]) -> Sequence[Instruction]:
        unused = {segment for segment in segments if not self.uses.get(segment)}
        for segment in unused:
            self.uses.pop(segment, None)
        idle = unused & self.memory
        self.memory -= idle
        return [Forget(tuple(sorted(idle)))] if idle else []

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
        if self.halted and (self.ready or self.memory or self.held):
            raise AssertionError(f"halted with {waiting} ready and {self.memory} in memory")
        # What was held for an output that is stored after all has been consumed by it.
        last = self.held[-1].segment if self.held else None
        if last is not None and last not in self.memory and not self.released & self.memory:
            raise AssertionError(f"{last} is held, but not in memory: {self.story(last)}")
        if idle := self.memory - self._wanted():
            raise AssertionError(f"{idle} in memory, which nobody waits for")
        if self._ended_early():
            raise AssertionError(f"{self.past[-1]} after the end")

    def _wanted(self) -> set[int]:
        """Give the outputs that there is a reason to have."""
        at_hand = [] if self.hand is None else [self.hand]
        inputs = {ref.segment for claim in (*self.ready, *at_hand) for ref in claim.inputs}
        return inputs.union(claim.segment for claim in (*self.held, *at_hand))

    def _ended_early(self) -> bool:
        """Tell whether anything has come after the last instruction."""
        places = [n for n, one in enumerate(self.past) if isinstance(one, Halt | PassOn)]
        return bool(places) and places[0] < len(self.past) - 1


def _concerned(one: Event | Instruction) -> set[int]:  # noqa: PLR0911 - one for each kind
    """Give the segments that an event or an instruction is about."""
    match one:
        case Began(claims):
            return {claim.segment for claim in claims}
        case Forget(segments):
            return set(segments)
        case Delete(refs):
            return {ref.segment for ref in refs}
        case HandOff(starts):
            return {start.segment for start in starts}
        case FencedOff() | PassOn() | Halt():
            return set()
        case Held(claim, child) if child is not None:
            return {claim.segment, child.segment}
        case ArrivedAt(claim, here):
            return {claim.segment, *(given.segment for given in here)}
        case _:
            return {one.claim.segment}


def _told(one: Event | Instruction) -> str:
    names = ", ".join(map(str, sorted(_concerned(one))))
    return f"{type(one).__name__} {names}"
