"""The fake AWS's faults: each hits the call that it is for, and does what it says."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.bootstrap.fake_aws import Crash, FakeAws, Fault
from tests.bootstrap.fake_helpers import lambda_with, refusal


@dataclass
class FaultAt:
    """A hook for one fault, at one call."""

    index: int
    fault: Fault
    asked: list[tuple[int, str]] = field(default_factory=list)

    def __call__(self, index: int, operation: str) -> Fault | None:
        self.asked.append((index, operation))
        return self.fault if index == self.index else None


def versions(aws: FakeAws) -> list[str]:
    listed = aws.lambda_.list_versions_by_function(FunctionName="f")["Versions"]
    return [version["Version"] for version in listed[1:]]


@pytest.mark.parametrize(
    ("fault", "raised", "after"),
    [
        (Fault.CRASH_BEFORE, Crash, []),
        (Fault.CRASH_AFTER, Crash, ["1"]),
        (Fault.LOST_REPLY, ReadTimeoutError, ["1"]),
        (Fault.THROTTLE, "TooManyRequestsException", []),
        (Fault.CONFLICT, "ResourceConflictException", []),
        (Fault.PRECONDITION, "PreconditionFailedException", []),
        (Fault.SERVER_ERROR, "ServiceException", []),
    ],
)
def test_a_fault_hits_the_call_that_it_is_for(
    fault: Fault, raised: type[BaseException] | str, after: list[str]
) -> None:
    aws = lambda_with()
    hook = FaultAt(1, fault)
    aws.fault = hook
    aws.s3.head_object(Bucket="bucket", Key="key")
    error = ClientError if isinstance(raised, str) else raised
    with pytest.raises(error) as caught:
        aws.lambda_.publish_version(FunctionName="f", Description="mine")
    if isinstance(caught.value, ClientError):
        assert caught.value.response["Error"]["Code"] == raised
        assert caught.value.operation_name == "PublishVersion"
    assert hook.asked == [(0, "HeadObject"), (1, "PublishVersion")]
    assert aws.calls[1] == ("PublishVersion", {"FunctionName": "f", "Description": "mine"})
    assert versions(aws) == after


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.THROTTLE, 429),
        (Fault.CONFLICT, 409),
        (Fault.PRECONDITION, 412),
        (Fault.SERVER_ERROR, 500),
    ],
)
def test_a_refusal_has_the_status_of_the_service(fault: Fault, status: int) -> None:
    aws = FakeAws(lambda index, operation: fault)
    with pytest.raises(ClientError) as caught:
        aws.lambda_.get_function(FunctionName="f")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    with pytest.raises(ClientError) as caught:
        aws.s3.head_object(Bucket="bucket", Key="key")
    seen = caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
    assert seen == (503 if status == 429 else status)
    assert caught.value.response["Error"]["Code"] == str(seen)


def test_a_call_sent_twice_is_answered_like_the_second() -> None:
    aws = lambda_with()
    aws.fault = lambda index, operation: Fault.SENT_TWICE
    arguments = {"FunctionName": "f", "Name": "live", "FunctionVersion": "$LATEST"}
    assert refusal(aws.lambda_.create_alias, **arguments)[0] == "ResourceConflictException"
    assert aws.lambda_.get_alias(FunctionName="f", Name="live")["FunctionVersion"] == "$LATEST"


def test_a_crash_goes_through_handlers_of_exceptions() -> None:
    aws = FakeAws(lambda index, operation: Fault.CRASH_BEFORE)

    def careless() -> None:
        with suppress(Exception):
            aws.lambda_.get_function(FunctionName="f")

    with pytest.raises(Crash, match="before call 0, GetFunction"):
        careless()


def test_the_hook_can_be_somebody_else_at_work() -> None:
    aws = lambda_with()

    def meanwhile(index: int, operation: str) -> None:
        if index == 0:
            aws.lambda_.delete_function(FunctionName="f")

    aws.fault = meanwhile
    absent = refusal(aws.lambda_.publish_version, FunctionName="f")
    assert absent[0] == "ResourceNotFoundException"
    assert aws.operations == ["PublishVersion", "DeleteFunction"]
