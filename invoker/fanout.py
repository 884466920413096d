"""Starts a batch of Executors, and says what became of each: the engine within a function's time.

docs/fanout.md tells what it is built on, and why.
"""

from __future__ import annotations

from collections.abc import Sequence

from invoker.engine import Engine
from wukong.messages import ExecutorEvent, InvokerReport

RESERVE_SECONDS = 5.0
"""Kept back of the function's time for late answers, and for the answer."""


def start_all(engine: Engine, events: Sequence[ExecutorEvent], seconds: float) -> InvokerReport:
    """Start Executors and report which were not accepted within `seconds`."""
    return engine.start(events, seconds - RESERVE_SECONDS)
