"""The Invoker: what it accepts, retries, and reports, against a real endpoint that misbehaves."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from invoker import function
from invoker.endpoint import discover
from invoker.engine import Engine, Limits
from invoker.fanout import RESERVE_SECONDS, start_all
from invoker.function import lambda_handler
from wukong.messages import (
    ExecutorEvent,
    InvokerEvent,
    InvokerReport,
    MessageError,
    Start,
    Targets,
    write_batch,
)
from wukong.platform.aws import AwsPlatform, LambdaGateway
from wukong.platform.context import LocalContext, use
from wukong.platform.interface import PlatformError
from wukong.storage import NewRun, Storage, open_storage


@dataclass
class Endpoint:
    """An Invoke API whose answers a test decides: status by (segment, how often it came)."""

    decide: Callable[[int, int], int] = lambda segment, attempt: 202
    tries: Counter[int] = field(default_factory=Counter)
    accepted: Counter[int] = field(default_factory=Counter)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, body: bytes) -> int:
        segment = json.loads(body)["starts"][0][0]
        with self.lock:
            self.tries[segment] += 1
            status = self.decide(segment, self.tries[segment])
            if status == 202:
                self.accepted[segment] += 1
        return status


def no_store() -> Storage:
    raise AssertionError("so small a batch needs no storage")


ERRORS = {
    429: "TooManyRequestsException",
    500: "ServiceException",
    404: "ResourceNotFoundException",
}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    state = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status = state.answer(self.rfile.read(int(self.headers["Content-Length"])))
            body = b"" if status == 202 else json.dumps({"Message": "no"}).encode()
            self.send_response(status)
            if status != 202:
                self.send_header("x-amzn-ErrorType", ERRORS[status])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", state.url)
    function._engine.cache_clear()
    yield state
    if function._engine.cache_info().currsize:
        function._engine().close()
        function._engine.cache_clear()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def engine(endpoint: Endpoint) -> Iterator[Engine]:
    engine = Engine(discover())
    yield engine
    engine.close()


def events(count: int) -> tuple[ExecutorEvent, ...]:
    return tuple(ExecutorEvent("run", (Start(i),), Targets("E:1", "I:1")) for i in range(count))


def context(seconds: float = 900.0) -> LocalContext:
    import time

    return LocalContext("request", seconds, time.monotonic())


def test_every_event_is_started_once(endpoint: Endpoint, engine: Engine) -> None:
    report = start_all(engine, events(200), 60.0, no_store)
    assert report == InvokerReport(accepted=200)
    assert set(endpoint.accepted.values()) == {1}
    assert len(endpoint.accepted) == 200


def test_throttles_and_faults_are_tried_again_until_accepted(
    endpoint: Endpoint, engine: Engine
) -> None:
    endpoint.decide = lambda segment, attempt: (429, 500, 202)[min(attempt, 3) - 1]
    report = start_all(engine, events(20), 60.0, no_store)
    assert report == InvokerReport(accepted=20)
    assert set(endpoint.tries.values()) == {3}


def test_what_stays_throttled_is_tried_until_the_time_is_up_and_reported_exactly(
    endpoint: Endpoint, engine: Engine
) -> None:
    endpoint.decide = lambda segment, attempt: 429 if segment in {3, 7} else 202
    report = start_all(engine, events(10), RESERVE_SECONDS + 1.0, no_store)
    assert report.accepted == 8
    assert [refusal.position for refusal in report.refused] == [3, 7]
    assert all("TooManyRequests" in refusal.reason for refusal in report.refused)
    assert all("time was up" in refusal.reason for refusal in report.refused)
    assert min(endpoint.tries[3], endpoint.tries[7]) > 1


def test_what_stays_faulty_is_reported_after_bounded_tries(endpoint: Endpoint) -> None:
    endpoint.decide = lambda segment, attempt: 500 if segment == 3 else 202
    engine = Engine(discover(), limits=Limits(faults=3))
    report = start_all(engine, events(5), 60.0, no_store)
    engine.close()
    assert report.accepted == 4
    assert [refusal.reason for refusal in report.refused] == ["ServiceException: no; tried 3 times"]
    assert endpoint.tries[3] == 3


def test_what_can_never_work_is_tried_once(endpoint: Endpoint, engine: Engine) -> None:
    endpoint.decide = lambda segment, attempt: 404
    report = start_all(engine, events(2), 60.0, no_store)
    assert report.accepted == 0
    assert set(endpoint.tries.values()) == {1}


def test_when_the_time_is_up_the_rest_is_reported_as_not_tried(
    endpoint: Endpoint, engine: Engine
) -> None:
    report = start_all(engine, events(3), 0.0, no_store)
    assert report.accepted == 0
    assert {refusal.reason for refusal in report.refused} == {
        "not tried: the Invoker's time was up"
    }
    assert not endpoint.tries


def test_the_handler_answers_a_ping(endpoint: Endpoint) -> None:
    answer = lambda_handler({"wukong": "ping"}, context())
    assert (answer["wukong"], answer["component"]) == ("pong", "invoker")


def test_the_handler_takes_a_batch_inline(endpoint: Endpoint) -> None:
    answer = lambda_handler(InvokerEvent("run", events(5)).to_event(), context())
    assert InvokerReport.from_event(answer) == InvokerReport(accepted=5)


def test_the_handler_takes_a_batch_by_its_key(
    endpoint: Endpoint, valkey_url: str, run_id: str
) -> None:
    store = open_storage(valkey_url)
    store.create(NewRun(run_id, [b""], [()], [1], [0]))
    batch = json.dumps(write_batch(events(5))).encode()
    store.put_batch(run_id, "b", batch)
    with use({"WUKONG_STORE_URL": valkey_url}):
        answer = lambda_handler(InvokerEvent(run_id, batch="b").to_event(), context())
        assert InvokerReport.from_event(answer) == InvokerReport(accepted=5)
        with pytest.raises(MessageError, match="no batch 'gone'"):
            lambda_handler(InvokerEvent(run_id, batch="gone").to_event(), context())


def test_the_handler_refuses_what_is_no_batch(endpoint: Endpoint) -> None:
    with pytest.raises(MessageError, match="field 'wukong'"):
        lambda_handler({"some": "thing"}, context())


def test_an_executor_without_a_store_says_which_variable_is_missing() -> None:
    from executor.function import lambda_handler as execute

    with use({"WUKONG_PLATFORM": "aws"}), pytest.raises(PlatformError, match="WUKONG_STORE_URL"):
        execute(events(1)[0].to_event(), context())


def test_few_executors_are_started_without_the_invoker(endpoint: Endpoint) -> None:
    report = AwsPlatform(LambdaGateway(endpoint_url=endpoint.url), direct_limit=10).start(
        events(10)
    )
    assert report == InvokerReport(accepted=10)
    assert len(endpoint.accepted) == 10
