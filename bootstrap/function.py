"""The bootstrap's Lambda handler: one way in for every trigger, one way out for every answer.

event ─> read_event ─> perform ─> Answer ─┬─> CloudFormation, if it asked: exactly once
                                          ├─> the log and a metric
                                          └─> the caller, or for an upload that a retry can
                                              still deploy, an exception
"""

from __future__ import annotations

import os
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from bootstrap.answer import Answer, Status
from bootstrap.cloudformation import ReplyTo, respond
from bootstrap.deadline import Deadline, alarm
from bootstrap.deploy import Surroundings, perform
from bootstrap.errors import BootstrapError
from bootstrap.events import Ignored, Request, describe, read_event
from bootstrap.lambda_api import CONTROL, LambdaApi
from bootstrap.retry import mapped
from bootstrap.settings import Settings

logger = Logger(service="bootstrap")
metrics = Metrics(namespace="Wukong", service="bootstrap")


# Never `log_event`: an event holds the answer's URL and the store's.
@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: object, context: LambdaContext) -> dict[str, Any]:
    """Deploy, delete or tell the status, as the event asks.

    Raises
    ------
    BootstrapError
        Only where nobody waits for the answer and the same event can succeed later, so that
        Lambda's retry has a sense; and if CloudFormation could not be answered.
    """
    logger.info("event", about=describe(event))
    deadline = Deadline.after(context.get_remaining_time_in_millis())
    reply_to = ReplyTo.of(event)
    request, answer = _answer(event, deadline, context.aws_request_id)
    try:
        if reply_to is not None:
            respond(reply_to, reply_to.body(answer, request.spec if request else None))
    finally:
        _report(answer)
    if answer.error is not None and answer.error.retryable and _is_upload(request):
        raise answer.error
    return answer.to_event()


def _answer(event: object, deadline: Deadline, request_id: str) -> tuple[Request | None, Answer]:
    """Give an answer, whatever happens: this is the one place that turns errors into answers."""
    request: Request | None = None
    try:
        with alarm(deadline):
            settings = Settings.from_environment(os.environ)
            read = read_event(event, settings)
            if isinstance(read, Ignored):
                return None, Answer(Status.IGNORED, read.reason)
            request = read
            s3 = boto3.client("s3", config=CONTROL)
            around = Surroundings(LambdaApi(deadline), s3, settings, deadline, request_id)
            return request, perform(request, around)
    except BootstrapError as error:
        return request, Answer.failed(error)
    except (ClientError, BotoCoreError) as error:
        return request, Answer.failed(mapped(error, "AWS"))
    except Exception as error:
        # A bug must still be answered; the log has all of it.
        logger.exception("unexpected")
        return request, Answer.failed(BootstrapError(f"{type(error).__name__}: see the log."))


def _is_upload(request: Request | None) -> bool:
    return request is not None and request.trigger.is_upload


def _report(answer: Answer) -> None:
    log = logger.error if answer.status is Status.FAILED else logger.info
    log("answer", answer=answer.to_event())
    name = "".join(word.capitalize() for word in answer.status.value.split("_"))
    metrics.add_metric(name=f"Deployment{name}", unit=MetricUnit.Count, value=1)
