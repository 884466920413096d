"""Performs what the core instructs: the driver for Lambda and for workers on this machine.

One Executor begins all lineages of its event in one round trip and runs them one after another; a
thread of its own keeps their leases alive. A failing task ends the run, with the remote traceback.
"""

from __future__ import annotations

import math
import pickle
import threading
import time
import traceback
import uuid
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from executor.batch import Batch, Pace, Pending, Walk
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
    Instruction,
    PassOn,
    TimeUp,
)
from executor.inputs import inputs_of
from executor.recorder import recorder_of
from wukong.graph.shared import shared_of
from wukong.graph.spec import Spec
from wukong.messages import MAX_HOPS, ExecutorEvent, Reason, Start
from wukong.platform.interface import Platform
from wukong.storage import (
    Arrival,
    Begun,
    Claim,
    DataRef,
    Fenced,
    Lineage,
    RunState,
    Storage,
    StorageError,
)
from wukong.storage.notes import Place, Way
from wukong.storage.serialisation import Failure, dumps, loads, pack

RESERVE_SECONDS = 10.0
"""Kept back at the end of an invocation: to store an output, and to leave the rest to another."""

TOKEN_LENGTH = 12
"""It is part of the name of each output, and need only differ from the run's other invocations."""

LONGER = 1.5
"""How much longer than the longest segment so far the next one may be."""


@dataclass(slots=True)
class Tally:
    """What an Executor did, for its answer and its log line."""

    lineages: int = 0
    stopped: int = 0
    segments: list[int] = field(default_factory=list)
    handed_off: int = 0
    passed_on: int = 0


class Driver:
    """Runs the lineages of one event.

    Parameters
    ----------
    event
        What this Executor was asked for.
    platform
        Gives the platform when something is handed off; most Executors never ask.
    seconds_left
        Gives how long this invocation may still run.
    place
        Where this is, for the record of the run.
    """

    def __init__(
        self,
        event: ExecutorEvent,
        storage: Storage,
        platform: Callable[[], Platform],
        seconds_left: Callable[[], float] = lambda: math.inf,
        place: Place = Place(),  # noqa: B008 - it is frozen
    ) -> None:
        self._event = event
        self._run = event.run
        self._storage = storage
        self._earlier = inputs_of(storage)
        self._compression = compression_for(storage)
        self._platform = platform
        # Not the invocation's id: when Lambda repeats an invocation that died, it has the same one.
        self._token = uuid.uuid4().hex[:TOKEN_LENGTH]
        self._record = recorder_of(event, storage, self._token, place)
        self._shared: dict[DataRef, bytes | bytearray | None] = {}
        self._garbage: list[DataRef] = []
        self._task = "(none)"
        self._inputs: Iterable[object] = ()
        self._failed = False
        self._seconds_left = seconds_left
        self._pace = Pace()
        self._batch = Batch()
        self._going: deque[Walk] = deque()
        self._tally = Tally()

    def execute(self) -> Tally:
        """Run everything, until no lineage of this event has anything left to do.

        Raises
        ------
        StorageError
            If the storage is lost; the leases then expire and the work is re-driven.
        """
        if self._event.hop > MAX_HOPS:
            self._fail("(hand-off)", f"a chain of more than {MAX_HOPS} Executors is a runaway")
            return self._tally
        begun = self._storage.begin(self._run, self._event.starts, self._token)
        alive = [one for one in begun if one is not None]
        self._tally.lineages = len(alive)
        self._tally.stopped = len(begun) - len(alive)
        self._record.began(alive, self._tally.stopped)
        with Heartbeat(self._storage, self._run, alive) as heartbeat:
            self._share(alive)
            self._walk_all(alive, heartbeat)
            self._storage.free(self._run, self._garbage)
        self._record.close()
        return self._tally

    def _walk_all(self, begun: Sequence[Begun], heartbeat: Heartbeat) -> None:
        """Advance the lineages in turn, those that have got furthest first."""
        waiting = deque(begun)
        while not self._failed and (waiting or self._going or self._batch.pending):
            if not waiting and not self._going:
                self._flush()
                continue
            walk = self._going.popleft() if self._going else self._open(waiting.popleft())
            self._advance(walk)
            if not walk.todo and walk.core.halted:
                heartbeat.release(walk.core.lineage)
            if self._batch.is_full():
                self._flush()

    def _flush(self) -> None:
        """Let what has been computed arrive, and do at once what others may be waiting for."""
        pending = self._batch.take()
        if not pending:
            return
        first = replace(pending[0].arrival, garbage=tuple(self._garbage))
        arrivals = [first, *(one.arrival for one in pending[1:])]
        lineages = [one.walk.core.lineage for one in pending]
        begun = time.perf_counter()
        arrived = self._storage.arrive_all(self._run, list(zip(lineages, arrivals, strict=True)))
        size = sum(len(arrival.output) for arrival in arrivals)
        seconds = time.perf_counter() - begun
        self._compression.sent(size, seconds)
        self._garbage.clear()
        for one, answer in zip(pending, arrived, strict=True):
            event: Event = FencedOff()
            if answer is not None:
                self._tally.segments.append(one.claim.segment)
                self._record.arrived(one.claim, seconds, answer.here)
                one.walk.after = one.claim.segment
                event = ArrivedAt(one.claim, answer.here, answer.handed_off, answer.deletable)
            one.walk.todo.extend(one.walk.core.step(event))
            while one.walk.todo and not isinstance(one.walk.todo[0], Fetch | Compute):
                self._perform(one.walk, one.walk.todo.popleft())
        self._going.extendleft(one.walk for one in reversed(pending))
        self._record.flush()

    def _share(self, begun: Sequence[Begun]) -> None:
        """Read once what more than one of these lineages begins with, such as a fan-out's value."""
        uses = Counter(ref for one in begun for ref in one.claim.inputs)
        refs = [ref for ref, times in uses.items() if times > 1]
        if refs:
            data = self._earlier.read(self._run, refs)
            self._shared = dict(zip(refs, data, strict=True))

    def _read(self, claim: Claim, refs: Sequence[DataRef]) -> list[bytes | bytearray | None]:
        """Give the data of inputs: what came with the claim, what is shared, and the rest."""
        known: dict[DataRef, bytes | bytearray | None] = dict(
            zip(claim.inputs, claim.values, strict=False)
        )
        known = {ref: data for ref, data in known.items() if data is not None}
        shared = {ref: self._shared[ref] for ref in refs if self._shared.get(ref)}
        ways: dict[Way, Collection[DataRef]] = {
            Way.CLAIM: [ref for ref in refs if ref in known],
            Way.GROUP: shared,
        }
        known |= shared
        missing = [ref for ref in refs if ref not in known]
        if missing:
            ways[Way.STORE] = missing
            ways[Way.PROCESS] = self._earlier.known(self._run, missing)
            known |= dict(zip(missing, self._earlier.read(self._run, missing), strict=True))
        self._record.read(claim, known, ways)
        return [known[ref] for ref in refs]

    def _open(self, begun: Begun) -> Walk:
        core = Core(begun.lineage)
        return Walk(core, deque(core.step(Began(self._claims(begun)))))

    def _advance(self, walk: Walk) -> None:
        """Perform what a lineage is to do, until an output of it is ready to arrive."""
        while walk.todo:
            instruction = walk.todo.popleft()
            if isinstance(instruction, Fetch | Compute) and self._is_time_up():
                walk.todo.extend(walk.core.step(TimeUp()))
                continue
            event = self._perform(walk, instruction)
            if isinstance(event, Failed):
                self._record.failed(walk.core.lineage, event.claim)
            if event is not None:
                walk.todo.extend(walk.core.step(event))

    def _claims(self, begun: Begun) -> tuple[Claim, ...]:
        """Give what a lineage starts with: its start segment, or on a re-drive all that it owns."""
        if begun.lineage.epoch == 1:
            return (begun.claim,)
        with suppress(Fenced):
            return tuple(self._storage.owned(self._run, begun.lineage))
        return ()

    def _perform(self, walk: Walk, instruction: Instruction) -> Event | None:
        match instruction:
            case Fetch(claim, refs):
                return self._fetch(walk, claim, refs)
            case Compute(claim):
                return self._compute(walk, claim)
            case Arrive(claim, last):
                return self._prepare(walk, claim, last)
            case HandOff(starts):
                self._hand_off(starts, Reason.FAN_OUT)
            case Delete(refs):
                # With the next arrival, which then costs no round trip of its own.
                self._garbage += refs
            case Forget(segments):
                for segment in segments:
                    walk.values.pop(segment, None)
            case PassOn():
                self._pass_on(walk.core.lineage)
            case Halt(known) if not known:
                self._storage.finish(self._run, walk.core.lineage, walk.after)
        return None

    def _is_time_up(self) -> bool:
        """Tell whether a segment as long as the longest so far might not end in time.

        The first one always runs: where it does not fit, none would.
        """
        if not self._pace.longest:
            return False
        return self._seconds_left() < RESERVE_SECONDS + LONGER * self._pace.longest

    def _pass_on(self, lineage: Lineage) -> None:
        with suppress(Fenced):
            start = self._storage.pass_on(self._run, lineage)
            self._tally.passed_on += 1
            self._hand_off([start], Reason.TIME)

    def _fetch(self, walk: Walk, claim: Claim, refs: Sequence[DataRef]) -> Event:
        self._record.reading()
        for ref, data in zip(refs, self._read(claim, refs), strict=True):
            if data is None and not self._is_still_so(walk.core.lineage, claim):
                # A newer epoch has done this already and freed the inputs, or the store has lost
                # its last writes: not ours to complain.
                return FencedOff()
            if data is None:
                self._fail(
                    f"(input of segment {claim.segment})",
                    f"output {ref.version} of segment {ref.segment} is not in the store: it was "
                    "evicted, or has outlived its time",
                )
                return Failed(claim)
            try:
                walk.values[ref.segment] = loads(data)
            except Exception as error:  # noqa: BLE001 - user classes decide what unpickling raises
                self._fail(f"(input of segment {claim.segment})", "cannot be unpickled", error)
                return Failed(claim)
        return Fetched(claim)

    def _is_still_so(self, lineage: Lineage, claim: Claim) -> bool:
        """Tell whether the store says the same of a claim as it did."""
        with suppress(Fenced):
            owned = self._storage.owned(self._run, lineage)
            return any((one.segment, one.inputs) == (claim.segment, claim.inputs) for one in owned)
        return False

    def _compute(self, walk: Walk, claim: Claim) -> Event:
        self._task, self._inputs = f"(segment {claim.segment})", ()
        self._record.loading()
        try:
            spec = walk.spec = Spec.from_bytes(claim.spec, shared_of(self._storage, self._run))
        except Exception as error:  # noqa: BLE001 - the tasks' modules decide what importing raises
            self._fail(self._task, "", error)
            return Failed(claim)
        self._record.loaded()
        if not self._pace.is_short(spec):
            # What is done already is not to wait for it.
            self._flush()
        began = time.monotonic()
        try:
            walk.values[claim.segment] = spec.run(walk.values, self._on_task, self._event.retries)
        except BaseException as error:  # noqa: BLE001 - also SystemExit: a task must not end us
            self._fail(self._task, "", error)
            return Failed(claim)
        seconds = time.monotonic() - began
        self._pace.took(spec, seconds)
        self._record.ran(began, seconds)
        return Computed(claim)

    def _on_task(self, key: object, inputs: Iterable[object]) -> None:
        """Note which task runs, and whose values it is given."""
        self._task, self._inputs = str(key), inputs

    def _prepare(self, walk: Walk, claim: Claim, last: bool) -> Event | None:
        """Put an output among those that are to arrive; the lineage goes on when it has."""
        spec = walk.spec
        assert spec is not None  # noqa: S101 -- nothing arrives that was not computed
        try:
            output = self._compression.packed(pack(walk.values[claim.segment]))
        except Exception as error:  # noqa: BLE001 - user classes decide what pickling raises
            self._fail(self._task, "its value cannot be pickled", error)
            return Failed(claim)
        arrival = Arrival(
            segment=claim.segment,
            output=output,
            root=spec.root,
            inputs=tuple(segment for segment, _ in spec.inputs),
            children=spec.children,
            last=last,
            after=walk.after,
        )
        self._batch.add(Pending(walk, claim, arrival))
        self._record.packed(walk.core.lineage, claim, output)
        return None

    def _hand_off(self, starts: Sequence[Start], reason: Reason) -> None:
        platform = self._platform()
        like = replace(self._event, hop=self._event.hop + 1, parent=self._token, reason=reason)
        events = [replace(like, starts=group) for group in platform.grouped(starts)]
        self._record.handing_off()
        # What is refused is not lost: its lease expires and the client has it started again.
        accepted = platform.start(events).accepted
        self._tally.handed_off += accepted
        self._record.handed_off(accepted)

    def _fail(self, task: str, what: str, error: BaseException | None = None) -> None:
        message = what if error is None else f"{type(error).__name__}: {error}"
        if error is not None and what:
            message = f"{what}: {message}"
        inputs = tuple(sorted(map(str, self._inputs)))
        failure = Failure(task, message, _traceback(error), _pickled(error), inputs)
        self._storage.stop(self._run, RunState.FAILED, failure.to_bytes())
        self._failed = True


class Heartbeat:
    """Extends the leases of lineages from a thread of its own, three times while each lasts."""

    def __init__(self, storage: Storage, run: str, begun: Sequence[Begun]) -> None:
        self._storage = storage
        self._run = run
        # In order, and quick to leave: one Executor may have begun hundreds.
        self._lineages = dict.fromkeys(one.lineage for one in begun)
        self._pause = min((one.lease_seconds for one in begun), default=0.0) / 3
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        if self._lineages:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def release(self, lineage: Lineage) -> None:
        """Stop extending the lease of a lineage that is over."""
        self._lineages.pop(lineage, None)

    def _beat(self) -> None:
        while not self._over.wait(self._pause):
            # A missed beat is made up by the next one; the main thread meets a lost store itself.
            with suppress(StorageError):
                self._storage.beat(self._run, list(self._lineages))


def _traceback(error: BaseException | None) -> str:
    if error is None:
        return ""
    return "".join(traceback.format_exception(error))


def _pickled(error: BaseException | None) -> bytes | None:
    if error is None:
        return None
    try:
        data = dumps(error)
        pickle.loads(data)  # noqa: S301 - our own bytes: some exceptions pickle but do not unpickle
    except Exception:  # noqa: BLE001 - the exception's class decides; its text travels anyway
        return None
    return data
