"""Who is told of an event's outcome: the log, the metrics, and whoever listens to releases.

The alarm of the template looks at the metric `Failed`. News of releases go to an SNS topic if the
stack has one, else to EventBridge's default bus; that nobody could be told fails nothing.
https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from bootstrap.answer import Answer, Status

if TYPE_CHECKING:
    from bootstrap.settings import Settings

SOURCE = "wukong.bootstrap"
NEWS_BYTES = 200_000
"""Below EventBridge's and SNS's limit of 256 KB."""

_METRICS: Mapping[Status, str] = {
    Status.CREATED: "Deployed",
    Status.CODE_CHANGED: "Deployed",
    Status.CONFIGURATION_CHANGED: "Deployed",
    Status.UNCHANGED: "NoOp",
    Status.STALE: "Stale",
    Status.HELD: "Stale",
    Status.ROLLED_BACK: "RolledBack",
    Status.DELETED: "Deleted",
    Status.FAILED: "Failed",
    Status.AWAITING_PACKAGE: "Awaiting",
    Status.IGNORED: "Ignored",
}
"""What is counted, and how long it took; what is not here was only asked."""

_NEWS = frozenset({"Deployed", "RolledBack", "Deleted", "Failed"})

# It must not take the time that is kept for the answer.
_QUICK = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2})

logger = Logger(service="bootstrap", child=True)


def report(answer: Answer, metrics: Metrics, began: float) -> None:
    """Log an answer and count it; `began` is on the monotonic clock, in seconds."""
    log = logger.error if answer.status is Status.FAILED else logger.info
    log("answer", answer=answer.to_event())
    name = _METRICS.get(answer.status, "Asked")
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=1)
    took = (time.monotonic() - began) * 1000
    metrics.add_metric(name=f"{name}Duration", unit=MetricUnit.Milliseconds, value=took)


def announce(answer: Answer, settings: Settings, function_name: str) -> None:
    """Tell listeners of a release, a rollback, a deletion or a failure."""
    name = _METRICS.get(answer.status)
    if name not in _NEWS:
        return
    news = json.dumps({"bootstrap": function_name, **answer.to_event()})
    if len(news.encode()) > NEWS_BYTES:
        news = json.dumps({"bootstrap": function_name, "status": answer.status.value})
    try:
        if settings.topic:
            sns = boto3.client("sns", config=_QUICK)
            subject = f"Wukong: {answer.status.value}"
            sns.publish(TopicArn=settings.topic, Subject=subject, Message=news)
            return
        entry = {"Source": SOURCE, "DetailType": f"Wukong {name}", "Detail": news}
        told = boto3.client("events", config=_QUICK).put_events(Entries=[entry])
        if told["FailedEntryCount"]:
            logger.warning("not announced", problem=told["Entries"][0].get("ErrorCode"))
    except (ClientError, BotoCoreError) as error:
        logger.warning("not announced", problem=str(error)[:500])
