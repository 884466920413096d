"""What functions wrote into CloudWatch for one run.

Lambda's own lines know invocations and no runs; a function's own name the run. So streams are first
searched for its id, and of each that has it those invocations are given that belong to the run,
whole: what tasks print is in them.

What a function of this machine wrote is in the file that WUKONG_LOG named, where each line has its
run (wukong/platform/lines.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from wukong.stack.cloudformation import StackError

STREAMS = 100
"""So many streams one FilterLogEvents call takes.
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html"""

MARGIN_MS = 60_000
"""An invocation's first line is so much older than the one that names its run, at most."""

# As text and as JSON, whichever the function's log format is.
_ID = r'.*?"requestId"\s*:\s*"([^"]+)"'
_START = re.compile(rf'START RequestId: (\S+)|"type"\s*:\s*"platform\.start"{_ID}')
_END = re.compile(rf'REPORT RequestId: (\S+)|"type"\s*:\s*"platform\.report"{_ID}')

_NAMED = re.compile(r'\{"at":\d+,"wukong":"[^"]*",[^{]*?"run":"([^"]+)"')
"""A function's own line (wukong/platform/lines.py)."""

QUERY = """\
fields @timestamp, component, wukong, lineages.0, segment, lineage, reason, task, error,
  Segments, BusySeconds, BytesStored, Started, Throttled, cold, request, @message
| filter run = "{run}"
| sort @timestamp asc
| limit 10000"""
"""Of Logs Insights. The lines that tasks print have no run; `Logs.of_run` gives those too."""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One line of a function.

    Attributes
    ----------
    id
        CloudWatch's; the same line has the same one in each answer.
    at
        Milliseconds since 1970.
    function, request
        The function's name, and the invocation's id.
    """

    id: str
    at: int
    function: str
    request: str
    text: str


class Logs:
    """The logs of some functions.

    Parameters
    ----------
    functions
        Their names, with or without qualifier.
    """

    def __init__(
        self,
        functions: Iterable[str],
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
    ) -> None:
        self._functions = [name.partition(":")[0] for name in functions]
        where: dict[str, Any] = {"region_name": region, "endpoint_url": endpoint_url}
        self._logs: Any = boto3.client("logs", **where)
        self._lambda: Any = boto3.client("lambda", **where)
        self._groups: dict[str, str] = {}

    def groups(self) -> list[str]:
        """Name their log groups; raises `StackError` if a function is not there."""
        try:
            return [self._group(name) for name in self._functions]
        except (ClientError, BotoCoreError) as error:
            raise StackError(
                f"the functions' log groups are not known: {error}",
                "Your credentials need lambda:GetFunctionConfiguration.",
            ) from error

    def of_run(self, run: str) -> list[LogEvent]:
        """Give all lines of a run's invocations so far, the oldest first.

        Raises
        ------
        StackError
            If the logs may not be read, or a function is not there.
        """
        try:
            found = [one for name in self._functions for one in self._of_function(name, run)]
        except (ClientError, BotoCoreError) as error:
            raise StackError(
                f"the logs of run {run} cannot be read: {error}",
                "Your credentials need logs:FilterLogEvents on the functions' log groups, and "
                "lambda:GetFunctionConfiguration.",
            ) from error
        return sorted(found, key=lambda one: one.at)

    def _of_function(self, name: str, run: str) -> Iterator[LogEvent]:
        hits = list(self._filtered(name, filterPattern=f'"{run}"'))
        if not hits:
            return
        since = min(int(hit["timestamp"]) for hit in hits) - MARGIN_MS
        streams = sorted({str(hit["logStreamName"]) for hit in hits})
        for first in range(0, len(streams), STREAMS):
            some = streams[first : first + STREAMS]
            events = self._filtered(name, logStreamNames=some, startTime=max(0, since))
            yield from invocations(name, run, events)

    def _filtered(self, name: str, **how: Any) -> Iterator[Mapping[str, Any]]:
        pages = self._logs.get_paginator("filter_log_events").paginate(
            logGroupName=self._group(name), **how
        )
        for page in pages:
            yield from page["events"]

    def _group(self, name: str) -> str:
        if name not in self._groups:
            found = self._lambda.get_function_configuration(FunctionName=name)
            written = found.get("LoggingConfig", {}).get("LogGroup")
            self._groups[name] = written or f"/aws/lambda/{name}"
        return self._groups[name]


def insights(run: str) -> str:
    """Give the query of CloudWatch Logs Insights that shows a run."""
    return QUERY.format(run=run)


def of_file(file: Path, run: str) -> list[LogEvent]:
    """Give the lines of a run in a file of this machine, the oldest first.

    Raises
    ------
    StackError
        If it cannot be read.
    """
    try:
        texts = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise StackError(f"{file} cannot be read: {error.strerror}", "Check WUKONG_LOG.") from error
    found = [_local(f"{number}", text) for number, text in enumerate(texts) if run in text]
    return sorted(filter(None, found), key=lambda one: one.at)


def _local(name: str, text: str) -> LogEvent | None:
    try:
        line = json.loads(text)
        return LogEvent(name, int(line["at"]), line["component"], line["request"], text)
    except (ValueError, KeyError, TypeError):
        # Somebody else's line.
        return None


@dataclass(slots=True)
class _Invocation:
    request: str = ""
    lines: list[LogEvent] = field(default_factory=list)
    is_ours: bool = False


def invocations(function: str, run: str, events: Iterable[Mapping[str, Any]]) -> Iterator[LogEvent]:
    """Give the lines of those invocations that name a run.

    But not those that name another one: what an invocation writes last may come late, and is then
    among the lines of the next.

    Parameters
    ----------
    events
        CloudWatch's events of several streams, each stream's in order. A stream has one invocation
        after another.
    """
    open_: dict[str, _Invocation] = {}
    for event in events:
        stream, text = str(event["logStreamName"]), str(event["message"]).rstrip("\n")
        started, ended = _START.search(text), _END.search(text)
        if started:
            open_[stream] = _Invocation(next(filter(None, started.groups())))
        current = open_.setdefault(stream, _Invocation())
        if (named := _NAMED.match(text)) and not named[1].startswith(run):
            continue
        at = int(event["timestamp"])
        event_id = str(event.get("eventId") or f"{stream}-{at}-{hash(text)}")
        current.lines.append(LogEvent(event_id, at, function, current.request, text))
        current.is_ours = current.is_ours or run in text
        if current.is_ours:
            yield from current.lines
            current.lines.clear()
        if ended:
            open_[stream] = _Invocation()
