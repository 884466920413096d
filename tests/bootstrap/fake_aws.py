"""An AWS account in memory, for tests that crash and repeat deployments thousands of times.

`FakeAws` holds a Lambda and an S3 client with the methods of boto3's that the bootstrap uses: the
same arguments, answers and errors, and the same rules, as far as AWS documents them or has been
recorded following them. No call leaves the process and no wait takes time.

All calls go through `FakeAws.dispatch`, which lists them in `calls` and asks the `fault` hook what
is to go wrong. The hook runs before the call takes effect, so it can also be somebody else who
changes the account in that moment; it is asked about those calls too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar, cast

from botocore.exceptions import ClientError, ReadTimeoutError

Answer = dict[str, Any]
C = TypeVar("C", bound="FakeClient")
P = ParamSpec("P")
T = TypeVar("T")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When the clock shows zero."""


class Fault(Enum):
    """What can go wrong with a call."""

    CRASH_BEFORE = "the process ends before the call takes effect"
    CRASH_AFTER = "the process ends after the call took effect, before it has the answer"
    LOST_REPLY = "the call takes effect, and its answer never arrives"
    SENT_TWICE = "the call takes effect, its answer is lost, and the SDK sends it again"
    THROTTLE = "too many requests; nothing happens"
    CONFLICT = "an update is in progress; nothing happens"
    PRECONDITION = "the revision is another one; nothing happens"
    SERVER_ERROR = "AWS has an internal error; nothing happens"


Hook = Callable[[int, str], Fault | None]
"""Given a call's number and its operation (`"CreateFunction"`), says what goes wrong."""


class Crash(BaseException):
    """The process ends here: not an `Exception`, as no handler of those would run."""


class Refused(Exception):  # noqa: N818 - what AWS answers; `dispatch` makes a ClientError of it
    """AWS does not do what it was asked."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass
class FakeClock:
    """A clock that only moves when it is told to: nobody waits."""

    now: float = 0.0

    def read(self) -> float:
        """Give the seconds since the beginning."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let so much time have passed; what the code under test takes for its sleep."""
        self.now += seconds


class FakeClient:
    """What both clients have in common."""

    refusals: ClassVar[Mapping[Fault, Refused]]
    """This service's errors for the faults that keep a call from taking effect."""

    def __init__(self, aws: FakeAws) -> None:
        self.aws = aws

    def error(self, operation: str, refused: Refused) -> ClientError:
        """Give boto3's exception for an error."""
        response: Any = {
            "Error": {"Code": refused.code, "Message": refused.message},
            "ResponseMetadata": _metadata(refused.status),
        }
        return ClientError(response, operation)

    def get_paginator(self, operation_name: str) -> FakePaginator:
        """Give what walks through all pages of a list."""
        return FakePaginator(getattr(self, operation_name))


@dataclass(frozen=True)
class FakePaginator:
    """All pages of a list, one call for each."""

    method: Callable[..., Answer]

    def paginate(self, **arguments: Any) -> Iterator[Answer]:
        """Give the pages."""
        page = self.method(**arguments)
        yield page
        while marker := page.get("NextMarker"):
            page = self.method(**arguments, Marker=marker)
            yield page


def operation(
    status: int = 200,
) -> Callable[[Callable[Concatenate[C, P], Answer]], Callable[Concatenate[C, P], Answer]]:
    """Make a method one of AWS's operations, named after it, that answers with this status."""

    def decorate(
        method: Callable[Concatenate[C, P], Answer],
    ) -> Callable[Concatenate[C, P], Answer]:
        name = "".join(part.capitalize() for part in method.__name__.split("_"))

        @wraps(method)
        def call(self: C, /, *args: P.args, **arguments: P.kwargs) -> Answer:
            def effect() -> Answer:
                return method(self, *args, **arguments)

            answer = self.aws.dispatch(self, name, arguments, effect)
            return {**answer, "ResponseMetadata": _metadata(status)}

        return call

    return decorate


class FakeAws:
    """An account with Lambda and S3.

    Parameters
    ----------
    fault
        Says for each call whether and how it fails; may be set later.

    Attributes
    ----------
    lambda_, s3
        The clients.
    calls
        Every call that was made, refused or not: its operation and its arguments.
    clock
        For deadlines and pauses; only `advance` moves it.
    """

    def __init__(
        self, fault: Hook | None = None, account: str = "123456789012", region: str = "eu-west-1"
    ) -> None:
        # They import what is above.
        from tests.bootstrap.fake_lambda import FakeLambda
        from tests.bootstrap.fake_s3 import FakeS3

        self.fault = fault
        self.account = account
        self.region = region
        self.calls: list[tuple[str, Mapping[str, Any]]] = []
        self.clock = FakeClock()
        self.lambda_ = FakeLambda(self)
        self.s3 = FakeS3(self)
        self._ids = 0

    @property
    def operations(self) -> list[str]:
        """The operations of `calls`."""
        return [name for name, _ in self.calls]

    def dispatch(
        self,
        client: FakeClient,
        name: str,
        arguments: Mapping[str, Any],
        effect: Callable[[], Answer],
    ) -> Answer:
        """Make a call, or let it fail as the hook says."""
        index = len(self.calls)
        self.calls.append((name, arguments))
        fault = self.fault(index, name) if self.fault else None
        if fault is Fault.CRASH_BEFORE:
            raise Crash(f"before call {index}, {name}")
        if fault and fault in client.refusals:
            raise client.error(name, client.refusals[fault])
        if fault is Fault.SENT_TWICE:
            with suppress(Refused):
                effect()
        answer: Answer = {}
        problem: ClientError | None = None
        try:
            answer = effect()
        except Refused as refused:
            problem = client.error(name, refused)
        if fault is Fault.CRASH_AFTER:
            raise Crash(f"after call {index}, {name}")
        if fault is Fault.LOST_REPLY:
            raise ReadTimeoutError(endpoint_url=f"https://aws.example/{name}")
        if problem:
            raise problem
        return answer

    def new_id(self) -> str:
        """Give an id like a UUID, never twice the same."""
        self._ids += 1
        return f"{self._ids:08x}-0000-4000-8000-{self._ids:012x}"

    def time(self) -> datetime:
        """Give the clock's time as a date."""
        return EPOCH + timedelta(seconds=self.clock.now)


def copied(value: T) -> T:
    """Copy what can be written as JSON; several times faster than `copy.deepcopy`."""
    copy: Any = value
    if isinstance(value, dict):
        copy = {key: copied(item) for key, item in value.items()}
    elif isinstance(value, list):
        copy = [copied(item) for item in value]
    return cast("T", copy)


def _metadata(status: int) -> Answer:
    return {"HTTPStatusCode": status, "HTTPHeaders": {}, "RetryAttempts": 0}
