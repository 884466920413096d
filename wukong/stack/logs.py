"""What functions wrote into CloudWatch for one run.

Lambda's own lines know invocations and no runs; a function writes the run's id when it begins. So
streams are first searched for the id, and of each that has it those invocations are given that
belong to the run, whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from wukong.stack.cloudformation import StackError

STREAMS = 100
"""So many streams one FilterLogEvents call takes.
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html"""

MARGIN_MS = 60_000
"""An invocation's first line is so much older than the one that names its run, at most."""

_START = re.compile(r"START RequestId: (\S+)")
_END = re.compile(r"REPORT RequestId: (\S+)")


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


@dataclass(slots=True)
class _Invocation:
    request: str = ""
    lines: list[LogEvent] = field(default_factory=list)
    is_ours: bool = False


def invocations(function: str, run: str, events: Iterable[Mapping[str, Any]]) -> Iterator[LogEvent]:
    """Give the lines of those invocations that name a run.

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
            open_[stream] = _Invocation(started.group(1))
        current = open_.setdefault(stream, _Invocation())
        at = int(event["timestamp"])
        event_id = str(event.get("eventId") or f"{stream}-{at}-{hash(text)}")
        current.lines.append(LogEvent(event_id, at, function, current.request, text))
        current.is_ours = current.is_ours or run in text
        if current.is_ours:
            yield from current.lines
            current.lines.clear()
        if ended:
            open_[stream] = _Invocation()
