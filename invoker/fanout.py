"""Starts a batch of Executors, here or by further Invokers, and says what became of each.

docs/fanout.md tells what it is built on, and why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from invoker.engine import Engine
from invoker.outcomes import keep, wait_for
from invoker.tree import MOST_DEPTH, branches, split
from wukong.messages import ExecutorEvent, InvokerEvent, InvokerReport
from wukong.platform import tracing
from wukong.platform.batches import events_of

if TYPE_CHECKING:
    from wukong.storage import Storage

RESERVE_SECONDS = 5.0
"""Kept back of the function's time for late answers, and for the answer."""

UNKNOWN = "its batch was sent before, and what became of it is not known: it may have been started"


def start_batch(
    engine: Engine, message: InvokerEvent, seconds: float, store: Callable[[], Storage]
) -> InvokerReport:
    """Start what a call asks for, within `seconds`, and keep its outcome in the run's state.

    Of a batch that has been sent before, only what was refused is started.

    Raises
    ------
    MessageError
        If its batch is not in storage.
    StorageError
        If the batch cannot be read.
    """
    events = events_of(message, store)
    # Whoever sends it takes what is not answered by then for lost, and has it started again.
    ends = time.time() + seconds
    ends = min(ends, message.until) if message.until else ends
    before = InvokerReport.of(["not tried"] * len(events))
    if message.again:
        known = wait_for(message, len(events), ends - RESERVE_SECONDS, store)
        if known is None:
            return InvokerReport.of([UNKNOWN] * len(events), unsure=len(events))
        before = known
    rest = [events[refusal.position] for refusal in before.refused]
    with tracing.current().invoking(rest) as wanted:
        later = start_all(engine, wanted, ends - time.time(), store, message.depth)
    report = before.followed_by(later)
    keep(message, report, store)
    return report


def start_all(
    engine: Engine,
    events: Sequence[ExecutorEvent],
    seconds: float,
    store: Callable[[], Storage],
    depth: int = 0,
) -> InvokerReport:
    """Start Executors and report which were not accepted within `seconds`.

    Parameters
    ----------
    store
        Gives the run's storage, for branches that are too large for a payload.
    depth
        How many Invokers have passed the batch on.
    """
    seconds -= RESERVE_SECONDS
    number = branches(len(events), engine.rate) if depth < MOST_DEPTH else 0
    if number:
        parts = split(events, number, depth, store, time.time() + seconds)
        return engine.start(parts, seconds)
    return engine.start(events, seconds)
