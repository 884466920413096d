"""Which lines of a log group belong to a run, in either log format, and what a file gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from wukong.cli.logs import _began
from wukong.record import Summary
from wukong.stack.cloudformation import StackError
from wukong.stack.logs import LogEvent, insights, invocations, of_file


def event(text: str, at: int, stream: str = "one") -> Mapping[str, Any]:
    return {"logStreamName": stream, "message": text, "timestamp": at, "eventId": f"{stream}-{at}"}


def as_text(request: str) -> tuple[str, str]:
    return (
        f"START RequestId: {request} Version: 7\n",
        f"REPORT RequestId: {request}\tDuration: 1 ms",
    )


def as_json(request: str) -> tuple[str, str]:
    """As Lambda writes its own lines where the function's log format is JSON."""
    told = {"time": "2026-11-26T00:00:00Z", "record": {"requestId": request, "version": "7"}}
    return json.dumps({"type": "platform.start", **told}), json.dumps(
        {"type": "platform.report", **told}
    )


@pytest.mark.parametrize("written", [as_text, as_json])
def test_an_invocation_of_a_run_is_given_whole_and_others_are_not(written: Any) -> None:
    lines = []
    for number, run in enumerate(("mine", "other", "mine")):
        start, end = written(f"request-{number}")
        lines += [start, f'{{"wukong":"begins","run":"{run}"}}', f"task {number} speaks", end]
    # Two environments at once: their lines alternate.
    streams = [event(text, at) for at, text in enumerate(lines)]
    streams.insert(2, event('{"run":"other"}', 2, "two"))
    found = list(invocations("E", "mine", streams))
    assert [one.text for one in found if "speaks" in one.text] == ["task 0 speaks", "task 2 speaks"]
    assert {one.request for one in found} == {"request-0", "request-2"}
    assert len(found) == 8


def test_what_the_invocation_before_wrote_late_is_not_of_this_run() -> None:
    start, end = as_text("request-1")
    own = '{"at":2,"wukong":"begins","component":"executor","run":"mine"}'
    late = '{"at":1,"wukong":"executed","component":"executor","cold":false,"run":"other"}'
    found = invocations("E", "mine", [event(one, 1) for one in (start, late, own, "hello", end)])
    assert [one.text for one in found] == [start.strip(), own, "hello", end]


def test_the_query_is_of_this_run_and_in_order() -> None:
    lines = insights("3f2a91").splitlines()
    assert '| filter run = "3f2a91"' in lines
    assert "| sort @timestamp asc" in lines


def test_a_query_begins_with_the_run_as_its_record_says_or_its_lines() -> None:
    class Lines:
        """Logs of which only one run's lines are asked."""

        def of_run(self, run: str) -> list[LogEvent]:
            assert run == "mine"
            return [LogEvent("b", 7_000, "E", "r", ""), LogEvent("a", 5_000, "I", "r", "")]

    lines: Any = Lines()
    assert _began("mine", Summary("mine", started=3.0), lines) == 3.0
    assert _began("mine", None, lines) == 5.0
    assert _began("mine", Summary("mine"), lines) == 5.0, "of a record that does not know"


def test_a_file_gives_the_lines_of_a_run_in_order_and_skips_what_is_no_line(tmp_path: Path) -> None:
    def line(run: str, at: int) -> str:
        told = {"at": at, "wukong": "begins", "component": "executor", "run": run, "request": "r"}
        return json.dumps(told)

    file = tmp_path / "log"
    torn = line("mine", 4)[:-5]
    file.write_text("\n".join([line("mine", 3), line("other", 1), line("mine", 2), torn, "mine"]))
    assert [one.at for one in of_file(file, "mine")] == [2, 3]
    with pytest.raises(StackError, match="cannot be read"):
        of_file(tmp_path / "missing", "mine")
