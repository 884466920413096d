"""A batch of Executor events as the payload of an Invoker's call: inline, or else by storage.

A batch has an id, under which the Invoker keeps its outcome in the run's state. So whoever has lost
an answer sends the same batch `again`, and nothing is started twice.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from wukong.messages import (
    ExecutorEvent,
    InvokerEvent,
    MessageError,
    read_batch,
    write_batch,
)

if TYPE_CHECKING:
    from wukong.storage import Storage

INLINE_LIMIT = 5_000_000
"""Bytes of a batch that travel inside the Invoker's event: a synchronous payload may have 6 MB.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""


def invoker_payload(
    events: Sequence[ExecutorEvent],
    store: Callable[[], Storage],
    depth: int = 0,
    until: float = 0.0,
) -> bytes:
    """Give the payload of the call that has an Invoker start Executors.

    Parameters
    ----------
    store
        Gives the run's storage; asked only for what is too large for a payload.
    depth
        How many Invokers have passed the batch on.
    until
        Seconds since 1970 until which its answer is waited for; 0 for as long as it takes.

    Raises
    ------
    StorageError
        If the batch cannot be stored.
    """
    name = uuid.uuid4().hex
    first = events[0]
    message = InvokerEvent(
        first.run, tuple(events), depth=depth, id=name, until=until, trace=first.trace
    )
    payload = message.to_bytes()
    if len(payload) <= INLINE_LIMIT:
        return payload
    batch = json.dumps(write_batch(events), separators=(",", ":")).encode()
    store().put_batch(message.run, name, batch)
    return replace(message, events=(), batch=name).to_bytes()


def sent_again(payload: bytes) -> bytes:
    """Give the payload of a call whose answer was lost, for the next one."""
    return replace(InvokerEvent.from_event(json.loads(payload)), again=True).to_bytes()


def events_of(message: InvokerEvent, store: Callable[[], Storage]) -> tuple[ExecutorEvent, ...]:
    """Give the events of an Invoker's call, wherever they are.

    Raises
    ------
    MessageError
        If there is no such batch in the run's storage.
    """
    if message.batch is None:
        return message.events
    found = store().get_batch(message.run, message.batch)
    if found is None:
        raise MessageError(
            f"field 'batch': run {message.run} has no batch {message.batch!r} in storage",
            "The run may have ended; its client starts what is missing again.",
        )
    return read_batch(json.loads(found))
