"""The fan-out engine: takes a batch, keeps as many requests in flight as Lambda lets it.

    batch ──ready──> sign ──> connection ──answer──> accepted | refused | again, after a pause

One thread, one event loop, which stands still between batches, as the function does; connections
outlive them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from invoker.answers import Verdict, reason, report_of, retry_after, verdict
from invoker.batch import TIME_WAS_UP, Batch, Item
from invoker.connection import Connection
from invoker.endpoint import CredentialsError, Service, origin_of, signer_of
from invoker.http1 import Response
from invoker.pace import Pace, pause
from invoker.pool import Pool
from invoker.signing import Credentials
from invoker.tree import Branch
from wukong.messages import ExecutorEvent, InvokerReport

CONNECTIONS = 256
TICK_SECONDS = 0.02
RATE = 2_000.0
"""Executors started a second, until it has been measured: what a function of 512 MB does at least,
whose connections are still to be opened."""

MEASURED_EVENTS = 200
BRANCH_ATTEMPTS = 2
"""How often an Invoker is called whose answers are lost: the second time it has only to look."""

CREDENTIALS_SECONDS = 3.0
"""How often credentials are asked for again, and at most renewed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds, and how often an event is tried.

    Attributes
    ----------
    connect
        Until a connection is open, TLS included.
    answer
        From a request to its answer.
    grace
        How long answers are waited for after the batch's time is up.
    outage
        Without any connection for so long, a batch is given up.
    faults
        How often an event is tried if the service fails, or the connection; throttles don't count.
    """

    connect: float = 5.0
    answer: float = 15.0
    grace: float = 2.0
    outage: float = 60.0
    faults: int = 8


class _Flight(NamedTuple):
    item: Item
    sent: float
    credentials: Credentials


class Engine:
    """Starts Executors; keeps its connections for the next batch.

    Parameters
    ----------
    service
        Where Lambda is and who asks it.
    connections
        At most so many requests are in flight.
    """

    def __init__(
        self, service: Service, *, connections: int = CONNECTIONS, limits: Limits | None = None
    ) -> None:
        self._limits = limits or Limits()
        self._most = connections
        self._faults = service.attempts or self._limits.faults
        self._source = service.credentials
        self._credentials: Credentials | None = None
        self._asked = float("-inf")
        self._renewed = float("-inf")
        self._signer = signer_of(service)
        self._proxy_headers = self._signer.extra_headers
        self._pace = Pace(connections)
        self._pool = Pool(origin_of(service), self, self._dispatch, self._limits.connect)
        self._flights: dict[Connection, _Flight] = {}
        self._batch = Batch([])
        self._changed = asyncio.Event()
        self._until = float("-inf")
        self._loop = asyncio.new_event_loop()
        self.rate = RATE
        """Executors that are started here in a second, as of the latest batch that tells."""
        self.counts: Counter[str] = Counter()
        """What became of all requests so far, by metric (docs/watching.md)."""

    def start(self, events: Sequence[ExecutorEvent | Branch], seconds: float) -> InvokerReport:
        """Try for so many seconds to have all events accepted; not for two threads at once.

        The report tells of the events of branches as if they had been given one by one.
        """
        return self._loop.run_until_complete(self._start(events, seconds))

    def close(self) -> None:
        """Give back the connections."""
        self._pool.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _start(
        self, events: Sequence[ExecutorEvent | Branch], seconds: float
    ) -> InvokerReport:
        self._until = self._loop.time() + seconds
        batch = self._batch = Batch(events)
        self._changed = asyncio.Event()
        self._signer.extra_headers = self._proxy_headers + _trace_header()
        try:
            await self._pool.freshen()
            while not batch.is_done:
                self._tick()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._nap()):
                        await self._changed.wait()
        finally:
            await self._pool.settle()
            self._forget_flights()
        report = batch.report()
        self.counts.update(batch.counts())
        self._measure(events, report.accepted, seconds - (self._until - self._loop.time()))
        return report

    def _measure(
        self, events: Sequence[ExecutorEvent | Branch], accepted: int, took: float
    ) -> None:
        """Learn how many a second are started here.

        What is throttled is not started faster by further Invokers.
        """
        is_own = not any(isinstance(one, Branch) for one in events)
        if accepted >= MEASURED_EVENTS and is_own and self._batch.went_smoothly:
            self.rate = accepted / took

    def _forget_flights(self) -> None:
        """Leave no answer to the next batch; there are any only if this one was broken off."""
        for connection in self._flights:
            connection.abandon()
            self._pool.forget(connection)
        self._flights.clear()

    def _nap(self) -> float:
        """Give the seconds until something is to be done: longer where all events only wait."""
        idle_until = self._batch.idle_until()
        if idle_until is None:
            return TICK_SECONDS
        return max(0.0, min(idle_until, self._until) - self._loop.time())

    def _tick(self) -> None:
        """Do what the time demands; answers drive everything else."""
        now = self._loop.time()
        self._batch.wake(now)
        self._give_up_flights(now)
        if now >= self._until:
            self._batch.refuse_rest(f"not tried: {TIME_WAS_UP}", f"; {TIME_WAS_UP}")
        elif self._pool.is_down(now, self._limits.outage):
            self._batch.refuse_rest(self._pool.trouble, f"; {self._pool.trouble}")
        else:
            self._ask_for_credentials(now)
            self._dispatch()
        if self._batch.is_done:
            self._changed.set()

    def _give_up_flights(self, now: float) -> None:
        """Stop waiting for answers that are late, and for all when the grace is over."""
        is_over = now >= self._until + self._limits.grace
        for connection, flight in list(self._flights.items()):
            is_late = not flight.item.waits and now - flight.sent >= self._limits.answer
            if is_over or is_late:
                connection.abandon()
                self.lost(connection, f"no answer within {now - flight.sent:.1f} seconds")

    # Sending.

    def _dispatch(self) -> None:
        """Send what is ready, as far as the window and the open connections go; open more."""
        ready = self._batch.ready
        # Branches are few and take long: they do not wait for each other.
        window = self._most if ready and ready[0].waits else self._pace.window
        now = self._loop.time()
        if self._credentials is None or now >= self._until:
            return
        while ready and len(self._flights) < window:
            connection = self._pool.take()
            if connection is None:
                break
            self._send(connection, ready.popleft(), self._credentials, now)
        while len(ready) > self._pool.opening and self._wants_another(now):
            self._pool.open()

    def _wants_another(self, now: float) -> bool:
        size = self._pool.size
        if self._batch.ready[0].waits:
            return size < self._most and self._pool.can_open(now)
        return (
            size < self._pace.window
            and self._pool.can_open(now)
            and self._pace.is_worth_opening(size, len(self._batch.ready))
        )

    def _send(self, connection: Connection, item: Item, keys: Credentials, now: float) -> None:
        payload = item.payload()
        head = self._signer.head(item.function, payload, keys, time.time(), waits=item.waits)
        if not connection.send(head + payload):
            self._pool.forget(connection)
            self._batch.ready.appendleft(item)
            return
        item.attempts += 1
        self._flights[connection] = _Flight(item, now, keys)

    # What comes of it: connections call these.

    def answered(self, connection: Connection, response: Response) -> None:
        """Book an answer and send the next request."""
        self._book(self._flights[connection], response)
        del self._flights[connection]
        if response.reusable:
            self._pool.give(connection)
        else:
            self._pool.forget(connection)
        self._after()

    def lost(self, connection: Connection, reason: str) -> None:
        """Book what was in flight on a connection that is gone, if anything was."""
        self._pool.forget(connection)
        flight = self._flights.pop(connection, None)
        if flight is not None:
            flight.item.unsure = True
            self._try_again(flight.item, reason, is_fault=True)
            self._after()

    def _after(self) -> None:
        if self._batch.is_done:
            self._changed.set()
        else:
            self._dispatch()

    def _book(self, flight: _Flight, response: Response) -> None:
        item, now = flight.item, self._loop.time()
        match verdict(response):
            case Verdict.ACCEPTED if item.waits:
                self._book_branch(item, response)
            case Verdict.ACCEPTED:
                self._pace.accepted(now - flight.sent, backlog=bool(self._batch.ready))
                self._batch.accept(item)
            case Verdict.THROTTLED:
                self.counts["Throttled"] += 1
                self._pace.throttled(flight.sent, now)
                self._try_again(item, reason(response), least=retry_after(response))
            case Verdict.FAULT:
                self._try_again(item, reason(response), is_fault=True)
            case Verdict.EXPIRED if not item.renewed:
                item.renewed = True
                item.reason = reason(response)
                self._renew(flight.credentials, now)
                self._batch.ready.appendleft(item)
            case _:
                # An Invoker that has failed may have started some before.
                item.unsure |= item.waits and response.status == 200
                self._batch.refuse(item, reason(response))

    def _book_branch(self, item: Item, response: Response) -> None:
        report = report_of(response)
        if report is not None and report.is_of(item.size):
            # It is known now, whatever was lost before.
            item.unsure = False
            self._batch.accept(item, report)
        else:
            item.unsure = True
            self._batch.refuse(item, "its Invoker answered with what is no report of its batch")

    def _try_again(
        self, item: Item, why: str, *, least: float = 0.0, is_fault: bool = False
    ) -> None:
        item.reason = why
        item.faults += is_fault
        if is_fault and isinstance(item.event, Branch):
            # It may have run: its Invoker looks first what has been started.
            item.unsure = True
            item.event = item.event.again()
        when = self._loop.time() + pause(item.attempts, least)
        if item.faults >= (BRANCH_ATTEMPTS if item.waits else self._faults):
            self._batch.refuse(item, f"{why}; tried {item.attempts} times")
        elif when >= self._until:
            self._batch.refuse(item, f"{why}; {TIME_WAS_UP}")
        else:
            self._batch.wait(item, when)

    # Credentials. Asking may block while they are renewed; nothing is lost by that.

    def _ask_for_credentials(self, now: float) -> None:
        if now - self._asked < CREDENTIALS_SECONDS:
            return
        self._asked = now
        try:
            self._use(self._source.current())
        except CredentialsError as error:
            if self._credentials is None:
                self._batch.refuse_rest(str(error), f"; {error}")

    def _renew(self, refused: Credentials, now: float) -> None:
        """Get new credentials, unless that has been done since a request was signed."""
        if refused != self._credentials or now - self._renewed < CREDENTIALS_SECONDS:
            return
        self._renewed = now
        # What is refused may be renewed while it is still valid by its own date, or not at all;
        # then Lambda says it once more.
        with suppress(CredentialsError):
            self._use(self._source.renew())

    def _use(self, credentials: Credentials) -> None:
        # The same object while they are the same: the signer compares by identity.
        if credentials != self._credentials:
            self._credentials = credentials


def _trace_header() -> str:
    """Give what the SDK sends from inside a function, so that traces go on, as a header line."""
    trace = os.environ.get("_X_AMZN_TRACE_ID", "")
    if not trace or "AWS_LAMBDA_FUNCTION_NAME" not in os.environ:
        return ""
    quoted = quote(trace, safe="-=;:+&[]{}\"',")
    return f"X-Amzn-Trace-Id: {quoted}\r\n"
