"""Who starts Executors, in how many groups, and how long Lambda takes: by costs and quotas."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from botocore.exceptions import ResponseStreamingError
from botocore.response import StreamingBody
from botocore.stub import Stubber

import wukong
from wukong.messages import ExecutorEvent, InvokerEvent, InvokerReport, Start, Targets
from wukong.platform.aws import (
    ATTEMPTS,
    DIRECT_CONNECTIONS,
    AnswerLostError,
    AwsPlatform,
    LambdaGateway,
)
from wukong.platform.costs import LEAST, MOST, StartCosts
from wukong.platform.interface import PlatformError
from wukong.platform.ramp import ramp


class Gateway:
    """Lambda, as the platform sees it: notes who is asked."""

    throttled = 0

    def __init__(self, concurrency: int | None = 1_000) -> None:
        self.asked: list[str] = []
        self.payloads: list[dict[str, Any]] = []
        self.lost = 0
        self.report: InvokerReport | None = None
        self._concurrency = concurrency

    def concurrency(self) -> int | None:
        return self._concurrency

    def pinned(self, function: str) -> str:
        return f"{function}:1"

    def start(self, function: str, payload: bytes, until: float) -> None:
        self.asked.append(function)

    def call(self, function: str, payload: bytes) -> Any:
        self.asked.append(function)
        self.payloads.append(json.loads(payload))
        if len(self.asked) <= self.lost:
            raise AnswerLostError("lost", "look")
        if self.report is None:
            asked = InvokerEvent.from_event(self.payloads[-1])
            return InvokerReport(len(asked.events)).to_event()
        return self.report.to_event()


def platform(**options: Any) -> tuple[AwsPlatform, Any]:
    gateway: Any = Gateway(options.pop("concurrency", 1_000))
    return AwsPlatform(gateway, Targets("E", "I"), **options), gateway


def events(count: int) -> list[ExecutorEvent]:
    return [ExecutorEvent("run", (Start(i),), Targets("E:1", "I:1")) for i in range(count)]


def test_the_threshold_moves_with_what_either_way_takes() -> None:
    costs = StartCosts()
    first = costs.threshold
    for _ in range(20):
        costs.started(10, 1.0)
    assert costs.threshold < first
    assert costs.threshold == LEAST
    for _ in range(20):
        costs.called(100, 3.0)
    assert costs.threshold > LEAST
    for _ in range(20):
        costs.started(10, 0.001)
    assert costs.threshold == MOST


def test_the_threshold_decides_who_starts_executors_and_is_explained() -> None:
    aws, gateway = platform()
    few = aws.threshold
    aws.start(events(few))
    assert gateway.asked == ["E:1"] * few
    gateway.asked.clear()
    aws.start(events(MOST + 1))
    assert gateway.asked == ["I:1"]
    assert f"up to {aws.threshold} Executors are started directly" in aws.explain()[0]


def test_the_client_explains_the_threshold_and_the_ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    aws, _ = platform(concurrency=3_000)
    aws.targets()
    aws.start(events(2_500))
    client = wukong.Client()
    monkeypatch.setattr(client, "_connect", lambda: (None, aws))
    text = client.explain()
    monkeypatch.undo()
    client.close()
    assert f"up to {aws.threshold} Executors are started directly" in text
    assert "concurrency is 3,000" in text
    assert "2,500 of 2,500 Executors run at once, after 20 s" in text


def test_one_that_waits_alone_does_not_make_several_at_once_look_dear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws, _ = platform()
    clock = iter(number * 0.05 for number in range(1_000))
    monkeypatch.setattr("wukong.platform.aws.time.monotonic", lambda: next(clock))
    for _ in range(20):
        aws.start(events(1))
    # One took 50 ms, and so do ten at once.
    assert aws.threshold >= DIRECT_CONNECTIONS


def test_a_lost_answer_is_asked_for_once_more_by_the_name_of_its_batch() -> None:
    aws, gateway = platform(direct_limit=0)
    gateway.lost = 1
    assert aws.start(events(3)) == InvokerReport(3)
    first, second = gateway.payloads
    assert (first["again"], second["again"]) == (False, True)
    assert first["id"] == second["id"] != ""
    assert first["events"] == second["events"]
    aws.start(events(3))
    assert gateway.payloads[2]["id"] != first["id"]


def test_what_stays_lost_is_refused_as_perhaps_started() -> None:
    aws, gateway = platform(direct_limit=0)
    gateway.lost = 2
    report = aws.start(events(3))
    assert (report.accepted, len(report.refused), report.unsure) == (0, 3, 3)


@pytest.mark.parametrize("count", [2, 4])
def test_a_report_of_another_number_of_events_is_not_believed(count: int) -> None:
    aws, gateway = platform(direct_limit=0)
    gateway.report = InvokerReport(count)
    report = aws.start(events(3))
    assert (report.accepted, len(report.refused), report.unsure) == (0, 3, 3)


def test_a_threshold_that_is_configured_stays() -> None:
    aws, gateway = platform(direct_limit=0)
    aws.start(events(1))
    assert gateway.asked == ["I:1"]
    assert aws.threshold == 0
    assert "as is configured" in aws.explain()[0]


@pytest.mark.parametrize(
    ("executors", "concurrency", "at_once", "seconds"),
    [
        (0, 1_000, 0, 0),
        (900, 1_000, 900, 0),
        (1_000, None, 1_000, 0),
        (1_001, 5_000, 1_001, 10),
        (10_000, None, 10_000, 90),
        (10_000, 1_000, 1_000, 0),
        (50, 10, 10, 0),
    ],
)
def test_the_ramp_follows_lambdas_rate_and_the_accounts_quota(
    executors: int, concurrency: int | None, at_once: int, seconds: float
) -> None:
    found = ramp(executors, concurrency)
    assert (found.at_once, found.seconds) == (at_once, seconds)


def test_the_ramp_says_who_waits() -> None:
    text = str(ramp(10_000, 3_000))
    assert "3,000 of 10,000" in text
    assert "after 20 s" in text
    assert "7,000 wait" in text


def test_more_lineages_than_the_account_can_run_share_executors() -> None:
    aws, _ = platform(concurrency=10)
    aws.targets()
    starts = [Start(i) for i in range(1_000)]
    groups = aws.grouped(starts)
    assert [start for group in groups for start in group] == starts
    assert len(groups) < 300
    assert aws.grouped(starts[:10]) == [(start,) for start in starts[:10]]


def test_without_the_right_to_ask_for_the_quota_everybody_gets_an_executor() -> None:
    aws, _ = platform(concurrency=None)
    aws.targets()
    assert len(aws.grouped([Start(i) for i in range(5_000)])) == 5_000
    assert "not known" in aws.explain()[1]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("E", "E"),
        ("E:prod", "E"),
        ("123456789012:function:E", "123456789012:function:E"),
        (
            "arn:aws-cn:lambda:cn-north-1:123456789012:function:E:prod",
            "arn:aws-cn:lambda:cn-north-1:123456789012:function:E",
        ),
    ],
)
def test_functions_are_pinned_whatever_they_are_called_by(function: str, name: str) -> None:
    gateway = LambdaGateway(region="eu-west-1")
    asked = {"FunctionName": name, "Name": "prod" if function.endswith("prod") else "live"}
    with Stubber(gateway._lambda) as stubber:
        stubber.add_response("get_alias", {"FunctionVersion": "7"}, asked)
        assert gateway.pinned(function) == f"{name}:7"
        assert gateway.pinned(f"{name}:7") == f"{name}:7"


def answered(body: bytes) -> dict[str, Any]:
    return {"StatusCode": 200, "Payload": StreamingBody(io.BytesIO(body), len(body))}


def test_a_call_that_is_throttled_is_made_again() -> None:
    pauses: list[float] = []
    gateway = LambdaGateway(region="eu-west-1", sleep=pauses.append)
    with Stubber(gateway._lambda) as stubber:
        for _ in range(3):
            stubber.add_client_error("invoke", "TooManyRequestsException", http_status_code=429)
        stubber.add_response("invoke", answered(b"[1]"))
        assert gateway.call("I:1", b"") == [1]
    assert len(pauses) == gateway.throttled == 3
    with Stubber(gateway._lambda) as stubber:
        for _ in range(ATTEMPTS):
            stubber.add_client_error("invoke", "TooManyRequestsException", http_status_code=429)
        with pytest.raises(PlatformError, match="TooManyRequests"):
            gateway.call("I:1", b"")


def test_a_call_whose_answer_is_cut_off_is_lost_and_one_that_never_left_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    gateway = LambdaGateway(region="eu-west-1", endpoint_url="http://127.0.0.1:1")
    with Stubber(gateway._lambda) as stubber:
        stubber.add_response("invoke", {**answered(b""), "Payload": CutOff()})
        with pytest.raises(AnswerLostError):
            gateway.call("I:1", b"")
    with pytest.raises(PlatformError, match="Could not connect"):
        gateway.call("I:1", b"")


class CutOff:
    def read(self) -> bytes:
        raise ResponseStreamingError(error="cut off")
