"""The Invoker's Lambda handler: ping, or a batch of Executor events, inline or by storage key."""

from __future__ import annotations

import json
import platform as machine
from functools import cache
from typing import TYPE_CHECKING, Any

from wukong import __version__
from wukong.messages import (
    ExecutorEvent,
    InvokerEvent,
    MessageError,
    Pong,
    is_ping,
    read_batch,
)
from wukong.platform.context import Context
from wukong.platform.surroundings import store

if TYPE_CHECKING:
    from invoker.engine import Engine


def lambda_handler(event: object, context: Context) -> dict[str, Any]:
    """Start what the event asks for and answer with an `InvokerReport`.

    Raises
    ------
    MessageError
        If the event is not of this protocol.
    """
    if is_ping(event):
        return Pong("invoker", __version__, machine.python_version()).to_event()
    from invoker.fanout import start_all

    events = _events(InvokerEvent.from_event(event))
    seconds = context.get_remaining_time_in_millis() / 1000
    return start_all(_engine(), events, seconds).to_event()


def _events(message: InvokerEvent) -> tuple[ExecutorEvent, ...]:
    if message.batch is None:
        return message.events
    found = store().get_batch(message.run, message.batch)
    if found is None:
        raise MessageError(
            f"field 'batch': run {message.run} has no batch {message.batch!r} in storage",
            "The run may have ended; its client starts what is missing again.",
        )
    return read_batch(json.loads(found))


@cache
def _engine() -> Engine:
    """Keep connections while the environment is warm."""
    from invoker.endpoint import discover
    from invoker.engine import Engine

    return Engine(discover())
