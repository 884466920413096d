"""The fake AWS alone: what only AWS does, not MiniStack."""

from __future__ import annotations

import inspect
import json
from typing import Any

from botocore.exceptions import ClientError

from tests.bootstrap.conftest import handler, package, zipped
from tests.bootstrap.differential import (
    HANDLER,
    PING,
    model,
)
from tests.bootstrap.fake_aws import FakeAws
from tests.bootstrap.fake_helpers import lambda_with, refusal, uploaded
from tests.bootstrap.fake_lambda import Failure
from tests.bootstrap.fake_state import SETTLED


def test_the_methods_have_the_parameters_of_boto3s() -> None:
    aws = FakeAws()
    for service, client in (("lambda", aws.lambda_), ("s3", aws.s3)):
        operations = [name for name, _ in inspect.getmembers(client) if _is_operation(client, name)]
        assert len(operations) > 1
        for name in operations:
            known = model(service, name).input_shape
            parameters = inspect.signature(getattr(client, name)).parameters.values()
            named = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
            assert named.keys() <= known.members.keys()
            required = {p.name for p in named.values() if p.default is p.empty}
            extra = {"Runtime", "Handler"} if name == "create_function" else set()
            assert required == {*known.required_members, *extra}


def _is_operation(client: Any, name: str) -> bool:
    return not name.startswith("_") and hasattr(getattr(client, name), "__wrapped__")


def test_a_creation_is_pending_for_as_many_polls_as_asked() -> None:
    aws = FakeAws()
    aws.lambda_.create_polls = 2
    aws.s3.put("bucket", "key", package("1"))
    code = {"S3Bucket": "bucket", "S3Key": "key"}
    rest: dict[str, Any] = {"Role": "role", "Runtime": "python3.13", "Handler": HANDLER}
    created = aws.lambda_.create_function(FunctionName="f", Code=code, **rest)
    assert (created["State"], created.get("LastUpdateStatus")) == ("Pending", None)
    polls = [aws.lambda_.get_function(FunctionName="f")["Configuration"] for _ in range(3)]
    assert [poll["State"] for poll in polls] == ["Pending", "Pending", "Active"]
    assert polls[0]["RevisionId"] == created["RevisionId"]
    assert polls[2]["RevisionId"] != created["RevisionId"]
    assert polls[2].items() >= SETTLED.items()


def test_an_update_refuses_others_until_it_has_ended() -> None:
    aws = lambda_with()
    client = aws.lambda_
    client.update_polls = 3
    client.publish_version(FunctionName="f")
    updated = client.update_function_configuration(FunctionName="f", Handler="missing.handler")
    assert (updated["State"], updated["LastUpdateStatus"]) == ("Active", "InProgress")
    code, message = refusal(client.publish_version, FunctionName="f")
    assert code == "ResourceConflictException"
    assert "An update is in progress for resource: arn:aws:lambda:" in message
    # Until then invocations get what was before.
    answer = client.invoke(FunctionName="f", Payload=PING)
    assert json.loads(answer["Payload"].read())["wukong"] == "pong"
    for _ in range(2):
        busy = client.get_function_configuration(FunctionName="f")
        assert busy["LastUpdateStatus"] == "InProgress"
        assert busy["RevisionId"] == updated["RevisionId"]
    stale = {"FunctionName": "f", "RevisionId": updated["RevisionId"]}
    assert refusal(client.publish_version, **stale)[0] == "PreconditionFailedException"
    assert client.publish_version(FunctionName="f")["Version"] == "2"
    assert "FunctionError" in client.invoke(FunctionName="f", Payload=PING)


def test_who_only_repeats_a_refused_write_gets_through() -> None:
    aws = lambda_with()
    aws.lambda_.update_polls = 2
    aws.lambda_.update_function_configuration(FunctionName="f", Timeout=4)
    refused = 0
    while True:
        try:
            aws.lambda_.publish_version(FunctionName="f")
            break
        except ClientError:
            refused += 1
    assert refused == 2


def test_a_creation_can_fail_and_then_only_be_deleted() -> None:
    aws = FakeAws()
    client = aws.lambda_
    client.failures["CreateFunction", "f"] = Failure("InvalidSubnet", "no such subnet")
    code = uploaded(aws, package("1"))
    arguments: dict[str, Any] = {
        "Code": code,
        "Role": "role",
        "Runtime": "python3.13",
        "Handler": HANDLER,
    }
    client.create_function(FunctionName="f", **arguments)
    states = [client.get_function(FunctionName="f")["Configuration"] for _ in range(2)]
    assert [state["State"] for state in states] == ["Pending", "Failed"]
    assert states[1]["StateReasonCode"] == "InvalidSubnet"
    assert refusal(client.publish_version, FunctionName="f")[0] == "ResourceConflictException"
    client.delete_function(FunctionName="f")
    client.create_function(FunctionName="f", **arguments)
    client.get_function(FunctionName="f")
    assert client.get_function(FunctionName="f")["Configuration"]["State"] == "Active"


def test_an_update_can_fail_and_leaves_what_was_before_running() -> None:
    aws = lambda_with()
    client = aws.lambda_
    client.failures["UpdateFunctionCode", "f"] = Failure()
    client.update_function_code(FunctionName="f", **uploaded(aws, package("2")))
    client.get_function(FunctionName="f")
    failed = client.get_function(FunctionName="f")["Configuration"]
    assert (failed["State"], failed["LastUpdateStatus"]) == ("Active", "Failed")
    assert failed["LastUpdateStatusReasonCode"] == "SubnetOutOfIPAddresses"
    answer = client.invoke(FunctionName="f", Payload=PING)
    assert json.loads(answer["Payload"].read())["marker"] == "1"
    client.update_function_code(FunctionName="f", **uploaded(aws, package("2")))
    client.get_function(FunctionName="f")
    assert client.get_function(FunctionName="f")["Configuration"].items() >= SETTLED.items()


def test_a_new_role_cannot_be_assumed_at_first() -> None:
    aws = FakeAws()
    aws.lambda_.unassumable["new"] = 2
    arguments: dict[str, Any] = {
        "FunctionName": "f",
        "Code": uploaded(aws, package("1")),
        "Role": "new",
        "Runtime": "python3.13",
        "Handler": HANDLER,
    }
    for _ in range(2):
        code, message = refusal(aws.lambda_.create_function, **arguments)
        assert code == "InvalidParameterValueException"
        assert message == "The role defined for the function cannot be assumed by Lambda."
    aws.lambda_.create_function(**arguments)


def test_a_version_with_a_snapshot_is_pending_for_as_many_polls_as_asked() -> None:
    aws = lambda_with(SnapStart={"ApplyOn": "PublishedVersions"})
    client = aws.lambda_
    client.snapshot_polls = 2
    published = client.publish_version(FunctionName="f")
    assert published["State"] == "Pending"
    place = {"FunctionName": "f", "Qualifier": "1"}
    assert refusal(client.invoke, **place)[0] == "ResourceConflictException"
    assert client.get_function_configuration(**place)["State"] == "Pending"
    assert client.get_function_configuration(**place)["State"] == "Active"
    assert client.get_function_configuration(**place)["RevisionId"] == published["RevisionId"]
    client.failures["PublishVersion", "f"] = Failure("FunctionError", "it raised")
    client.update_function_configuration(FunctionName="f", Timeout=4)
    client.get_function(FunctionName="f")
    client.publish_version(FunctionName="f")
    states = [
        client.get_function_configuration(FunctionName="f", Qualifier="2")["State"]
        for _ in range(3)
    ]
    assert states == ["Pending", "Pending", "Failed"]


def test_a_handler_that_is_not_in_the_package_fails_when_it_is_invoked() -> None:
    aws = lambda_with()
    code = zipped({"invoker/function.py": handler("invoker")})
    aws.lambda_.update_function_code(FunctionName="f", **uploaded(aws, code))
    aws.lambda_.get_function(FunctionName="f")
    aws.lambda_.get_function(FunctionName="f")
    answer = aws.lambda_.invoke(FunctionName="f", Payload=PING)
    assert answer["FunctionError"] == "Unhandled"
    assert b"Unable to import module 'executor.function'" in answer["Payload"].read()


def test_answers_are_not_what_is_stored() -> None:
    aws = lambda_with(Environment={"Variables": {"A": "1"}})
    answer = aws.lambda_.get_function_configuration(FunctionName="f")
    answer["Environment"]["Variables"]["A"] = "2"
    again = aws.lambda_.get_function_configuration(FunctionName="f")
    assert again["Environment"]["Variables"] == {"A": "1"}


def test_no_concurrency_means_no_invocation() -> None:
    aws = lambda_with()
    aws.lambda_.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=0)
    assert refusal(aws.lambda_.invoke, FunctionName="f")[0] == "TooManyRequestsException"


def test_a_bucket_without_versions_has_the_last_object_only() -> None:
    aws = FakeAws()
    aws.s3.unversioned.add("bucket")
    aws.s3.put("bucket", "key", b"one")
    aws.s3.put("bucket", "key", b"two", checksum=None)
    found = aws.s3.head_object(Bucket="bucket", Key="key", ChecksumMode="ENABLED")
    assert found["ContentLength"] == 3
    assert not {"VersionId", "ChecksumSHA256"} & found.keys()
    aws.s3.delete("bucket", "key")
    assert refusal(aws.s3.head_object, Bucket="bucket", Key="key")[0] == "404"


def test_the_clock_only_moves_when_it_is_told_to() -> None:
    aws = FakeAws()
    aws.clock.advance(3600)
    assert aws.clock.read() == 3600
    aws.s3.put("bucket", "key", b"")
    modified = aws.s3.head_object(Bucket="bucket", Key="key")["LastModified"]
    assert modified == aws.time()
