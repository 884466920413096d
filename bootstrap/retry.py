"""Tells AWS's errors apart, and repeats a call while waiting is what cures it.

Existence, permission and throttling are never confused: only `ResourceNotFoundException` means
that something is absent, and callers ask for that by name before they come here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from bootstrap.deadline import Deadline
from bootstrap.errors import (
    BootstrapError,
    ConflictError,
    DeletedMeanwhileError,
    RefusedError,
    RoleNotReadyError,
    ThrottledError,
    UnreachableError,
    UpdateInProgressError,
)

T = TypeVar("T")

ROLE_SECONDS = 90.0
"""How long a new role may take until Lambda can assume it; it is usually less than ten seconds."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 5.0

_ROLE = re.compile(
    r"role.*cannot be assumed|role.*does not have permissions|InvalidArn.*valid principal",
    re.IGNORECASE | re.DOTALL,
)
# Lambda's, S3's, and S3's where the answer has no body (HEAD).
_PRECONDITIONS = {"PreconditionFailedException", "PreconditionFailed", "412"}
# A version whose environment Lambda has given up for idleness, or not yet prepared.
_NOT_READY = {"ResourceNotReadyException", "SnapStartNotReadyException"}
_THROTTLES = {"TooManyRequestsException", "ThrottlingException", "Throttling", "SlowDown"}
_WAITING = (RoleNotReadyError, UpdateInProgressError, ThrottledError)


def mapped(error: ClientError | BotoCoreError, subject: str) -> BootstrapError:
    """Give our error for one of AWS's; `subject` is what the call was about."""
    if not isinstance(error, ClientError):
        return UnreachableError(
            f"{subject}: AWS could not be reached ({type(error).__name__}).",
            "Check the endpoint and the network, then send the event again.",
        )
    code = error.response["Error"].get("Code", "")
    message = f"{subject}: {error.operation_name} failed, {code}: {_text(error)}"
    kind, hint = _kind(error, code)
    return kind(message, hint)


def _kind(error: ClientError, code: str) -> tuple[type[BootstrapError], str]:
    text = _text(error)
    http_status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
    busy = code == "ResourceConflictException"
    exists = busy and "already exist" in text.lower()
    # A version that an alias needs: waiting does not change that.
    is_needed = "aliases reference" in text
    kinds: tuple[tuple[bool, type[BootstrapError], str], ...] = (
        (
            exists or code in _PRECONDITIONS or (http_status == 409 and not busy),
            ConflictError,
            "Another deployment is at work; send the event again.",
        ),
        (
            (busy and not is_needed) or code in _NOT_READY,
            UpdateInProgressError,
            "Send the event again when the function is ready.",
        ),
        (
            code in _THROTTLES,
            ThrottledError,
            "Wait, or raise the account's concurrency limit.",
        ),
        (
            code == "InvalidParameterValueException" and bool(_ROLE.search(text)),
            RoleNotReadyError,
            "Check the role's trust policy for lambda.amazonaws.com.",
        ),
        (
            # Callers that can do with an absence ask for it by name before they come here.
            code == "ResourceNotFoundException" and "Layer" not in error.operation_name,
            DeletedMeanwhileError,
            "To have it again, deploy it again.",
        ),
        (http_status >= 500, UnreachableError, "Send the event again."),
    )
    refused = RefusedError, "Correct what AWS names, then send the event again."
    return next(((kind, hint) for applies, kind, hint in kinds if applies), refused)


def _text(error: ClientError) -> str:
    # Lambda repeats the variables, with their values, when they are too many.
    return error.response["Error"].get("Message", "").partition("String measured")[0][:500]


def patiently(call: Callable[[], T], subject: str, deadline: Deadline) -> T:
    """Call until it succeeds, waiting as long as that can help and there is time.

    Raises
    ------
    BootstrapError
        The mapped error, when waiting does not cure it or has not within its time.
    """
    began = deadline.clock()
    pause = FIRST_PAUSE
    while True:
        try:
            return call()
        except (ClientError, BotoCoreError) as error:
            problem = mapped(error, subject)
            waited = deadline.clock() - began
            hopeless = isinstance(problem, RoleNotReadyError) and waited >= ROLE_SECONDS
            if hopeless or not isinstance(problem, _WAITING) or pause >= deadline.remaining():
                raise problem from error
        deadline.sleep(pause, subject)
        pause = min(pause * 1.5, LONGEST_PAUSE)
