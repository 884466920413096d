"""What an answer means: whatever stands in it, it has one meaning, and reading it never fails."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoker.answers import Verdict, reason, report_of, retry_after, verdict
from invoker.http1 import Response
from wukong.messages import InvokerReport, Refusal


def response(status: int, body: bytes = b"", **headers: str) -> Response:
    return Response(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, body, True
    )


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (202, "", Verdict.ACCEPTED),
        (200, "", Verdict.ACCEPTED),
        (429, "TooManyRequestsException", Verdict.THROTTLED),
        (400, "ThrottlingException:http://internal", Verdict.THROTTLED),
        (503, "", Verdict.THROTTLED),
        (500, "ServiceException", Verdict.FAULT),
        (502, "EC2UnexpectedException", Verdict.FAULT),
        (408, "", Verdict.FAULT),
        (403, "ExpiredTokenException", Verdict.EXPIRED),
        (403, "AccessDeniedException", Verdict.REFUSED),
        (404, "ResourceNotFoundException", Verdict.REFUSED),
        (413, "RequestTooLargeException", Verdict.REFUSED),
        (302, "", Verdict.REFUSED),
    ],
)
def test_each_answer_has_one_verdict(status: int, code: str, expected: Verdict) -> None:
    assert verdict(response(status, x_amzn_errortype=code)) is expected


@given(st.integers(200, 599), st.binary(max_size=200), st.text(max_size=40))
def test_any_answer_can_be_read(status: int, body: bytes, text: str) -> None:
    one = response(status, body, x_amzn_errortype=text, retry_after=text)
    assert verdict(one) in Verdict
    assert isinstance(reason(one), str)
    assert retry_after(one) >= 0
    report_of(one)


def test_a_body_that_is_too_deep_to_read_is_only_text() -> None:
    deep = response(500, b"[" * 1_000_000)
    assert reason(deep).startswith("HTTP 500: [[[")
    assert report_of(deep) is None


def test_a_time_to_wait_is_read_as_seconds_or_as_a_date() -> None:
    assert retry_after(response(429, retry_after="7")) == 7
    later = formatdate(time.time() + 100, usegmt=True)
    assert 90 < retry_after(response(429, retry_after=later)) <= 101
    assert retry_after(response(429, retry_after=formatdate(0))) == 0
    assert retry_after(response(429, retry_after="1.5, 2")) == 0
    assert retry_after(response(429)) == 0


@pytest.mark.parametrize(
    "report",
    [
        InvokerReport(1),
        InvokerReport(3),
        InvokerReport(1, (Refusal(2, "outside"),)),
        InvokerReport(1, (Refusal(-1, "outside"),)),
        InvokerReport(0, (Refusal(0, "twice"), Refusal(0, "twice"))),
    ],
)
def test_a_report_that_does_not_add_up_is_none_of_its_batch(report: InvokerReport) -> None:
    assert not report.is_of(2)


def test_a_report_is_of_a_batch_if_each_event_has_one_outcome() -> None:
    assert InvokerReport(1, (Refusal(1, "no"),)).is_of(2)
    assert InvokerReport(0).is_of(0)


def test_outcomes_of_what_is_sent_again_take_the_place_of_the_refusals() -> None:
    first = InvokerReport(3, (Refusal(1, "a"), Refusal(3, "b"), Refusal(4, "c")), unsure=1)
    later = InvokerReport(2, (Refusal(2, "d"),), unsure=1)
    assert first.followed_by(later) == InvokerReport(5, (Refusal(4, "d"),), unsure=2)
