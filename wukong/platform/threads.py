"""The threads platform: a few threads of this process take events from a queue.

For small computations and tests. Threads share Python's lock, so only code that gives it up (NumPy)
gains from more than one; worker processes (`local`) do not have this limit.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Sequence
from typing import ClassVar

from wukong.messages import ExecutorEvent, InvokerReport, Targets
from wukong.platform import surroundings
from wukong.platform.context import LocalContext, use
from wukong.platform.deaths import Deaths
from wukong.platform.handlers import EXECUTOR, load_handler
from wukong.platform.interface import Death, Platform
from wukong.storage.serialisation import text_of


class ThreadsPlatform(Platform):
    """Runs the Executor in `workers` threads, against the store at `store_url`."""

    _named: ClassVar[dict[str, ThreadsPlatform]] = {}

    def __init__(self, store_url: str, workers: int, signing_key: str | None = None) -> None:
        self._name = uuid.uuid4().hex
        self.parallelism = workers
        self._settings = {
            "WUKONG_STORE_URL": store_url,
            "WUKONG_STORE_SIGNING_KEY": signing_key or "",
            "WUKONG_PLATFORM": "threads",
            "WUKONG_QUEUE": self._name,
        }
        self._events: queue.SimpleQueue[ExecutorEvent | None] = queue.SimpleQueue()
        self._deaths = Deaths("The store, or a setting of the client, does not let them work.")
        self._named[self._name] = self
        self._threads = [
            threading.Thread(target=self._work, name=f"wukong-{i}", daemon=True)
            for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @classmethod
    def named(cls, name: str) -> ThreadsPlatform:
        """Give the platform that the thread calling this belongs to."""
        return cls._named[name]

    def targets(self) -> Targets:
        """Give the handler; a new run begins, and so does the count of deaths."""
        self._deaths.begin()
        return Targets(executor=EXECUTOR, invoker="")

    def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
        """Queue the events."""
        for event in events:
            self._events.put(event)
        return InvokerReport(accepted=len(events))

    def check(self, run: str) -> list[Death]:
        """Give what Executors of a run were to do that have ended with an error."""
        return self._deaths.of(run)

    def close(self) -> None:
        """Let the threads end after what they are doing."""
        for _ in self._threads:
            self._events.put(None)
        for thread in self._threads:
            thread.join()
        self._named.pop(self._name, None)
        surroundings.forget(self._name)

    def _work(self) -> None:
        handler = load_handler(EXECUTOR)
        with use(self._settings):
            while (event := self._events.get()) is not None:
                context = LocalContext(uuid.uuid4().hex, started=time.monotonic())
                try:
                    handler(event.to_event(), context)
                except BaseException as error:  # noqa: BLE001 - as a process would end, but for this thread
                    cause = f"it ended with {text_of(error)}"
                    self._deaths.note([Death(event, cause)], cause)
