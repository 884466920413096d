"""The accounts of one batch: every event is ready, in flight, waiting, or has its outcome."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Sequence

from invoker.tree import Branch
from wukong.messages import ExecutorEvent, InvokerReport

TIME_WAS_UP = "the Invoker's time was up"


class Item:
    """One event of a batch, or one branch, and what has happened to it so far."""

    __slots__ = ("attempts", "event", "faults", "position", "reason", "renewed", "unsure", "waits")

    def __init__(self, position: int, event: ExecutorEvent | Branch) -> None:
        self.position = position
        self.event = event
        self.attempts = 0
        self.faults = 0
        """How many of the attempts met a fault of the service or of the connection."""
        self.reason = ""
        """Why the latest attempt did not succeed."""
        self.renewed = False
        """Whether it has been tried with renewed credentials."""
        self.unsure = False
        """Whether a request was lost after it was sent, so that it may have been accepted."""
        self.waits = isinstance(event, Branch)
        """Whether the answer comes when all is done, and must not be asked for twice."""

    @property
    def size(self) -> int:
        """How many Executors it starts."""
        return self.event.size if isinstance(self.event, Branch) else 1

    @property
    def function(self) -> str:
        """The function that is invoked."""
        event = self.event
        return event.function if isinstance(event, Branch) else event.targets.executor

    def payload(self) -> bytes:
        """Give what it is invoked with."""
        event = self.event
        return event.payload if isinstance(event, Branch) else event.to_bytes()


class Batch:
    """Keeps each event in exactly one place until its outcome is known."""

    def __init__(self, events: Sequence[ExecutorEvent | Branch]) -> None:
        self._items = [Item(position, event) for position, event in enumerate(events)]
        self._outcomes: dict[int, str | InvokerReport | None] = {}
        self._waiting: list[tuple[float, int, Item]] = []
        self.ready: deque[Item] = deque(self._items)

    @property
    def is_done(self) -> bool:
        """Whether every event has its outcome."""
        return len(self._outcomes) == len(self._items)

    @property
    def went_smoothly(self) -> bool:
        """Whether every event was tried once, and no more."""
        return all(item.attempts == 1 for item in self._items)

    def accept(self, item: Item, report: InvokerReport | None = None) -> None:
        """Book that Lambda has taken the event, or what an Invoker says of its branch."""
        self._outcomes[item.position] = report

    def refuse(self, item: Item, reason: str) -> None:
        """Book that the event is not tried again, and why."""
        if item.unsure:
            reason += "; it may have been started"
        self._outcomes[item.position] = reason

    def wait(self, item: Item, until: float) -> None:
        """Make the event ready at a time."""
        heapq.heappush(self._waiting, (until, item.position, item))

    def wake(self, now: float) -> None:
        """Make ready what has waited long enough; before what has not been tried."""
        due = []
        while self._waiting and self._waiting[0][0] <= now:
            due.append(heapq.heappop(self._waiting)[2])
        self.ready.extendleft(reversed(due))

    def idle_until(self) -> float | None:
        """Give the time at which the first event is ready again; None unless all only wait."""
        only_wait = len(self._outcomes) + len(self._waiting) == len(self._items)
        return self._waiting[0][0] if self._waiting and only_wait else None

    def refuse_rest(self, untried: str, suffix: str) -> None:
        """Refuse what is ready or waiting: for `untried`, or for its latest reason and `suffix`."""
        for item in [*self.ready, *(item for _, _, item in self._waiting)]:
            self.refuse(item, f"{item.reason}{suffix}" if item.attempts else untried)
        self.ready.clear()
        self._waiting.clear()

    def counts(self) -> Counter[str]:
        """Count the outcomes, by metric; what further Invokers tell of, they count themselves."""
        counted: Counter[str] = Counter()
        for item in self._items:
            outcome = self._outcomes[item.position]
            if not isinstance(outcome, InvokerReport):
                counted["Started" if outcome is None else "Refused"] += item.size
                counted["Unsure"] += item.size * item.unsure
        return counted

    def report(self) -> InvokerReport:
        """Give the outcomes, in the order of the events; only when the batch is done."""
        outcomes: list[str | None] = []
        unsure = 0
        for item in self._items:
            outcome = self._outcomes[item.position]
            unsure += item.size * item.unsure
            if isinstance(outcome, InvokerReport):
                reasons = {refusal.position: refusal.reason for refusal in outcome.refused}
                outcomes += [reasons.get(position) for position in range(item.size)]
                unsure += outcome.unsure
            else:
                outcomes += [outcome] * item.size
        return InvokerReport.of(outcomes, unsure)
