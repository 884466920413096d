"""A batch of Executor events as the payload of an Invoker's call: inline, or else by storage."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence

from wukong.messages import (
    ExecutorEvent,
    InvokerEvent,
    MessageError,
    read_batch,
    write_batch,
)
from wukong.storage import Storage

INLINE_LIMIT = 5_000_000
"""Bytes of a batch that travel inside the Invoker's event: a synchronous payload may have 6 MB.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""


def invoker_payload(
    events: Sequence[ExecutorEvent], store: Callable[[], Storage], depth: int = 0
) -> bytes:
    """Give the payload of the call that has an Invoker start Executors.

    Parameters
    ----------
    store
        Gives the run's storage; asked only for what is too large for a payload.
    depth
        How many Invokers have passed the batch on.

    Raises
    ------
    StorageError
        If the batch cannot be stored.
    """
    run = events[0].run
    payload = InvokerEvent(run, events=tuple(events), depth=depth).to_bytes()
    if len(payload) <= INLINE_LIMIT:
        return payload
    name = uuid.uuid4().hex
    store().put_batch(run, name, json.dumps(write_batch(events), separators=(",", ":")).encode())
    return InvokerEvent(run, batch=name, depth=depth).to_bytes()


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
