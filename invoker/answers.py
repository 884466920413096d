"""What Lambda's answer to an invocation means: accepted, try again, or never.

https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors
"""

from __future__ import annotations

import enum
import json
import time

from invoker.http1 import Response
from wukong.messages import InvokerReport, MessageError


class Verdict(enum.Enum):
    """What becomes of an event after an answer."""

    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    """Too many requests: again later, and fewer at once."""
    FAULT = "fault"
    """A fault of the service: again later."""
    EXPIRED = "expired"
    """The credentials are old: again with new ones."""
    REFUSED = "refused"
    """It would be refused again."""


_FUNCTION_ERROR = "x-amz-function-error"

_THROTTLES = frozenset({"TooManyRequestsException", "ThrottlingException", "Throttling"})


def verdict(response: Response) -> Verdict:
    """Judge an answer; that of a function that was waited for, too."""
    status = response.status
    if status in {200, 202}:
        # The function's own error, in an answer to a call that waits.
        return Verdict.REFUSED if _FUNCTION_ERROR in response.headers else Verdict.ACCEPTED
    if status in {429, 503} or _code(response) in _THROTTLES:
        return Verdict.THROTTLED
    if status == 408 or status >= 500:
        return Verdict.FAULT
    if status in {400, 401, 403} and _is_expired(response):
        return Verdict.EXPIRED
    return Verdict.REFUSED


def report_of(response: Response) -> InvokerReport | None:
    """Give what an Invoker says of its branch; None if that is no report."""
    try:
        return InvokerReport.from_event(json.loads(response.body))
    except (ValueError, RecursionError, MessageError):
        return None


def reason(response: Response) -> str:
    """Say in Lambda's words why an event was not accepted."""
    code = _code(response) or response.headers.get(_FUNCTION_ERROR, f"HTTP {response.status}")
    message = _message(response)
    return f"{code}: {message}" if message else code


def retry_after(response: Response) -> float:
    """Give the seconds that the answer asks to wait; 0 if it does not say."""
    value = response.headers.get("retry-after", "")
    if value.isdecimal() and len(value) < 7:
        return float(value)
    if not value:
        return 0.0
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def _code(response: Response) -> str:
    # Some services append an address after a colon.
    return response.headers.get("x-amzn-errortype", "").partition(":")[0]


def _message(response: Response) -> str:
    text = response.body.decode(errors="replace")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return text[:200].strip()
    if not isinstance(body, dict):
        return text[:200]
    return str(body.get("Message") or body.get("message") or body.get("errorMessage") or "")


def _is_expired(response: Response) -> bool:
    if _code(response).startswith("ExpiredToken"):
        return True
    message = _message(response).lower()
    return "security token" in message and "expired" in message
