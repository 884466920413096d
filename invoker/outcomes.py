"""What became of a batch, in the run's state: written after it, read when it is sent again.

An answer can be lost after its Executors were started, with its connection or with whoever waited
for it. What is kept here tells what is left; where nothing is kept, nothing is started again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from wukong.messages import InvokerEvent, InvokerReport
from wukong.platform.interface import PlatformError

if TYPE_CHECKING:
    from wukong.storage import Storage

WAIT_SECONDS = 30.0
"""How long it is waited for at most: the first Invoker may still be at work."""

LOOK_SECONDS = 0.2


def keep(message: InvokerEvent, report: InvokerReport, store: Callable[[], Storage]) -> None:
    """Write what became of a batch."""
    if not message.id:
        return
    from wukong.storage import StorageError

    # The answer tells it as well: without a store there is only one of the two.
    with suppress(StorageError, PlatformError):
        store().put_batch(message.run, _name(message), json.dumps(report.to_event()).encode())


def wait_for(
    message: InvokerEvent, events: int, until: float, store: Callable[[], Storage]
) -> InvokerReport | None:
    """Read what became of a batch of so many events; None if that is not written by then.

    Parameters
    ----------
    until
        Seconds since 1970.

    Raises
    ------
    StorageError
        If the store cannot be reached.
    """
    until = min(until, time.time() + WAIT_SECONDS)
    while message.id:
        found = store().get_batch(message.run, _name(message))
        if found is not None:
            report = InvokerReport.from_event(json.loads(found))
            return report if report.is_of(events) else None
        if time.time() >= until:
            break
        time.sleep(LOOK_SECONDS)
    return None


def _name(message: InvokerEvent) -> str:
    return f"{message.id}.outcome"
