"""The Invoker's Lambda handler: ping, or a batch of Executor events, inline or by storage key."""

from __future__ import annotations

import platform as machine
import time
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from wukong import __version__
from wukong.messages import InvokerEvent, InvokerReport, Pong, is_ping
from wukong.platform.context import Context
from wukong.platform.lines import Lines, is_first
from wukong.platform.surroundings import store
from wukong.platform.tracing import Attributes, serving

if TYPE_CHECKING:
    from invoker.engine import Engine
    from wukong.storage import Storage


def lambda_handler(event: object, context: Context) -> dict[str, Any]:
    """Start what the event asks for and answer with an `InvokerReport`.

    Raises
    ------
    MessageError
        If the event is not of this protocol, or its batch is not in storage.
    StorageError
        If the batch cannot be read.
    """
    cold = is_first()
    if is_ping(event):
        return Pong("invoker", __version__, machine.python_version()).to_event()
    message = InvokerEvent.from_event(event)
    lines = Lines("invoker", message.run, context.aws_request_id, cold=cold)
    lines.say("invokes", depth=message.depth, again=message.again)
    about: Attributes = {
        "wukong.run": message.run,
        "wukong.depth": message.depth,
        "faas.invocation_id": context.aws_request_id,
        "faas.coldstart": cold,
    }
    with serving("wukong.invoker", message.trace, about) as trace:
        report = _start(message, context, lines, cold=cold)
        trace.note({"wukong.started": report.accepted, "wukong.refused": len(report.refused)})
    return report.to_event()


def _start(message: InvokerEvent, context: Context, lines: Lines, *, cold: bool) -> InvokerReport:
    from invoker.fanout import start_batch

    engine, begun = _engine(), time.monotonic()
    before = engine.counts.copy()
    try:
        seconds = context.get_remaining_time_in_millis() / 1000
        return start_batch(engine, message, seconds, _store)
    finally:
        did = engine.counts - before
        lines.measure("invoked", _metrics(did, time.monotonic() - begun, cold=cold))


def _metrics(did: Counter[str], seconds: float, *, cold: bool) -> dict[str, float]:
    """Give what CloudWatch is to know of an invocation; docs/watching.md says what each means."""
    return {
        "Started": did["Started"],
        "Refused": did["Refused"],
        "Unsure": did["Unsure"],
        "Throttled": did["Throttled"],
        "ColdStarts": int(cold),
        "BusySeconds": round(seconds, 3),
    }


def _store() -> Storage:
    # An Invoker starts Executors before it needs any storage.
    from wukong.platform.traced import traced

    return traced(store())


@cache
def _engine() -> Engine:
    """Keep connections while the environment is warm."""
    from invoker.endpoint import discover
    from invoker.engine import Engine

    return Engine(discover())
