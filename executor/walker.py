"""One thread of an Executor: runs lineages one after another, as their cores instruct.

A failing task ends the run, with the remote traceback. Outputs of short segments arrive together
(batch.py); children that are worth less than starting an Executor are kept (work.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from executor.batch import Batch, Pending, Walk
from executor.compression import compression_for
from executor.core import (
    Arrive,
    ArrivedAt,
    Began,
    Compute,
    Computed,
    Core,
    Delete,
    Event,
    Failed,
    FencedOff,
    Fetch,
    Fetched,
    Forget,
    Halt,
    HandOff,
    Held,
    Hold,
    Instruction,
    PassOn,
    TimeUp,
)
from executor.heartbeat import Heartbeat
from executor.memory import explain
from executor.reading import Reader
from executor.recorder import Silent
from executor.work import Work
from wukong.graph.shared import shared_of
from wukong.graph.spec import Spec
from wukong.messages import Reason, Start
from wukong.storage import (
    Arrival,
    Begun,
    Claim,
    DataRef,
    Fenced,
    Lineage,
    StorageError,
    Unstored,
    pages,
)
from wukong.storage.serialisation import Packed, pack

RESERVE_SECONDS = 10.0
"""Kept back at the end of an invocation: to store an output, and to leave the rest to another."""

LONGER = 1.5
"""How much longer than the longest segment so far the next one may be."""


def named(lineage: Lineage | Start) -> str:
    """Name a lineage in a log, `segment.epoch`, as its data is named."""
    return f"{lineage.segment}.{lineage.epoch}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an Executor may take.

    Attributes
    ----------
    seconds_left
        Gives how long this invocation may still run.
    start_seconds
        What starting an Executor costs; segments that take less together are run in place.
    memory_mb
        The memory of the function; 0 outside of one.
    """

    seconds_left: Callable[[], float]
    start_seconds: float
    memory_mb: int = 0


class Walker:
    """Runs lineages of `work` until there are none."""

    def __init__(self, work: Work, heartbeat: Heartbeat, recorder: Silent, limits: Limits) -> None:
        self._work = work
        self._run = work.run
        self._storage = work.storage
        self._heartbeat = heartbeat
        self.recorder = recorder
        self._reader = Reader(work, recorder)
        self._limits = limits
        self._compression = compression_for(work.storage)
        self._garbage: list[DataRef] = []
        self._clock = work.clock
        self._batch = Batch(work.clock)
        self._going: deque[Walk] = deque()
        self._inputs: Iterable[object] = ()
        self.task = "(none)"
        self.since: float | None = None
        self.busy = 0.0
        self.stored = self.fenced = 0

    def run(self) -> None:
        """Advance lineages in turn, those that have got furthest first."""
        while not self._work.failed:
            walk = self._next()
            if walk is not None:
                self._advance(walk)
                if not walk.todo and walk.core.halted:
                    self._heartbeat.release(walk.core.lineage)
                if self._batch.is_full():
                    self._flush()
            elif self._batch.pending:
                self._flush()
            elif not self._work.wait():
                break
        self._storage.free(self._run, self._garbage)
        self.recorder.close()

    def _next(self) -> Walk | None:
        if self._going:
            return self._going.popleft()
        begun = self._work.next(self.recorder, self._heartbeat)
        return None if begun is None else self._open(begun)

    def _open(self, begun: Begun) -> Walk:
        core = Core(begun.lineage)
        return Walk(core, deque(core.step(Began(self._claims(begun)))))

    def _claims(self, begun: Begun) -> tuple[Claim, ...]:
        """Give what a lineage starts with: its start segment, or on a re-drive all that it owns."""
        if begun.lineage.epoch == 1:
            return (begun.claim,)
        with suppress(Fenced):
            claims = tuple(self._storage.owned(self._run, begun.lineage))
            if left := self._storage.unbegun(self._run, begun.lineage):
                # Whoever had this lineage may have ended before these were started.
                self._work.hand_off(left, Reason.AGAIN)
            return claims
        return ()

    def _advance(self, walk: Walk) -> None:
        """Perform what a lineage is to do, until an output of it is ready to arrive."""
        while walk.todo:
            instruction = walk.todo.popleft()
            if isinstance(instruction, Fetch | Compute) and self._is_time_up():
                walk.todo.extend(walk.core.step(TimeUp(instruction.claim)))
                continue
            event = self._perform(walk, instruction)
            if isinstance(event, Failed):
                self.recorder.failed(walk.core.lineage, event.claim)
            if event is not None:
                walk.todo.extend(walk.core.step(event))

    def _fail(
        self,
        walk: Walk,
        claim: Claim,
        task: str,
        what: str = "",
        error: BaseException | None = None,
    ) -> Failed:
        """End the run, because of a segment."""
        inputs = self._inputs if task == self.task else ()
        where = {"segment": claim.segment, "lineage": named(walk.core.lineage)}
        self._work.fail(task, what, error, inputs, where)
        return Failed(claim)

    def _perform(self, walk: Walk, instruction: Instruction) -> Event | None:
        match instruction:
            case Fetch(claim, refs):
                return self._fetch(walk, claim, refs)
            case Compute(claim):
                return self._compute(walk, claim)
            case Hold(claim):
                return self._hold(walk, claim)
            case Arrive():
                return self._prepare(walk, instruction)
            case HandOff(starts):
                self._fan_out(walk, starts)
            case Delete(refs):
                # With the next arrival, which then costs no round trip of its own.
                self._garbage += refs
            case Forget(segments):
                walk.values.forget(segments)
            case PassOn():
                self.recorder.handing_off()
                self.recorder.handed_off(self._work.pass_on([walk.core.lineage]))
            case Halt(known) if not known:
                self._storage.finish(self._run, walk.core.lineage, walk.after)
        return None

    def _is_time_up(self) -> bool:
        """Tell whether a segment as long as the longest so far might not end in time.

        The first one always runs: where it does not fit, none would.
        """
        longest = self._work.pace.longest
        return bool(longest) and self._limits.seconds_left() < RESERVE_SECONDS + LONGER * longest

    def _fetch(self, walk: Walk, claim: Claim, refs: Sequence[DataRef]) -> Event:
        self.recorder.reading()
        for ref, data in zip(refs, self._reader.read(claim, refs), strict=True):
            if data is None and not self._reader.is_still_so(walk.core.lineage, claim):
                # A newer epoch has done this already and freed the inputs, or the store has lost
                # its last writes: not ours to complain.
                return FencedOff()
            if data is None:
                return self._fail(
                    walk,
                    claim,
                    f"(input of segment {claim.segment})",
                    f"output {ref.version} of segment {ref.segment} is not in the store: it was "
                    "evicted, or has outlived its time",
                )
            try:
                walk.values.read(ref.segment, data)
            except BaseException as error:  # noqa: BLE001 - user classes decide what unpickling raises
                return self._is_unreadable(walk, claim, error)
        return Fetched(claim)

    def _is_unreadable(self, walk: Walk, claim: Claim, error: BaseException) -> Failed:
        what = f"(input of segment {claim.segment})"
        return self._fail(walk, claim, what, "cannot be unpickled", error)

    def _spec(self, walk: Walk, claim: Claim) -> Spec:
        """Read a specification; raises whatever importing the tasks' modules raises."""
        if walk.spec is None or walk.read != claim.segment:
            walk.spec = Spec.from_bytes(claim.spec, shared_of(self._storage, self._run))
            walk.read = claim.segment
        return walk.spec

    def _compute(self, walk: Walk, claim: Claim) -> Event:
        self.task, self._inputs = f"(segment {claim.segment})", ()
        self.recorder.loading()
        try:
            spec = self._spec(walk, claim)
            is_short = self._work.pace.is_short(spec)
        except StorageError:
            raise
        except BaseException as error:  # noqa: BLE001 - the tasks' modules decide what importing raises
            return self._fail(walk, claim, self.task, "", error)
        self.recorder.loaded()
        if not is_short:
            # What is done already is not to wait for it.
            self._flush()
        try:
            inputs, spent = walk.values.take(claim)
        except BaseException as error:  # noqa: BLE001 - user classes decide what unpickling raises
            return self._is_unreadable(walk, claim, error)
        try:
            value, began, seconds = self._run_tasks(spec, inputs)
        except BaseException as error:  # noqa: BLE001 - also SystemExit: a task must not end us
            explain(error, self._limits.memory_mb)
            return self._fail(walk, claim, self.task, "", error)
        self._work.took(spec, seconds)
        self.recorder.ran(began, seconds)
        self._trim(walk, spec)
        return self._computed(walk, claim, spec, value, spent)

    def _run_tasks(self, spec: Spec, inputs: Mapping[int, object]) -> tuple[object, float, float]:
        """Run a segment's tasks: output, begin and seconds; raises whatever they raise."""
        began = self.since = self._clock.now()
        try:
            value = spec.run(inputs, self._on_task, self._work.event.retries)
        finally:
            self.since = None
            seconds = self._clock.now() - began
            self.busy += seconds
        return value, began, seconds

    def _on_task(self, key: object, inputs: Iterable[object]) -> None:
        """Note which task runs, and whose values it is given."""
        self.task, self._inputs = str(key), inputs

    def _computed(
        self, walk: Walk, claim: Claim, spec: Spec, value: object, spent: tuple[int, ...]
    ) -> Event:
        """Pack the output, and tell whether it is worth holding back."""
        try:
            walk.output = self._compression.packed(pack(value))
        except BaseException as error:  # noqa: BLE001 - user classes decide what pickling raises
            return self._fail(walk, claim, self.task, "its value cannot be pickled", error)
        alone = len(spec.children) == 1 and not spec.root
        walk.values.made(claim.segment, value, walk.output, len(spec.children))
        # What is held is counted in the call of whatever it is held for, which must not take long.
        alone &= len(spec.inputs) <= pages.PAGE
        return Computed(claim, alone and self._compression.is_slow(walk.output), spent)

    def _hold(self, walk: Walk, claim: Claim) -> Event:
        """Ask whether the only consumer of an output can run here at once."""
        ((child, need),) = self._spec(walk, claim).children
        lineage = walk.core.lineage
        try:
            own = self._storage.hold(self._run, lineage, claim.segment, (child, need), walk.after)
        except Fenced:
            return FencedOff()
        if own is not None:
            self.recorder.packed(lineage, claim, b"")
            walk.output = b""
        return Held(claim, own)

    def _prepare(self, walk: Walk, arrive: Arrive) -> Event | None:
        """Put an output among those that are to arrive; the lineage goes on when it has."""
        claim = arrive.claim
        spec = self._spec(walk, claim)
        output = walk.output or self._packed_again(walk, claim)
        arrival = Arrival(
            segment=claim.segment,
            output=output,
            root=spec.root,
            inputs=tuple(segment for segment, _ in spec.inputs),
            children=spec.children,
            last=arrive.last,
            after=walk.after,
            held=tuple(
                Unstored(one.segment, tuple(ref.segment for ref in one.inputs))
                for one in arrive.held
            ),
        )
        walk.output = b""
        self._batch.add(Pending(walk, claim, arrival, arrive.held))
        self.recorder.packed(walk.core.lineage, claim, output)
        return None

    def _packed_again(self, walk: Walk, claim: Claim) -> Packed:
        """Pack an output that was held, and is stored after all."""
        return self._compression.packed(pack(walk.values[claim.segment]))

    def _flush(self) -> None:
        """Let what has been computed arrive, and do at once what others may be waiting for."""
        pending = self._batch.take()
        if not pending:
            return
        first = replace(pending[0].arrival, garbage=tuple(self._garbage))
        arrivals = [first, *(one.arrival for one in pending[1:])]
        lineages = [one.walk.core.lineage for one in pending]
        begun = self._clock.now()
        arrived = self._storage.arrive_all(self._run, list(zip(lineages, arrivals, strict=True)))
        size = sum(len(arrival.output) for arrival in arrivals)
        seconds = self._clock.now() - begun
        self._compression.sent(size, seconds)
        self.stored += size
        self._garbage.clear()
        for one, answer in zip(pending, arrived, strict=True):
            event: Event = FencedOff()
            if answer is not None:
                self._work.tally.segments += [claim.segment for claim in (*one.held, one.claim)]
                for claim in one.held:
                    self.recorder.arrived(claim, 0.0, ())
                self.recorder.arrived(one.claim, seconds, answer.here)
                one.walk.after = one.claim.segment
                event = ArrivedAt(one.claim, answer.here, answer.handed_off, answer.deletable)
            else:
                self._note_fenced(one)
            one.walk.sent = len(one.arrival.output)
            one.walk.todo.extend(one.walk.core.step(event))
            while one.walk.todo and not isinstance(one.walk.todo[0], Fetch | Compute):
                self._perform(one.walk, one.walk.todo.popleft())
        self._going.extendleft(one.walk for one in reversed(pending))
        self.recorder.flush()

    def _note_fenced(self, one: Pending) -> None:
        lineage = one.walk.core.lineage
        self.fenced += 1
        self._work.lines.say("fenced", segment=one.claim.segment, lineage=named(lineage))

    def _fan_out(self, walk: Walk, starts: Sequence[Start]) -> None:
        """Keep as many children as are worth less than starting an Executor; hand off the rest."""
        worth = self._worth(walk)
        claims = [one.claim for one in walk.todo if isinstance(one, Fetch | Compute)]
        if not worth or not claims:
            self._hand_off(starts)
            return
        try:
            room = self._work.pace.room(self._spec(walk, claims[0]), worth)
        except StorageError:
            raise
        except BaseException:  # noqa: BLE001 - the specification cannot be read: whoever runs it is told
            room = 0
        if room is None:
            self._work.keep(starts)
            self._work.rent(worth)
            return
        self._work.keep(starts[:room])
        if away := starts[room:]:
            self._hand_off(away, room)

    def _worth(self, walk: Walk) -> float:
        """Give what it costs to have another Executor run a child: its start, and to read again."""
        start = self._limits.start_seconds
        return start and start + self._compression.seconds_for(walk.sent)

    def _trim(self, walk: Walk, spec: Spec) -> None:
        """Now that a segment has run: hand off what is kept beyond what is worth one start."""
        if self._work.has_kept:
            room = self._work.pace.room(spec, self._worth(walk)) or 0
            if away := self._work.release(room):
                self._hand_off(away, room)

    def _hand_off(self, starts: Sequence[Start], together: int = 1) -> None:
        self.recorder.handing_off()
        self.recorder.handed_off(self._work.hand_off(starts, Reason.FAN_OUT, together))
