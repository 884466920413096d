"""Signs of life, from a thread of its own: what an Executor does while a task keeps it busy.

It extends the leases of its lineages three times while each lasts, and has begun again what other
Executors have lost if no client does (it comes first: a lease has to be over for `LATE_SECONDS`).
It also looks, once a second, after a task that takes longer than anybody thought (`Care`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from executor.clock import CLOCK, Clock
from wukong.messages import Start
from wukong.platform.lines import LINE, NO_LINES, Lines
from wukong.storage import Begun, Lineage, Storage
from wukong.storage.serialisation import text_of

LOOK_SECONDS = 1.0

LATE_SECONDS = 15.0
"""A client looks for lost Executors every two seconds; where leases are older, there is none."""

REAPED = 10
"""So many at once: others look too."""

MOST_EPOCHS = 25
"""A lineage that was lost so often is left for a client to judge."""


class Care(Protocol):
    """Whom a heartbeat asks once a second."""

    def look(self) -> None:
        """Look after a task that takes long."""


class Heartbeat:
    """Keeps the lineages of one Executor alive.

    Parameters
    ----------
    again
        Has lineages started again.
    lines
        The log of this invocation.
    clock
        The time.
    """

    def __init__(
        self,
        storage: Storage,
        run: str,
        again: Callable[[Sequence[Start]], None] = lambda _: None,
        lines: Lines = NO_LINES,
        clock: Clock = CLOCK,
    ) -> None:
        self._clock = clock
        self._storage = storage
        self._run = run
        self._again = again
        self._lines = lines
        self._care: Care | None = None
        # In order, and quick to leave: one Executor may have begun hundreds.
        self._lineages: dict[Lineage, None] = {}
        self._pause = float("inf")
        self._beaten = self._clock.now()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._live, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def look_after(self, care: Care) -> None:
        """Say whom to ask once a second."""
        self._care = care

    def add(self, begun: Sequence[Begun]) -> None:
        """Keep these alive too."""
        with self._lock:
            self._lineages.update(dict.fromkeys(one.lineage for one in begun))
        self._pause = min([self._pause, *(one.lease_seconds / 3 for one in begun)])

    def release(self, lineage: Lineage) -> None:
        """Stop extending the lease of a lineage that is over."""
        with self._lock:
            self._lineages.pop(lineage, None)

    def lineages(self) -> list[Lineage]:
        """Give those that are alive."""
        with self._lock:
            return list(self._lineages)

    def _live(self) -> None:
        while not self._over.wait(min(self._pause, LOOK_SECONDS)):
            self.look()

    def look(self) -> None:
        """Do what is due."""
        # What fails here is made up for by the next time; the other threads meet a lost store
        # themselves.
        try:
            if self._clock.now() - self._beaten >= self._pause:
                self._beat()
            if self._care is not None:
                self._care.look()
        except Exception as error:  # noqa: BLE001 - whatever it is, leases are to be extended
            self._lines.say("heartbeat fails", error=text_of(error)[:LINE])

    def _beat(self) -> None:
        self._beaten = self._clock.now()
        self._storage.beat(self._run, self.lineages())
        lost = self._storage.reap(self._run, REAPED, LATE_SECONDS)
        self._again([start for start in lost if start.epoch <= MOST_EPOCHS])
