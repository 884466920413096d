"""Starts a batch of Executors, here or by further Invokers, and says what became of each.

docs/fanout.md tells what it is built on, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from invoker.engine import Engine
from invoker.tree import MOST_DEPTH, branches, split
from wukong.messages import ExecutorEvent, InvokerReport
from wukong.storage import Storage

RESERVE_SECONDS = 5.0
"""Kept back of the function's time for late answers, and for the answer."""


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
        return engine.start(split(events, number, depth, store), seconds)
    return engine.start(events, seconds)
