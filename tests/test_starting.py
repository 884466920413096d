"""Who starts Executors, in how many groups, and how long Lambda takes: by costs and quotas."""

from __future__ import annotations

from typing import Any

import pytest

from wukong.messages import ExecutorEvent, InvokerReport, Start, Targets
from wukong.platform.aws import AwsPlatform
from wukong.platform.costs import LEAST, MOST, StartCosts
from wukong.platform.ramp import ramp


class Gateway:
    """Lambda, as the platform sees it: notes who is asked."""

    def __init__(self, concurrency: int | None = 1_000) -> None:
        self.asked: list[str] = []
        self._concurrency = concurrency

    def concurrency(self) -> int | None:
        return self._concurrency

    def pinned(self, function: str) -> str:
        return f"{function}:1"

    def start(self, function: str, payload: bytes, until: float) -> None:
        self.asked.append(function)

    def call(self, function: str, payload: bytes) -> Any:
        self.asked.append(function)
        return InvokerReport(3).to_event()


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
