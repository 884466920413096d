"""Starts a batch of Executors concurrently, and says what became of each.

One thread for each connection; every event is tried until it is accepted, is refused for good, or
the time is up.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from wukong.messages import ExecutorEvent, InvokerReport
from wukong.platform.aws import LambdaGateway, report

CONNECTIONS = 64
RESERVE_SECONDS = 5.0
"""Kept back of the function's time for the answer."""


def start_all(
    gateway: LambdaGateway, events: Sequence[ExecutorEvent], seconds: float
) -> InvokerReport:
    """Start Executors and report which were not accepted within `seconds`."""
    if not events:
        return InvokerReport(accepted=0)
    until = time.monotonic() + seconds - RESERVE_SECONDS

    def refusal(event: ExecutorEvent) -> str | None:
        if time.monotonic() > until:
            return "not tried: the Invoker's time was up"
        return gateway.start(event.targets.executor, event.to_bytes(), until)

    with ThreadPoolExecutor(min(CONNECTIONS, len(events))) as pool:
        return report(list(pool.map(refusal, events)))
