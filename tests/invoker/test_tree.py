"""A batch that is too large for one Invoker: who gets which part, and what is known in the end."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoker.endpoint import discover
from invoker.engine import RATE, Engine, Limits
from invoker.fanout import RESERVE_SECONDS, UNKNOWN, start_all, start_batch
from invoker.tree import MOST_BRANCHES, MOST_DEPTH, ROUND_SECONDS, branches, split
from wukong.messages import ExecutorEvent, InvokerEvent, InvokerReport, Start, Targets
from wukong.storage import NewRun, Storage
from wukong.storage.memory import MemoryStorage

MINUTE = 60.0


def events(count: int) -> tuple[ExecutorEvent, ...]:
    return tuple(ExecutorEvent("run", (Start(i),), Targets("E:1", "I:1")) for i in range(count))


def store() -> Storage:
    """Give a store in this process that has the run."""
    storage = MemoryStorage.named("memory://tree")
    if storage.status("run").state is None:
        storage.create(NewRun("run", [b""], [()], [1], [0]))
    return storage


@given(st.integers(1, 1_000_000), st.floats(10, 100_000))
def test_further_invokers_are_asked_only_where_they_make_it_twice_as_fast(
    count: int, rate: float
) -> None:
    number = branches(count, rate)
    assert number <= MOST_BRANCHES
    if number:
        assert ROUND_SECONDS + count / number / rate < count / rate / 2
    elif count / rate > 60:
        pytest.fail("a minute, and nobody to help")


def test_the_faster_an_invoker_is_the_more_it_starts_itself() -> None:
    assert branches(1_000, RATE) == 0
    assert branches(10_000, RATE) > 2
    assert branches(10_000, 20 * RATE) == 0


@given(st.integers(1, 500), st.integers(2, MOST_BRANCHES))
def test_parts_are_whole_in_order_and_alike_in_size(count: int, number: int) -> None:
    batch = events(count)
    parts = split(batch, number, 0, store)
    found = [InvokerEvent.from_event(json.loads(part.payload)) for part in parts]
    assert [event for part in found for event in part.events] == list(batch)
    assert {part.depth for part in found} == {1}
    sizes = [part.size for part in parts]
    assert sum(sizes) == count
    assert max(sizes) <= math.ceil(count / number)


class Region:
    """Lambda's API for an Executor that a test looks at, and Invokers that are real."""

    def __init__(self) -> None:
        self.started: Counter[int] = Counter()
        self.invokers = 0
        self.calls: list[dict[str, Any]] = []
        self.rate = RATE
        self.throttled = 0
        self.counts: Counter[str] = Counter()
        self.refuse: Callable[[int], bool] = lambda segment: False
        self.spoil: Callable[[int], bytes | None] = lambda number: None
        self._lock = threading.Lock()
        region = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                waits = self.headers["X-Amz-Invocation-Type"] == "RequestResponse"
                assert waits == ("/I:1/" in unquote(self.path))
                status, answer = region.invoke(body) if waits else region.start(body)
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                if status == 200 and b"errorMessage" in answer:
                    self.send_header("X-Amz-Function-Error", "Unhandled")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def start(self, body: Any) -> tuple[int, bytes]:
        segment = body["starts"][0][0]
        with self._lock:
            self.throttled -= 1
            if self.throttled >= 0:
                return 429, b"{}"
        if self.refuse(segment):
            return 404, b'{"Message": "gone"}'
        with self._lock:
            self.started[segment] += 1
        return 202, b""

    def invoke(self, body: Any) -> tuple[int, bytes | None]:
        with self._lock:
            self.invokers += 1
            number = self.invokers
            self.calls.append(body)
        report = self.answer(InvokerEvent.from_event(body))
        spoiled = self.spoil(number)
        if spoiled is not None:
            return 200, spoiled or None
        return 200, json.dumps(report.to_event()).encode()

    def answer(self, message: InvokerEvent) -> InvokerReport:
        with self.engine() as engine:
            return start_batch(engine, message, MINUTE, store)

    def run(self, batch: tuple[ExecutorEvent, ...], depth: int = 0) -> InvokerReport:
        with self.engine() as engine:
            return start_all(engine, batch, MINUTE, store, depth)

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """Give an Invoker's engine, and add what it has counted to what all have."""
        with closing(Engine(discover(), connections=8, limits=Limits(faults=2))) as engine:
            engine.rate = self.rate
            yield engine
        with self._lock:
            self.counts.update(engine.counts)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch) -> Iterator[Region]:
    region = Region()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", region.url)
    yield region
    region.close()


def test_a_batch_is_shared_among_invokers_and_every_event_is_started_once(region: Region) -> None:
    region.rate = 100.0
    assert region.run(events(400)) == InvokerReport(400)
    assert region.invokers >= 2
    assert region.started == Counter(range(400))


def test_what_a_branch_could_not_start_is_in_the_answer_by_its_place(region: Region) -> None:
    region.rate = 100.0
    region.refuse = lambda segment: segment in {3, 250, 399}
    report = region.run(events(400))
    assert report.accepted == 397
    assert [refusal.position for refusal in report.refused] == [3, 250, 399]
    assert {refusal.reason for refusal in report.refused} == {"HTTP 404: gone"}


def test_invokers_that_share_a_batch_count_each_executor_and_each_throttle_once(
    region: Region,
) -> None:
    region.rate, region.throttled = 100.0, 7
    region.refuse = lambda segment: segment in {3, 250, 399}
    assert region.run(events(400)).accepted == 397
    assert region.invokers >= 2
    assert region.counts == Counter(Started=397, Refused=3, Throttled=7)


def test_a_batch_that_is_sent_again_is_not_counted_again(region: Region) -> None:
    message = InvokerEvent("run", events(50), id="counted")
    for again in (False, True):
        assert region.answer(replace(message, again=again)) == InvokerReport(50)
    assert region.counts == Counter(Started=50)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b'{"errorMessage": "Task timed out"}', "Unhandled: Task timed out"),
        (b"[]", "its Invoker answered with what is no report"),
        (json.dumps(InvokerReport(1).to_event()).encode(), "no report of its batch"),
    ],
    ids=["failed", "no report", "report of another batch"],
)
def test_a_branch_whose_invoker_fails_is_refused_whole_and_not_tried_twice(
    region: Region, answer: bytes, reason: str
) -> None:
    region.rate = 100.0
    region.spoil = lambda number: answer if number == 2 else None
    report = region.run(events(400))
    lost = len(report.refused)
    assert report.accepted + lost == 400
    assert 0 < lost < 400
    assert all(reason in refusal.reason for refusal in report.refused)
    assert set(region.started.values()) == {1}
    assert report.unsure == lost
    assert region.counts["Unsure"] == lost, "by who has lost it: nobody else knows"


def test_a_branch_whose_answer_is_lost_is_asked_again_what_it_has_started(region: Region) -> None:
    region.rate = 100.0
    region.refuse = lambda segment: segment == 399
    region.spoil = lambda number: b"" if number == 2 else None
    report = region.run(events(400))
    assert [refusal.position for refusal in report.refused] == [399]
    assert (report.accepted, report.unsure) == (399, 0)
    assert set(region.started.values()) == {1}
    assert [call["again"] for call in region.calls].count(True) == 1


def test_a_branch_of_which_nothing_is_known_is_not_started_again(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invoker.fanout.keep", lambda *_: None)
    monkeypatch.setattr("invoker.outcomes.WAIT_SECONDS", 0.1)
    region.rate = 100.0
    region.spoil = lambda number: b"" if number == 2 else None
    report = region.run(events(400))
    assert 0 < len(report.refused) == report.unsure < 400
    assert {refusal.reason for refusal in report.refused} == {UNKNOWN}
    assert set(region.started.values()) == {1}


def test_a_batch_that_is_sent_again_starts_what_was_refused_and_nothing_twice(
    region: Region,
) -> None:
    message = InvokerEvent("run", events(50), id="sent-twice")
    region.refuse = lambda segment: segment in {3, 7, 20}
    assert [one.position for one in region.answer(message).refused] == [3, 7, 20]
    kept = store().get_batch("run", "sent-twice.outcome")
    assert kept is not None
    assert json.loads(kept)["refused"] == {"HTTP 404: gone": [3, 7, 20]}

    region.refuse = lambda segment: segment == 7
    again = replace(message, again=True)
    assert [one.position for one in region.answer(again).refused] == [7]
    region.refuse = lambda segment: False
    assert region.answer(again) == InvokerReport(50)
    assert region.answer(again) == InvokerReport(50)
    assert region.started == Counter(range(50))


def test_whoever_no_longer_waits_gets_nothing_started(region: Region) -> None:
    report = region.answer(InvokerEvent("run", events(5), until=time.time() + RESERVE_SECONDS - 1))
    assert {one.reason for one in report.refused} == {"not tried: the Invoker's time was up"}
    assert not region.started


def test_a_branch_is_told_until_when_it_is_waited_for(region: Region) -> None:
    region.rate = 100.0
    before = time.time()
    region.run(events(400))
    after = time.time()
    waits = MINUTE - RESERVE_SECONDS
    assert all(before + waits <= call["until"] <= after + waits for call in region.calls)


def test_a_batch_is_not_passed_on_for_ever(region: Region) -> None:
    region.rate = 1.0
    assert region.run(events(200), MOST_DEPTH) == InvokerReport(200)
    assert region.invokers == 0


def test_a_branch_too_large_for_a_payload_travels_through_the_store(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wukong.platform.batches.INLINE_LIMIT", 100)
    region.rate = 100.0
    assert region.run(events(300)) == InvokerReport(300)
    assert region.started == Counter(range(300))


def test_a_rate_is_measured_by_what_is_started_here(region: Region) -> None:
    engine = Engine(discover(), connections=8)
    try:
        engine.start(events(5), MINUTE)
        assert engine.rate == RATE, "too few to tell"
        region.throttled = 10
        engine.start(events(300), MINUTE)
        assert engine.rate == RATE, "further Invokers would only be throttled, too"
        engine.start(events(300), MINUTE)
        assert engine.rate != RATE
    finally:
        engine.close()
