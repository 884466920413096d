"""The Invoker's Lambda handler: ping, or a batch of Executor events, inline or by storage key."""

from __future__ import annotations

import platform as machine
from functools import cache
from typing import TYPE_CHECKING, Any

from wukong import __version__
from wukong.messages import InvokerEvent, Pong, is_ping
from wukong.platform.context import Context
from wukong.platform.lines import log
from wukong.platform.surroundings import store

if TYPE_CHECKING:
    from invoker.engine import Engine


def lambda_handler(event: object, context: Context) -> dict[str, Any]:
    """Start what the event asks for and answer with an `InvokerReport`.

    Raises
    ------
    MessageError
        If the event is not of this protocol, or its batch is not in storage.
    StorageError
        If the batch cannot be read.
    """
    if is_ping(event):
        return Pong("invoker", __version__, machine.python_version()).to_event()
    from invoker.fanout import start_batch

    message = InvokerEvent.from_event(event)
    log(wukong="invokes", run=message.run, depth=message.depth)
    seconds = context.get_remaining_time_in_millis() / 1000
    return start_batch(_engine(), message, seconds, store).to_event()


@cache
def _engine() -> Engine:
    """Keep connections while the environment is warm."""
    from invoker.endpoint import discover
    from invoker.engine import Engine

    return Engine(discover())
