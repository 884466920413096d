"""The payloads: what is written is read again, and what is wrong is named."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from wukong.messages import (
    Bundle,
    ExecutorEvent,
    InvokerEvent,
    InvokerReport,
    MessageError,
    Reason,
    Refusal,
    Start,
    Targets,
)

EVENT = ExecutorEvent("run", (Start(3), Start(4, 2)), Targets("E:1", "I:2"), hop=5)


def test_messages_survive_the_wire() -> None:
    odd = ExecutorEvent('"starts":[[é', (Start(1),), Targets('"starts":[', "\\"), retries=2)
    whole = replace(EVENT, bundle=Bundle(3, "d"), record=False, parent="p", reason=Reason.TIME)
    for event in (
        EVENT,
        odd,
        whole,
        replace(EVENT, hop=6),
        replace(EVENT, idle=3),
        replace(EVENT, retries=1),
    ):
        assert ExecutorEvent.from_event(json.loads(event.to_bytes())) == event
    for message in (
        InvokerEvent("run", (EVENT,)),
        InvokerEvent("run", batch="b"),
        InvokerEvent("run", (EVENT,), depth=1, id="i", again=True, until=1.5),
    ):
        assert InvokerEvent.from_event(json.loads(message.to_bytes())) == message
    refused = (Refusal(1, "throttled"),)
    for report in (InvokerReport(2, refused), InvokerReport(2, refused, unsure=1)):
        assert InvokerReport.from_event(json.loads(json.dumps(report.to_event()))) == report


def test_events_that_differ_in_their_starts_only_are_written_together() -> None:
    events = tuple(replace(EVENT, starts=(Start(i),)) for i in range(1000))
    other = (replace(EVENT, hop=6), EVENT)
    message = InvokerEvent("run", (*events, *other), depth=2)
    written = message.to_bytes()
    assert InvokerEvent.from_event(json.loads(written)) == message
    assert len(json.loads(written)["events"]) == 3
    assert len(written) < 15_000


def test_refusals_of_one_reason_are_written_together_and_read_in_order() -> None:
    refused = tuple(Refusal(i, f"reason {i % 2}") for i in range(0, 100, 3))
    report = InvokerReport(66, refused)
    assert len(report.to_event()["refused"]) == 2
    assert InvokerReport.from_event(report.to_event()) == report


def test_a_report_with_wrong_positions_is_named() -> None:
    message = {**InvokerReport(1).to_event(), "refused": {"why": ["x"]}}
    with pytest.raises(MessageError, match="field 'refused'"):
        InvokerReport.from_event(message)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"protocol": 2}, "field 'protocol'"),
        ({"wukong": "invoke"}, "field 'wukong'"),
        ({"run": 7}, "field 'run'"),
        ({"starts": []}, "field 'starts'"),
        ({"starts": [[0]]}, "field 'starts'"),
        ({"starts": [[-1, 1]]}, "field 'starts'"),
        ({"hop": True}, "field 'hop'"),
        ({"executor": None}, "field 'executor'"),
    ],
)
def test_a_wrong_field_of_an_executor_event_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(MessageError, match=named):
        ExecutorEvent.from_event({**EVENT.to_event(), **change})


def test_a_wrong_event_of_a_batch_is_named_by_its_place() -> None:
    message = InvokerEvent("run", (EVENT,)).to_event()
    message["events"].append({"wukong": "execute"})
    with pytest.raises(MessageError, match=r"events\[1\]"):
        InvokerEvent.from_event(message)


def test_a_batch_is_inline_or_stored_and_not_both() -> None:
    message = {**InvokerEvent("run", (EVENT,)).to_event(), "batch": "b"}
    with pytest.raises(MessageError, match="exactly one"):
        InvokerEvent.from_event(message)


def test_what_is_no_object_is_no_message() -> None:
    with pytest.raises(MessageError, match="expected a JSON object"):
        ExecutorEvent.from_event([1])
