"""The bootstrap's Lambda handler: one way in for every trigger, one way out for every answer.

event ─> read_event ─> perform ─> Answer ─┬─> CloudFormation, if it asked: exactly once
                                          ├─> the log, a metric, and who listens to releases
                                          └─> the caller, or for an upload that a retry can
                                              still deploy, an exception
"""

from __future__ import annotations

import os
import time
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from bootstrap.actions import perform
from bootstrap.answer import Answer, Status
from bootstrap.cloudformation import ReplyTo, respond
from bootstrap.deadline import Deadline, alarm
from bootstrap.errors import BootstrapError
from bootstrap.events import Ignored, Request, describe, read_event
from bootstrap.lambda_api import LambdaApi
from bootstrap.lambda_reader import CONTROL
from bootstrap.progress import Progress
from bootstrap.retry import mapped
from bootstrap.settings import Settings
from bootstrap.surroundings import Surroundings
from bootstrap.tell import announce, report

logger = Logger(service="bootstrap")
metrics = Metrics(namespace="Wukong", service="bootstrap")


# Never `log_event`: an event holds the answer's URL and the store's.
@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: object, context: LambdaContext) -> dict[str, Any]:
    """Do what the event asks.

    Raises
    ------
    BootstrapError
        Only where nobody waits for the answer and the same event can succeed later, so that
        Lambda's retry has a sense; and if CloudFormation could not be answered.
    """
    began = time.monotonic()
    logger.info("event", about=describe(event))
    # Several stacks of one account count separately.
    metrics.add_dimension(name="FunctionName", value=context.function_name)
    deadline = Deadline.after(context.get_remaining_time_in_millis())
    reply_to = ReplyTo.of(event)
    request, answer, settings = _answer(event, deadline, context)
    try:
        if reply_to is not None:
            respond(reply_to, reply_to.body(answer, request.spec if request else None))
    finally:
        report(answer, metrics, began)
        if settings is not None:
            announce(answer, settings, context.function_name)
    if answer.error is not None and answer.error.retryable and _is_upload(request):
        raise answer.error
    return answer.to_event()


def _answer(
    event: object, deadline: Deadline, context: LambdaContext
) -> tuple[Request | None, Answer, Settings | None]:
    """Give an answer, whatever happens: this is the one place that turns errors into answers."""
    request: Request | None = None
    settings: Settings | None = None
    progress = Progress()
    try:
        with alarm(deadline):
            settings = Settings.from_environment(os.environ)
            read = read_event(event, settings)
            if isinstance(read, Ignored):
                return None, Answer(Status.IGNORED, read.reason), settings
            request = read
            s3 = boto3.client("s3", config=CONTROL)
            api = LambdaApi(deadline)
            around = Surroundings(
                api,
                s3,
                settings,
                deadline,
                context.aws_request_id,
                progress=progress,
                # An alias or a version has no tags.
                function_arn=":".join(context.invoked_function_arn.split(":")[:7]),
            )
            answer = perform(request, around)
    except BootstrapError as error:
        answer = Answer.failed(error, progress.done, progress.left)
    except (ClientError, BotoCoreError) as error:
        answer = Answer.failed(mapped(error, "AWS"), progress.done, progress.left)
    except Exception as error:
        # A bug must still be answered; the log has all of it.
        logger.exception("unexpected")
        problem = BootstrapError(f"{type(error).__name__}: see the log.")
        answer = Answer.failed(problem, progress.done, progress.left)
    return request, answer, settings


def _is_upload(request: Request | None) -> bool:
    return request is not None and request.trigger.is_upload
