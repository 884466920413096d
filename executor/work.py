"""What the threads of one Executor share: the lineages that wait, and those that were kept.

A fan-out hands its children off to Executors that are started for them. Children that take less
time together than starting one does are kept instead: they stay handed off, as anybody's, until a
thread of this Executor has nothing else to do and begins them like an Executor that was started. So
nothing is lost if this one ends, and nothing waits if a segment turns out to be long: what is kept
is then handed off after all (`release`).

Of children of which nobody knows how long they take, all are kept for as long as starting one takes
(`rent`), or until the first has run: so the wait is never longer than what it may save. This is the
break-even rule of ski rental, the best there is for who does not know the future (Karlin et al.,
Competitive snoopy caching, Algorithmica 3, 1988).
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from executor.clock import CLOCK, Clock, Timer
from executor.heartbeat import Heartbeat
from executor.inputs import inputs_of
from executor.pace import Pace
from executor.recorder import Silent
from wukong.errors import WukongError
from wukong.graph.spec import Spec
from wukong.messages import ExecutorEvent, Reason, Start
from wukong.platform import tracing
from wukong.platform.interface import Platform
from wukong.platform.lines import LINE, NO_LINES, Lines
from wukong.storage import Begun, DataRef, Fenced, Lineage, RunState, Storage
from wukong.storage.serialisation import Failure
from wukong.storage.signing import SignatureError

WORTH_SECONDS = 0.01
"""Shorter tasks are mostly Python, of which one thread runs at a time anyway."""

KEPT_AT_ONCE = 64
"""So many of the lineages that were kept are begun together, in one round trip."""


@dataclass(slots=True)
class Tally:
    """What an Executor did, for its answer, its log line and its metrics.

    Attributes
    ----------
    lineages, stopped
        How many it began, and how many it was not let begin.
    segments
        Those whose outputs it made official.
    handed_off, throttled
        How many Executors it had started, and how often that was refused for want of concurrency.
    passed_on, kept
        Lineages that it left to others for want of time, and that it kept for itself.
    failed, fenced
        Tasks and refusals that ended the run, and outputs that came too late.
    refused
        What storage gave with a signature that does not fit; None if all did.
    stored
        Bytes of outputs.
    busy
        Seconds that its threads spent in tasks.
    """

    lineages: int = 0
    stopped: int = 0
    segments: list[int] = field(default_factory=list)
    handed_off: int = 0
    throttled: int = 0
    passed_on: int = 0
    kept: int = 0
    failed: int = 0
    fenced: int = 0
    refused: SignatureError | None = None
    stored: int = 0
    busy: float = 0.0


class Work:
    """The work of one Executor.

    Parameters
    ----------
    token
        Who it is.
    platform
        Gives the platform when something is handed off; most Executors never ask.
    lines
        The log of this invocation.
    clock
        The time.
    """

    def __init__(
        self,
        event: ExecutorEvent,
        storage: Storage,
        token: str,
        platform: Callable[[], Platform],
        lines: Lines = NO_LINES,
        clock: Clock = CLOCK,
    ) -> None:
        self.event = event
        self.run = event.run
        self.storage = storage
        self.earlier = inputs_of(storage)
        self.pace = Pace()
        self.tally = Tally()
        self.lines = lines
        self.clock = clock
        self.failed = False
        self.shared: dict[DataRef, bytes] = {}
        self._token = token
        self._trace = tracing.current()
        self._platform = platform
        self._reached: Platform | None = None
        self._throttled_before = 0
        self._reaching = threading.Lock()
        self._busy = 0
        self._worth = threading.Event()
        self._waiting: deque[Begun] = deque()
        self._kept: deque[Start] = deque()
        self._seen: set[Start] = set()
        self._timer: Timer | None = None
        self._changed = threading.Condition()

    def begin(self, starts: Sequence[Start], recorder: Silent, heartbeat: Heartbeat) -> bool:
        """Begin lineages in one round trip; those that run already, or have run, are left.

        Tells whether any was begun.
        """
        # Two lineages that arrive again may hand off the same child, which would be let in twice.
        with self._changed:
            starts = [start for start in dict.fromkeys(starts) if start not in self._seen]
            self._seen.update(starts)
        begun = self.storage.begin(self.run, starts, self._token)
        alive = [one for one in begun if one is not None]
        self.tally.lineages += len(alive)
        self.tally.stopped += len(begun) - len(alive)
        recorder.began(alive, len(begun) - len(alive))
        heartbeat.add(alive)
        self._share(alive)
        with self._changed:
            self._waiting.extend(alive)
            self._changed.notify_all()
        return bool(alive)

    def _share(self, begun: Sequence[Begun]) -> None:
        """Read once what more than one of these lineages begins with, such as a fan-out's value."""
        uses = Counter(ref for one in begun for ref in one.claim.inputs)
        refs = [ref for ref, times in uses.items() if times > 1 and ref not in self.shared]
        if refs:
            data = zip(refs, self.earlier.read(self.run, refs), strict=True)
            # The memory of anything else becomes that of the value, which a task may change.
            self.shared = {ref: one for ref, one in data if isinstance(one, bytes)}

    def join(self, *, first: bool) -> None:
        """Take part, as a thread; others than the first wait until tasks are worth a thread."""
        if not first:
            self._worth.wait()
        with self._changed:
            self._busy += 1

    def took(self, spec: Spec, seconds: float) -> None:
        """Learn how long a segment took."""
        self.pace.took(spec, seconds)
        if seconds > WORTH_SECONDS:
            self._worth.set()

    def next(self, recorder: Silent, heartbeat: Heartbeat) -> Begun | None:
        """Give a lineage to run, if there is one."""
        while True:
            with self._changed:
                if self._waiting:
                    return self._waiting.popleft()
                chunk = self._take_kept()
            if not chunk:
                return None
            if not self.begin(chunk, recorder, heartbeat) and self._has_ended():
                self.release()

    def _has_ended(self) -> bool:
        return self.storage.status(self.run).state is not RunState.RUNNING

    def _take_kept(self) -> list[Start]:
        return [self._kept.popleft() for _ in range(min(KEPT_AT_ONCE, len(self._kept)))]

    def wait(self) -> bool:
        """Wait for other threads' work; False when there is none and nobody makes any."""
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._waiting or self._kept or self.failed or not self._busy
            )
            if self.failed or not (self._waiting or self._kept):
                self._cancel()
                self._worth.set()
                return False
            self._busy += 1
            return True

    def keep(self, starts: Sequence[Start]) -> None:
        """Keep lineages that were handed off, for a thread of this Executor to begin."""
        with self._changed:
            self.tally.kept += len(starts)
            self._kept.extend(starts)
            self._changed.notify_all()

    def rent(self, seconds: float) -> None:
        """Hand off what is kept after so long, unless it is known by then to be short."""
        with self._changed:
            self._cancel()
            self._timer = self.clock.later(seconds, self._buy)

    def _buy(self) -> None:
        with suppress(WukongError):
            if kept := self.release():
                self.hand_off(kept, Reason.FAN_OUT)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def has_kept(self) -> bool:
        """Tell whether anything is kept."""
        return bool(self._kept)

    def release(self, room: int = 0) -> list[Start]:
        """Give up what is kept beyond so many, for others to begin."""
        with self._changed:
            self._cancel()
            released = list(self._kept)[room:]
            for _ in released:
                self._kept.pop()
            self.tally.kept -= len(released)
        return released

    def rest(self) -> list[Lineage]:
        """Give up the lineages that have begun and that no thread has taken yet."""
        with self._changed:
            lineages = [one.lineage for one in self._waiting]
            self._waiting.clear()
        return lineages

    def hand_off(self, starts: Sequence[Start], reason: Reason, together: int = 1) -> int:
        """Have Executors started, for groups of so many if so many are worth starting one.

        Returns
        -------
        How many were accepted. What is refused is not lost: its lease expires.
        """
        platform = self._reach()
        groups: list[Sequence[Start]] = [*platform.grouped(starts)]
        if together > 1:
            groups = [starts[i : i + together] for i in range(0, len(starts), together)]
        return self._start(platform, groups, reason)

    def start_again(self, starts: Sequence[Start]) -> None:
        """Have started again what others have lost."""
        if starts:
            self._start(self._reach(), [(start,) for start in starts], Reason.AGAIN)

    def _reach(self) -> Platform:
        """Give the platform, which may have served other Executors before this one."""
        with self._reaching:
            if self._reached is None:
                self._reached = self._platform()
                self._throttled_before = self._reached.throttled
            return self._reached

    @property
    def throttled(self) -> int:
        """How often starts of this Executor were refused; those of all its threads, once each."""
        return self._reached.throttled - self._throttled_before if self._reached else 0

    def _start(self, platform: Platform, groups: Iterable[Sequence[Start]], reason: Reason) -> int:
        idle = 0 if self.tally.segments else self.event.idle + 1
        hop = self.event.hop + 1
        like = replace(self.event, hop=hop, idle=idle, parent=self._token, reason=reason)
        wanted = platform.events_for(like, groups)
        with self._trace.invoking(wanted) as events:
            accepted = platform.start(events).accepted
        self.tally.handed_off += accepted
        self.lines.say("hands off", reason=reason, executors=len(wanted), accepted=accepted)
        return accepted

    def pass_on(self, lineages: Sequence[Lineage]) -> int:
        """Leave lineages to Executors that are started for them; gives how many were accepted."""
        starts = []
        for lineage in lineages:
            with suppress(Fenced):
                starts.append(self.storage.pass_on(self.run, lineage))
        self.tally.passed_on += len(starts)
        return self.hand_off(starts, Reason.TIME) if starts else 0

    def fail(
        self,
        task: str,
        what: str,
        error: BaseException | None = None,
        inputs: Iterable[object] = (),
        where: Mapping[str, object] | None = None,
    ) -> None:
        """End the run, with what happened; `where` is for the log."""
        failure = Failure.of(task, what, error, inputs)
        self.lines.say("failed", task=task[:LINE], error=failure.message[:LINE], **(where or {}))
        self.end(failure)

    def refuse(self, error: SignatureError) -> None:
        """End the run, as something in storage has a signature that does not fit."""
        self.tally.refused = error
        self.lines.say("refused", why=error.message)
        self.end(Failure.of("(signature)", "", error))

    def end(self, failure: Failure) -> None:
        """End the run."""
        self.tally.failed += 1
        self.storage.stop(self.run, RunState.FAILED, failure.to_bytes())
        self.give_up()

    def give_up(self) -> None:
        """Have all threads of this Executor end."""
        with self._changed:
            self.failed = True
            self._changed.notify_all()
        self._worth.set()
