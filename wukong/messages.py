"""Every payload that travels between the client, the Invoker and the Executor.

Lambda takes JSON only, so that is the wire format; the values themselves (inputs, outputs)
never travel here, they are in storage. Each message is a frozen dataclass that checks what it
is given, because a payload comes from outside the function that reads it.

    client ──InvokerEvent──> Invoker ──ExecutorEvent──> Executor ──ExecutorEvent──> Executor
       └───────────────ExecutorEvent──────────────────────┘
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any, Self

from wukong.errors import WukongError

PROTOCOL = 1
"""Version of the messages. A function answers a message of another version with an error."""

PING: Mapping[str, str] = {"wukong": "ping"}
"""What a smoke test sends. Handlers answer it before anything else."""

MAX_IDLE_HOPS = 1_000
"""How many Executors without an official output may start one another in a row in a run.

The graph bounds the others, which may be millions; so Lambda's guard is off, which stops at 16.
https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
"""


class MessageError(WukongError):
    """A payload that is not a message of this protocol; says which field is wrong."""


def field_of(message: Mapping[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    """Give a field of a message; raises `MessageError` unless it is of that kind."""
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, kind):
        wanted = kind.__name__ if isinstance(kind, type) else " or ".join(k.__name__ for k in kind)
        raise MessageError(f"field {name!r}: expected {wanted}, got {value!r:.80}")
    return value


def header(message: object, kind: str) -> Mapping[str, Any]:
    """Give a message whose kind and protocol are right; raises `MessageError` otherwise."""
    if not isinstance(message, Mapping):
        raise MessageError(f"expected a JSON object, got {type(message).__name__}")
    if message.get("wukong") != kind:
        raise MessageError(f"field 'wukong': expected {kind!r}, got {message.get('wukong')!r:.80}")
    if message.get("protocol") != PROTOCOL:
        raise MessageError(
            f"field 'protocol': this package speaks {PROTOCOL}, the message "
            f"{message.get('protocol')!r:.80}; deploy client and functions of one release"
        )
    return message


def is_ping(event: object) -> bool:
    """Tell whether an event is the smoke test's ping."""
    return isinstance(event, Mapping) and event.get("wukong") == "ping"


def is_probe(event: object) -> bool:
    """Tell whether an event asks what the function runs on (`wukong.platform.environment`)."""
    return isinstance(event, Mapping) and event.get("wukong") == "probe"


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping: which function this is and what it runs on."""

    component: str
    version: str
    python: str

    def to_event(self) -> dict[str, Any]:
        """Give the JSON object that goes over the wire."""
        return {"wukong": "pong", "protocol": PROTOCOL, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Bundle:
    """Modules of the user's own that a run takes with it, as a zip in the run's storage.

    Attributes
    ----------
    blob
        Its number among what the run's specifications share.
    digest
        Of its bytes; by it an Executor knows what it has unpacked already.
    """

    blob: int
    digest: str


@dataclass(frozen=True, slots=True)
class Start:
    """One lineage that an Executor is asked to run: its start segment, and which attempt it is."""

    segment: int
    epoch: int = 1


@dataclass(frozen=True, slots=True)
class Targets:
    """The functions of a run, by names that `Invoke` takes (`name:version` pins a release)."""

    executor: str
    invoker: str


class Reason(enum.StrEnum):
    """Why an Executor is started."""

    LEAF = "leaf"
    """Its segments have no inputs; the client starts them."""
    FAN_OUT = "fan-out"
    """Its segments became ready together, and the Executor that saw it carries on with another."""
    TIME = "time"
    """The Executor before had no time left for the lineage."""
    AGAIN = "again"
    """The lease has expired: the Executor before was lost, or never began."""


@dataclass(frozen=True, slots=True)
class ExecutorEvent:
    """Asks for one Executor.

    Attributes
    ----------
    run
        Id of the run.
    starts
        The lineages that this Executor begins, in order; more than one where leaves are grouped.
    targets
        Which functions this run uses, so that all its Executors are of one release.
    hop
        How many Executors started one another before this one.
    retries
        How often a task that raises is run again.
    bundle
        The modules that the run takes with it; None if it needs none.
    record
        Whether Executors note what they do (wukong/storage/notes.py).
    parent
        Token of the Executor that asks; empty for the client.
    reason
        Why it asks.
    trace
        The span that it asks from, as W3C's `traceparent`; empty if nobody traces.
    idle
        How many of the latest hops had made no output official.
    """

    run: str
    starts: tuple[Start, ...]
    targets: Targets
    hop: int = 0
    retries: int = 0
    bundle: Bundle | None = None
    record: bool = True
    parent: str = ""
    reason: str = Reason.LEAF
    trace: str = ""
    idle: int = 0

    def to_event(self) -> dict[str, Any]:
        """Give the JSON object that goes over the wire."""
        message: dict[str, Any] = {
            "wukong": "execute",
            "protocol": PROTOCOL,
            "run": self.run,
            "starts": [[start.segment, start.epoch] for start in self.starts],
            "executor": self.targets.executor,
            "invoker": self.targets.invoker,
            "hop": self.hop,
            "idle": self.idle,
            "retries": self.retries,
            "record": int(self.record),
            "parent": self.parent,
            "reason": self.reason,
        }
        if self.bundle is not None:
            message["bundle"] = [self.bundle.blob, self.bundle.digest]
        return message | _traced(self.trace)

    def to_bytes(self) -> bytes:
        """Give the payload of an `Invoke` call."""
        before, after = _around_starts(replace(self, starts=()))
        starts = ",".join([f"[{start.segment},{start.epoch}]" for start in self.starts])
        return before + starts.encode() + after

    @classmethod
    def from_event(cls, event: object) -> Self:
        """Check and read a payload.

        Raises
        ------
        MessageError
            If a field is missing or of the wrong type; names the field.
        """
        message = header(event, "execute")
        return cls(
            run=field_of(message, "run", str),
            starts=_starts(field_of(message, "starts", list)),
            targets=Targets(field_of(message, "executor", str), field_of(message, "invoker", str)),
            hop=field_of(message, "hop", int),
            retries=field_of(message, "retries", int),
            bundle=_bundle(message.get("bundle")),
            record=bool(field_of(message, "record", int)),
            parent=field_of(message, "parent", str),
            reason=field_of(message, "reason", str),
            trace=field_of(message, "trace", str) if "trace" in message else "",
            idle=field_of(message, "idle", int) if "idle" in message else 0,
        )


@lru_cache(maxsize=16)
def _around_starts(event: ExecutorEvent) -> tuple[bytes, bytes]:
    """Give what events of a run have in common; an Invoker writes thousands of them."""
    text = json.dumps(event.to_event(), separators=(",", ":"))
    # Inside a string, quotation marks are escaped.
    before, mark, after = text.partition('"starts":[')
    return (before + mark).encode(), after.encode()


def _traced(trace: str) -> dict[str, str]:
    return {"trace": trace} if trace else {}


def _bundle(item: object) -> Bundle | None:
    match item:
        case None:
            return None
        case [int(blob), str(digest)] if blob >= 0:
            return Bundle(blob, digest)
    raise MessageError(f"field 'bundle': expected [blob, digest], got {item!r:.80}")


def _starts(items: object) -> tuple[Start, ...]:
    if not isinstance(items, list) or not items:
        raise MessageError("field 'starts': expected at least one [segment, epoch]")
    return tuple(_start(item) for item in items)


def _start(item: object) -> Start:
    match item:
        case [int(segment), int(epoch)] if segment >= 0 and epoch >= 1:
            return Start(segment, epoch)
    raise MessageError(f"field 'starts': expected [segment, epoch], got {item!r:.80}")


@dataclass(frozen=True, slots=True)
class InvokerEvent:
    """Asks the Invoker to start Executors: either the events themselves, or a storage key of them.

    Attributes
    ----------
    run
        Id of the run; also says which run's storage a key belongs to.
    events
        The Executors to start, inline; empty if `batch` is given.
    batch
        Name of a batch in the run's storage that holds the events, for batches over the payload
        limit (6 MB for a synchronous call).
        https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    depth
        How many Invokers have passed it on.
    id
        Names the batch in the run's state, where its outcome is kept; empty if it is not to be.
    again
        Whether it has been sent before, so that some of it may have been started.
    until
        Seconds since 1970 until which its sender waits for the answer; 0 if that is not known.
    trace
        As of an `ExecutorEvent`.
    """

    run: str
    events: tuple[ExecutorEvent, ...] = ()
    batch: str | None = None
    depth: int = 0
    id: str = ""
    again: bool = False
    until: float = 0.0
    trace: str = ""

    def to_event(self) -> dict[str, Any]:
        """Give the JSON object that goes over the wire."""
        message: dict[str, Any] = {
            "wukong": "invoke",
            "protocol": PROTOCOL,
            "run": self.run,
            "depth": self.depth,
            "id": self.id,
            "again": self.again,
            "until": self.until,
            **_traced(self.trace),
        }
        if self.batch is None:
            message["events"] = write_batch(self.events)
        else:
            message["batch"] = self.batch
        return message

    def to_bytes(self) -> bytes:
        """Give the payload of an `Invoke` call."""
        return json.dumps(self.to_event(), separators=(",", ":")).encode()

    @classmethod
    def from_event(cls, event: object) -> Self:
        """Check and read a payload; raises `MessageError` that names the field."""
        message = header(event, "invoke")
        run = field_of(message, "run", str)
        if ("events" in message) == ("batch" in message):
            raise MessageError("expected exactly one of the fields 'events' and 'batch'")
        again = message.get("again", False)
        if not isinstance(again, bool):
            raise MessageError(f"field 'again': expected true or false, got {again!r:.80}")
        inline = "events" in message
        return cls(
            run,
            events=read_batch(field_of(message, "events", list)) if inline else (),
            batch=None if inline else field_of(message, "batch", str),
            depth=field_of(message, "depth", int),
            id=field_of(message, "id", str) if "id" in message else "",
            again=again,
            until=field_of(message, "until", (int, float)) if "until" in message else 0.0,
            trace=field_of(message, "trace", str) if "trace" in message else "",
        )


def write_batch(events: Sequence[ExecutorEvent]) -> list[dict[str, Any]]:
    """Give the JSON objects of events; those in a row that differ in their starts only are one.

    So 100,000 events take 1.5 MB instead of 20.
    """
    written = []
    for _, alike in groupby(events, key=lambda event: replace(event, starts=())):
        each = [event.to_event() for event in alike]
        written.append({**each[0], "starts": [event["starts"] for event in each]})
    return written


def read_batch(groups: list[object]) -> tuple[ExecutorEvent, ...]:
    """Read what `write_batch` gave; raises `MessageError` that names the position."""
    events: list[ExecutorEvent] = []
    for position, group in enumerate(groups):
        try:
            message = header(group, "execute")
            each = field_of(message, "starts", list)
            like = ExecutorEvent.from_event({**message, "starts": each[0] if each else []})
            events.extend(replace(like, starts=_starts(starts)) for starts in each)
        except MessageError as error:
            raise MessageError(f"events[{position}]: {error}") from error
    return tuple(events)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One event of a batch that was not accepted, and why."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class InvokerReport:
    """What became of a batch: every event is either accepted or among the refused.

    Attributes
    ----------
    accepted
        How many were accepted.
    refused
        The others, in the order of the batch.
    unsure
        How many of all had a request that was lost after it was sent, so that they may have been
        started once more than this says. The engine stops duplicates; this only counts them.
    """

    accepted: int
    refused: tuple[Refusal, ...] = ()
    unsure: int = 0

    @classmethod
    def of(cls, outcomes: Sequence[str | None], unsure: int = 0) -> Self:
        """Report one outcome for each event: None if it was accepted, else why not."""
        refused = tuple(
            Refusal(position, reason)
            for position, reason in enumerate(outcomes)
            if reason is not None
        )
        return cls(len(outcomes) - len(refused), refused, unsure)

    def is_of(self, events: int) -> bool:
        """Tell whether it has one outcome, and no second one, for each of so many events."""
        positions = {refusal.position for refusal in self.refused}
        return (
            self.accepted + len(self.refused) == events
            and len(positions) == len(self.refused)
            and positions <= set(range(events))
        )

    def followed_by(self, later: InvokerReport) -> InvokerReport:
        """Give the outcomes after `later`, a report of the events that are refused here."""
        refused = tuple(
            Refusal(self.refused[refusal.position].position, refusal.reason)
            for refusal in later.refused
        )
        return InvokerReport(self.accepted + later.accepted, refused, self.unsure + later.unsure)

    def to_event(self) -> dict[str, Any]:
        """Give the JSON object that goes over the wire."""
        message: dict[str, Any] = {
            "wukong": "report",
            "protocol": PROTOCOL,
            "accepted": self.accepted,
            "refused": self._by_reason(),
        }
        if self.unsure:
            message["unsure"] = self.unsure
        return message

    def _by_reason(self) -> dict[str, list[int]]:
        """Give the positions of each reason: an answer has 6 MB, and reasons are long and few."""
        reasons: dict[str, list[int]] = {}
        for refusal in self.refused:
            reasons.setdefault(refusal.reason, []).append(refusal.position)
        return reasons

    @classmethod
    def from_event(cls, event: object) -> Self:
        """Check and read an answer; raises `MessageError` that names the field."""
        message = header(event, "report")
        refused = []
        for reason, positions in field_of(message, "refused", dict).items():
            if not isinstance(positions, list) or not all(isinstance(x, int) for x in positions):
                raise MessageError(f"field 'refused': expected positions, got {positions!r:.80}")
            refused += [Refusal(position, str(reason)) for position in positions]
        refused.sort(key=lambda refusal: refusal.position)
        unsure = field_of(message, "unsure", int) if "unsure" in message else 0
        return cls(field_of(message, "accepted", int), tuple(refused), unsure)
