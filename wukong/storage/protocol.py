"""The control state of one run in Python, with the same steps as protocol.lua: its twin.

A differential test drives both with the same steps. The caller makes each step atomic, and passes
the time, so that tests let leases expire without waiting. Only a running run takes steps: whoever
comes later is fenced, or told nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wukong.messages import Start
from wukong.storage.pages import Page
from wukong.storage.terms import (
    INLINE_BYTES,
    INLINE_INPUTS,
    Arrival,
    Arrived,
    Begun,
    Claim,
    DataRef,
    Fenced,
    Lineage,
    NewRun,
    RunState,
)


@dataclass
class Attempt:
    """The current attempt of a lineage; no token while it is handed off and has not begun."""

    epoch: int = 1
    token: str | None = None
    finished: bool = False
    handed_off_by: int | None = None

    @property
    def is_unbegun(self) -> bool:
        """Tell whether no attempt of this lineage has ever begun."""
        return self.epoch == 1 and self.token is None and not self.finished


@dataclass
class Control:
    """One run; names are those of `interface`, and `left` that of protocol.lua."""

    new: NewRun
    specs: list[bytes]
    clock: Callable[[], float]
    state: RunState = RunState.RUNNING
    failure: bytes | None = None
    begun: int = 0
    done: set[int] = field(default_factory=set)
    count: dict[int, int] = field(default_factory=dict)
    claim: dict[int, int] = field(default_factory=dict)
    refs: dict[int, int] = field(default_factory=dict)
    lease: dict[int, float] = field(default_factory=dict)
    attempts: dict[int, Attempt] = field(default_factory=dict)
    version: dict[int, str] = field(default_factory=dict)
    data: dict[DataRef, bytes] = field(default_factory=dict)
    news: list[int | RunState] = field(default_factory=list)
    left: dict[int, tuple[int, Sequence[Page]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.refs.update(enumerate(self.new.references))
        for leaf in self.new.leaves:
            self._hand_off(leaf, None)

    @property
    def is_running(self) -> bool:
        """Tell whether the run has not ended."""
        return self.state is RunState.RUNNING

    def is_current(self, lineage: Lineage) -> bool:
        """Tell whether this is the attempt of its lineage that may act."""
        attempt = self.attempts.get(lineage.segment)
        return (
            self.is_running
            and attempt is not None
            and not attempt.finished
            and attempt.token == lineage.token
            and attempt.epoch == lineage.epoch
        )

    def begin(self, start: Start, token: str) -> Begun | None:
        """Begin a lineage; None if it must not run."""
        segment, attempt = start.segment, self.attempts.get(start.segment)
        if not self.is_running or attempt is None or attempt.finished:
            return None
        if start.epoch < attempt.epoch:
            return None
        if attempt.token is not None and attempt.token != token:
            if self.lease.get(segment, 0.0) > self.clock():
                return None
            attempt.epoch += 1
        attempt.token = token
        self.begun += 1
        self._extend(segment)
        lineage = Lineage(segment, attempt.epoch, token)
        return Begun(lineage, self._claimed(segment), self.new.lease_seconds)

    def arrive(self, lineage: Lineage, arrival: Arrival, pages: Sequence[Page]) -> Arrived:
        """Make an output official, and count what is on the first page; raises `Fenced`."""
        self._own(lineage, arrival.segment)
        if not self._is_known(arrival.after):
            raise Fenced
        version = lineage.version
        self.data[DataRef(arrival.segment, version)] = bytes(arrival.output)
        new = arrival.segment not in self.done
        if new:
            self.done.add(arrival.segment)
            self.version[arrival.segment] = version
        if new and len(pages) > 1:
            self.left[arrival.segment] = (1, pages)
        held = self._settled(arrival)
        here, handed_off, deletable = self._counted(lineage, arrival.segment, pages[0], new=new)
        if arrival.root and new:
            self.news.append(arrival.segment)
        if arrival.last and len(pages) == 1 and not here:
            self._finish(lineage)
        return Arrived(here, handed_off, held + deletable)

    def more(self, lineage: Lineage, segment: int, number: int, pages: Sequence[Page]) -> Arrived:
        """Count what is on a further page of an arrival; raises `Fenced`."""
        self._own(lineage, segment)
        new = segment in self.left and self.left[segment][0] == number
        if new and number + 1 < len(pages):
            self.left[segment] = (number + 1, pages)
        elif new:
            del self.left[segment]
        return Arrived(*self._counted(lineage, segment, pages[number], new=new, first=False))

    def _settled(self, arrival: Arrival) -> tuple[DataRef, ...]:
        """Make official what was held for an arrival."""
        deletable: list[DataRef] = []
        for one in arrival.held:
            new = one.segment not in self.done
            self.done.add(one.segment)
            deletable += self._consumed(one.inputs, new=new)
        return tuple(deletable)

    def _consumed(self, inputs: Sequence[int], *, new: bool) -> list[DataRef]:
        for x in inputs:
            self.refs[x] -= new
        return [
            DataRef(x, self.version[x]) for x in inputs if self.refs[x] == 0 and x in self.version
        ]

    def _counted(
        self, lineage: Lineage, segment: int, page: Page, *, new: bool, first: bool = True
    ) -> tuple[tuple[Claim, ...], tuple[Start, ...], tuple[DataRef, ...]]:
        """Count at the inputs and children on a page; only the first one keeps a child here."""
        deletable = self._consumed(page.inputs, new=new)
        here: list[int] = []
        handed_off: list[Start] = []
        for child, need in page.children:
            self.count[child] = self.count.get(child, 0) + new
            if child in self.done:
                continue
            owner = self.claim.get(child)
            if owner is None and self.count[child] >= need:
                if (first and not here) or 0 < self.new.max_live <= len(self.lease):
                    owner = self.claim[child] = lineage.segment
                else:
                    owner = child
                    self._hand_off(child, lineage.segment)
            if owner == lineage.segment:
                here.append(child)
            elif owner == child and self.attempts[child].is_unbegun:
                handed_off.append(Start(child))
        claims = tuple(self._claimed(child, segment) for child in here)
        return claims, tuple(handed_off), tuple(deletable)

    def hold(
        self, lineage: Lineage, segment: int, child: tuple[int, int], after: int | None
    ) -> Claim | None:
        """Own the only child of a segment that is not stored; raises `Fenced`."""
        self._own(lineage, segment)
        if not self._is_known(after):
            raise Fenced
        number, need = child
        if number in self.done or segment in self.done:
            return None
        owner = self.claim.get(number)
        if owner is None and self.count.get(number, 0) + 1 >= need:
            owner = self.claim[number] = lineage.segment
        return self._claimed(number, segment) if owner == lineage.segment else None

    def owned(self, lineage: Lineage) -> list[Claim]:
        """Give what a lineage owns and can run, when its arrivals are whole; raises `Fenced`."""
        self._act(lineage)
        for segment, (page, pages) in sorted(self.left.items()):
            if self.claim.get(segment) == lineage.segment:
                for number in range(page, len(pages)):
                    self.more(lineage, segment, number, pages)
        return [
            self._claimed(segment)
            for segment, owner in sorted(self.claim.items())
            if owner == lineage.segment
            and segment not in self.done
            and all(x in self.version for x in self.new.inputs[segment])
        ]

    def unbegun(self, lineage: Lineage) -> list[Start]:
        """Give what a lineage has handed off and nobody has begun."""
        return [
            Start(child)
            for child, attempt in sorted(self.attempts.items())
            if self.is_running and attempt.is_unbegun and attempt.handed_off_by == lineage.segment
        ]

    def beat(self, lineages: Sequence[Lineage]) -> list[int]:
        """Extend leases; gives the segments of those that are fenced."""
        for lineage in lineages:
            if self.is_current(lineage):
                self._extend(lineage.segment)
        return [one.segment for one in lineages if not self.is_current(one)]

    def finish(self, lineage: Lineage, after: int | None) -> None:
        """End a lineage that has nothing left to do."""
        if self.is_current(lineage) and self._is_known(after):
            self._finish(lineage)

    def pass_on(self, lineage: Lineage) -> Start:
        """Leave a lineage to an Executor to be started; raises `Fenced`."""
        self._act(lineage)
        return self._next_epoch(lineage.segment)

    def reap(self, most: int, late_seconds: float) -> list[Start]:
        """Give lineages whose lease is over, to be started again."""
        if not self.is_running:
            return []
        over = self.clock() - late_seconds
        # As in the other store, those of one moment are in the order of their names.
        expired = sorted((until, str(s), s) for s, until in self.lease.items() if until <= over)
        return [self._next_epoch(segment) for *_, segment in expired[:most]]

    def expire(self, segments: Sequence[int]) -> None:
        """Take leases for over."""
        now = self.clock()
        self.lease.update(dict.fromkeys(self.lease.keys() & set(segments), now))

    def stop(self, state: RunState, failure: bytes) -> bool:
        """End the run; False if it has ended."""
        if not self.is_running:
            return False
        self.state, self.failure = state, failure or None
        self.news.append(state)
        return True

    def free(self, refs: Sequence[DataRef]) -> None:
        """Delete those of these outputs that no consumer waits for."""
        for ref in refs:
            if self.refs[ref.segment] == 0:
                self.data.pop(ref, None)

    def _claimed(self, segment: int, held: int | None = None) -> Claim:
        """Give what an Executor needs to run a segment; it has the output of `held`."""
        inputs = self.new.inputs[segment]
        refs = tuple(DataRef(x, self.version.get(x, "")) for x in inputs)
        values = tuple(
            self._small(ref) if ref.segment != held and place < INLINE_INPUTS else None
            for place, ref in enumerate(refs)
        )
        return Claim(segment, self.specs[segment], refs, values)

    def _small(self, ref: DataRef) -> bytes | None:
        data = self.data.get(ref, b"")
        return data if 0 < len(data) <= INLINE_BYTES else None

    def _is_known(self, after: int | None) -> bool:
        """Tell whether a lineage's arrival before this call has not been lost."""
        return after is None or after in self.done

    def _act(self, lineage: Lineage) -> None:
        if not self.is_current(lineage):
            raise Fenced
        self._extend(lineage.segment)

    def _own(self, lineage: Lineage, segment: int) -> None:
        self._act(lineage)
        if self.claim.get(segment) != lineage.segment:
            raise Fenced

    def _hand_off(self, child: int, by: int | None) -> None:
        self.claim[child] = child
        self.attempts[child] = Attempt(handed_off_by=by)
        self.lease[child] = self.clock() + self.new.handoff_seconds

    def _next_epoch(self, segment: int) -> Start:
        """Have a lineage begun again: in its next epoch, or in the same if it has not begun."""
        attempt = self.attempts[segment]
        if attempt.token is not None:
            attempt.epoch, attempt.token = attempt.epoch + 1, None
        self.lease[segment] = self.clock() + self.new.handoff_seconds
        return Start(segment, attempt.epoch)

    def _extend(self, segment: int) -> None:
        self.lease[segment] = self.clock() + self.new.lease_seconds

    def _finish(self, lineage: Lineage) -> None:
        self.lease.pop(lineage.segment, None)
        self.attempts[lineage.segment].finished = True
