"""Exactly which calls a deployment makes, in which order and with what: one too many fails too."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from bootstrap.actions import perform
from bootstrap.answer import Answer, Status
from bootstrap.configuration import Configuration
from bootstrap.deadline import Deadline
from bootstrap.errors import (
    DeadlineError,
    FunctionBrokenError,
    PackageError,
    RefusedError,
    RoleNotReadyError,
    SmokeTestError,
    SwitchError,
)
from bootstrap.events import Action, Request, Trigger, Upload
from bootstrap.lambda_api import LambdaApi
from bootstrap.record import Record
from bootstrap.settings import Settings
from bootstrap.spec import DEFAULTS, DeploymentWishes
from bootstrap.surroundings import Surroundings

from .conftest import package

BODY = package()
SHA = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
OLD = base64.b64encode(b"o" * 32).decode()
ROLE = "arn:aws:iam::123456789012:role/wukong"
OWNER = "arn:aws:cloudformation:eu-west-1:123456789012:stack/wukong/1"
CODE = {"S3Bucket": "bucket", "S3Key": "deployment.zip", "S3ObjectVersion": "v2"}
EXECUTOR, INVOKER = "WukongExecutor", "WukongInvoker"
MEMORY = {EXECUTOR: 3008, INVOKER: 512}
SECONDS = {EXECUTOR: 900, INVOKER: 300}
VARIABLES = {"WUKONG_PLATFORM": "aws", "WUKONG_STORE_URL": "redis://store"}


class Clock:
    """A clock that only moves when somebody sleeps, so that no test waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Bucket:
    """S3 with the one object, which counts what it is asked."""

    def __init__(self) -> None:
        self.body: bytes | None = BODY
        self.version = "v2"
        self.heads = 0
        self.reads = 0

    def head_object(self, **arguments: str) -> dict[str, Any]:
        self.heads += "ChecksumMode" in arguments
        if self.body is None:
            answer = {"Error": {"Code": "404"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
            raise ClientError(answer, "HeadObject")
        return {
            "VersionId": self.version,
            "ETag": '"etag"',
            "ContentLength": len(self.body),
            "ChecksumSHA256": SHA,
        }

    def get_object(self, **arguments: str) -> dict[str, Any]:
        assert self.body is not None
        assert arguments["IfMatch"] == '"etag"'
        self.reads += 1
        begin, end = arguments["Range"].removeprefix("bytes=").split("-")
        part = self.body[int(begin) : int(end) + 1]
        return {"Body": StreamingBody(io.BytesIO(part), len(part))}


class Script:
    """What AWS is going to be asked, in order, and what it answers."""

    def __init__(self) -> None:
        where: Any = {"region_name": "eu-west-1", "aws_access_key_id": "x"}
        where["aws_secret_access_key"] = "x"
        self._lambda = boto3.client("lambda", **where)
        self._script = Stubber(self._lambda)
        self.bucket = Bucket()
        self.clock = Clock()
        self.heads = 0
        self.reads = 0

    def perform(self, request: Request, seconds: float = 600.0) -> Answer:
        self._script.activate()
        deadline = Deadline(seconds, self.clock.read, self.clock.sleep)
        api = LambdaApi(deadline, self._lambda, self._lambda)
        s3: Any = self.bucket
        settings = Settings("bucket", "deployment.zip", OWNER, {})
        return perform(request, Surroundings(api, s3, settings, deadline, "request-1"))

    def verify(self) -> None:
        self._script.assert_no_pending_responses()
        assert self.bucket.heads == self.heads
        assert self.bucket.reads == self.reads

    def expect(self, method: str, answer: dict[str, Any], **arguments: Any) -> None:
        self._script.add_response(method, answer, arguments)

    def fail(self, method: str, code: str, message: str = "", status: int = 400) -> None:
        self._script.add_client_error(method, code, message, status)

    def head(self, version: str = "v2") -> None:
        """The package's object is looked up once more."""
        self.heads += 1
        self.bucket.version = version

    def look(self, version: str = "v2", body: bytes = BODY) -> None:
        """The package's object is looked up, and its end is read once."""
        self.head(version)
        self.reads += 1
        self.bucket.body = body

    def missing(self) -> None:
        """The package's object is looked up, in vain."""
        self.heads += 1
        self.bucket.body = None

    def read(self, name: str, live: dict[str, Any] | None = None, **latest: Any) -> None:
        """A function is read; without `live` it has no alias yet."""
        tags = {"wukong:owner": latest.pop("owner", OWNER)}
        found = {"Configuration": described(name, **latest), "Tags": tags}
        self.expect("get_function", found, FunctionName=name)
        self.expect("get_function_recursion_config", {"RecursiveLoop": "Allow"}, FunctionName=name)
        if live is None:
            self.fail("get_alias", "ResourceNotFoundException", status=404)
            return
        self.alias(name, live.pop("description", "by hand"))
        if live.pop("is_read", True):
            version = described(name, Version="1", **live)
            self.expect("get_function_configuration", version, FunctionName=name, Qualifier="1")
        if name == INVOKER:
            self.fail("get_function_event_invoke_config", "ResourceNotFoundException", status=404)
            return
        rule = {"MaximumRetryAttempts": 0}
        self.expect("get_function_event_invoke_config", rule, FunctionName=name, Qualifier="live")

    def recorded(self, name: str, **more: Any) -> None:
        """A function is read whose alias has a record: it says what the live version is."""
        self.read(name, live={"description": str(recorded(name)), "is_read": False}, **more)

    def alias(self, name: str, description: str, version: str = "1") -> None:
        alias = {"FunctionVersion": version, "RevisionId": f"alias-{name}"}
        alias["Description"] = description
        self.expect("get_alias", alias, FunctionName=name, Name="live")

    def absent(self, name: str) -> None:
        self.fail("get_function", "ResourceNotFoundException", status=404)

    def settle(self, name: str, revision: str = "settled", **more: Any) -> None:
        found = described(name, RevisionId=revision, CodeSha256=SHA, **more)
        self.expect("get_function", {"Configuration": found}, FunctionName=name)

    def create(self, name: str) -> None:
        component = name.removeprefix("Wukong").lower()
        self.expect(
            "create_function",
            {},
            FunctionName=name,
            Code=CODE,
            Architectures=["x86_64"],
            PackageType="Zip",
            Tags={"wukong:owner": OWNER},
            Handler=f"{component}.function.lambda_handler",
            Runtime="python3.13",
            Role=ROLE,
            MemorySize=MEMORY[name],
            Timeout=SECONDS[name],
            Layers=[],
            Environment={"Variables": VARIABLES},
            VpcConfig={"SubnetIds": [], "SecurityGroupIds": []},
            TracingConfig={"Mode": "PassThrough"},
            LoggingConfig={"LogGroup": f"/aws/lambda/{name}", "LogFormat": "Text"},
            EphemeralStorage={"Size": 512},
            SnapStart={"ApplyOn": "None"},
        )

    def update_code(self, name: str, revision: str) -> None:
        self.expect(
            "update_function_code",
            {},
            FunctionName=name,
            RevisionId=revision,
            Architectures=["x86_64"],
            **CODE,
        )

    def publish(self, name: str, version: str, revision: str = "settled") -> None:
        self.expect(
            "publish_version",
            {"Version": version},
            FunctionName=name,
            CodeSha256=SHA,
            RevisionId=revision,
            Description=ANY,
        )
        if name == EXECUTOR:
            self.retries(version)

    def retries(self, qualifier: str) -> None:
        self.expect(
            "put_function_event_invoke_config",
            {},
            FunctionName=EXECUTOR,
            Qualifier=qualifier,
            MaximumRetryAttempts=0,
        )

    def ping(self, name: str, version: str, **answer: Any) -> None:
        component = name.removeprefix("Wukong").lower()
        body = json.dumps({"wukong": "pong", "component": component, **answer}).encode()
        self.expect(
            "invoke",
            {"StatusCode": 200, "Payload": StreamingBody(io.BytesIO(body), len(body))},
            FunctionName=name,
            Qualifier=version,
            InvocationType="RequestResponse",
            Payload=b'{"wukong":"ping"}',
        )

    def create_alias(self, name: str, version: str) -> None:
        self.expect(
            "create_alias",
            {"RevisionId": f"new-{name}"},
            FunctionName=name,
            Name="live",
            FunctionVersion=version,
            Description=ANY,
        )

    def switch(self, name: str, version: str, based_on: str = "alias", **told: Any) -> None:
        self.expect(
            "update_alias",
            {"RevisionId": f"new-{name}"},
            FunctionName=name,
            Name="live",
            FunctionVersion=version,
            Description=told.get("description", ANY),
            RoutingConfig={"AdditionalVersionWeights": {}},
            RevisionId=f"{based_on}-{name}",
        )

    def recursion(self, name: str) -> None:
        self.expect(
            "put_function_recursion_config",
            {"RecursiveLoop": "Allow"},
            FunctionName=name,
            RecursiveLoop="Allow",
        )


def described(name: str, **more: Any) -> dict[str, Any]:
    """Describe a function as Lambda does, with the wanted configuration unless told otherwise."""
    component = name.removeprefix("Wukong").lower()
    return {
        "FunctionName": name,
        "FunctionArn": f"arn:aws:lambda:eu-west-1:123456789012:function:{name}",
        "Runtime": "python3.13",
        "Role": ROLE,
        "Handler": f"{component}.function.lambda_handler",
        "MemorySize": MEMORY[name],
        "Timeout": SECONDS[name],
        "Architectures": ["x86_64"],
        "Environment": {"Variables": VARIABLES},
        "TracingConfig": {"Mode": "PassThrough"},
        "CodeSha256": SHA,
        "RevisionId": "read",
        "Version": "$LATEST",
        "State": "Active",
        "LastUpdateStatus": "Successful",
        **more,
    }


CONFIGURED = DeploymentWishes.model_validate(
    {
        "executor": {"role": ROLE, **DEFAULTS["executor"]},
        "invoker": {"role": ROLE, **DEFAULTS["invoker"]},
        "store_url": "redis://store",
    }
)
"""What a stack says: the defaults, as the template's parameters repeat them."""


def deploying(*uploads: Upload, **event: Any) -> Request:
    trigger = Trigger.S3 if uploads else Trigger.MANUAL
    asked = DeploymentWishes.model_validate(event)
    return Request(Action.DEPLOY, trigger, OWNER, (CONFIGURED,), asked, trigger, uploads)


def asking(action: Action, to: str = "") -> Request:
    return Request(action, Trigger.MANUAL, OWNER, (CONFIGURED,), by="manual", to=to)


def recorded(name: str, **more: Any) -> Record:
    """Give the record of a live release whose configuration is the wanted one."""
    fingerprint = Configuration.from_lambda(described(name)).fingerprint
    told: dict[str, Any] = {
        "release": "1.1",
        "previous": "-",
        "package": "v2",
        "sha": SHA[:12],
        "configuration": fingerprint,
        "at": "20260102T030405.678Z",
        "request": "r",
        "by": "manual",
    }
    return Record(**{**told, **more})


@pytest.fixture
def script() -> Iterator[Script]:
    expected = Script()
    yield expected
    expected.verify()


def created(script: Script) -> None:
    """Expect both functions to be created and published, up to the smoke test."""
    script.look()
    script.absent(EXECUTOR)
    script.absent(INVOKER)
    script.create(EXECUTOR)
    script.create(INVOKER)
    script.settle(EXECUTOR)
    script.settle(INVOKER)
    script.publish(INVOKER, "1")
    script.publish(EXECUTOR, "1")


def changed(script: Script) -> None:
    """Expect new code in both functions and pings, up to the switch."""
    script.look()
    script.read(EXECUTOR, live={"CodeSha256": OLD}, CodeSha256=OLD)
    script.read(INVOKER, live={"CodeSha256": OLD}, CodeSha256=OLD)
    script.update_code(EXECUTOR, "read")
    script.update_code(INVOKER, "read")
    script.settle(EXECUTOR)
    script.settle(INVOKER)
    script.publish(INVOKER, "2")
    script.publish(EXECUTOR, "2")
    script.ping(EXECUTOR, "2")
    script.ping(INVOKER, "2")


def test_creation_starts_both_before_waiting_for_either(script: Script) -> None:
    created(script)
    script.ping(EXECUTOR, "1")
    script.ping(INVOKER, "1")
    script.recursion(EXECUTOR)
    script.recursion(INVOKER)
    script.create_alias(EXECUTOR, "1")
    script.create_alias(INVOKER, "1")
    script.retries("live")
    answer = script.perform(deploying(Upload("v2", "etag")))
    assert answer.status is Status.CREATED
    assert [function.version for function in answer.functions] == ["1", "1"]
    assert [function.previous for function in answer.functions] == [None, None]


def test_changed_code_is_published_pinged_and_switched(script: Script) -> None:
    changed(script)
    script.switch(EXECUTOR, "2")
    script.switch(INVOKER, "2")
    answer = script.perform(deploying())
    assert answer.status is Status.CODE_CHANGED
    assert [function.previous for function in answer.functions] == ["1", "1"]
    assert answer.functions[0].changes == (f"code: {OLD[:12]} -> {SHA[:12]}",)


def test_a_changed_configuration_of_one_function_leaves_the_other(script: Script) -> None:
    script.look()
    script.read(EXECUTOR, live={})
    script.read(INVOKER, live={})
    layers = ["arn:aws:lambda:eu-west-1:123456789012:layer:one:1"]
    script.expect("get_layer_version_by_arn", {"Content": {"CodeSize": 1}}, Arn=layers[0])
    script.expect(
        "update_function_configuration",
        {},
        FunctionName=EXECUTOR,
        RevisionId="read",
        MemorySize=4096,
        Layers=["arn:aws:lambda:eu-west-1:123456789012:layer:one:1"],
    )
    script.settle(EXECUTOR, MemorySize=4096)
    script.publish(EXECUTOR, "2")
    script.ping(EXECUTOR, "2")
    script.switch(EXECUTOR, "2")
    answer = script.perform(deploying(executor={"memory_size": 4096, "layers": layers}))
    assert answer.status is Status.CONFIGURATION_CHANGED
    executor, invoker = answer.functions
    assert executor.changes == ("memory_size: 3008 -> 4096", f"layers: none -> {layers[0]}")
    assert (invoker.status, invoker.version) == (Status.UNCHANGED, "1")


def test_configuration_is_written_and_settled_before_code(script: Script) -> None:
    script.look()
    script.read(EXECUTOR, live={"CodeSha256": OLD, "Timeout": 60}, CodeSha256=OLD, Timeout=60)
    script.read(INVOKER, live={})
    script.expect(
        "update_function_configuration",
        {},
        FunctionName=EXECUTOR,
        RevisionId="read",
        Timeout=900,
    )
    script.settle(EXECUTOR, "after configuration")
    script.update_code(EXECUTOR, "after configuration")
    script.settle(EXECUTOR, "after code")
    script.publish(EXECUTOR, "2", "after code")
    script.ping(EXECUTOR, "2")
    script.switch(EXECUTOR, "2")
    assert script.perform(deploying()).status is Status.CODE_CHANGED


def test_what_is_live_already_is_only_read(script: Script) -> None:
    script.look()
    script.read(EXECUTOR, live={})
    script.read(INVOKER, live={})
    assert script.perform(deploying()).status is Status.UNCHANGED


def test_a_broken_latest_does_not_matter_while_live_is_right(script: Script) -> None:
    script.look()
    script.read(EXECUTOR, live={}, LastUpdateStatus="Failed", CodeSha256=OLD)
    script.read(INVOKER, live={})
    assert script.perform(deploying()).status is Status.UNCHANGED


def test_a_stale_event_costs_one_call(script: Script) -> None:
    script.head(version="v3")
    assert script.perform(deploying(Upload("v2", "etag"))).status is Status.STALE


def test_an_upload_that_is_gone_is_stale(script: Script) -> None:
    script.missing()
    assert script.perform(deploying(Upload("v2", "etag"))).status is Status.STALE


def test_without_a_package_the_names_are_answered(script: Script) -> None:
    script.missing()
    answer = script.perform(deploying())
    assert answer.status is Status.AWAITING_PACKAGE
    assert [function.invoke for function in answer.functions] == [
        "WukongExecutor:live",
        "WukongInvoker:live",
    ]


def test_deletion_reads_the_owner_and_deletes_what_is_ours(script: Script) -> None:
    theirs = {"Configuration": {}, "Tags": {"wukong:owner": "somebody"}}
    ours = {"Configuration": {}, "Tags": {"wukong:owner": OWNER}}
    script.expect("get_function", theirs, FunctionName=INVOKER)
    script.expect("get_function", ours, FunctionName=EXECUTOR)
    script.expect("delete_function", {}, FunctionName=EXECUTOR)
    answer = script.perform(asking(Action.DELETE))
    assert answer.status is Status.DELETED
    assert [function.status for function in answer.functions] == [Status.IGNORED, Status.DELETED]


def test_deletion_of_what_is_gone_is_fine(script: Script) -> None:
    script.absent(INVOKER)
    script.absent(EXECUTOR)
    answer = script.perform(asking(Action.DELETE))
    assert answer.status is Status.DELETED


def test_no_access_is_not_taken_for_absent(script: Script) -> None:
    script.head()
    script.fail("get_function", "AccessDeniedException", "no", 403)
    with pytest.raises(RefusedError, match="AccessDenied"):
        script.perform(deploying())


def test_tags_that_may_not_be_read_are_not_taken_for_no_owner(script: Script) -> None:
    withheld = {
        "Configuration": {},
        "TagsError": {"ErrorCode": "AccessDeniedException", "Message": f"{'no right ':.<90}"},
    }
    script.expect("get_function", withheld, FunctionName=INVOKER)
    with pytest.raises(RefusedError, match="tags cannot be read: no right"):
        script.perform(asking(Action.DELETE))


def test_a_zip_that_is_refused_costs_no_write(script: Script) -> None:
    body = package(executor=None)
    script.look(body=body)
    script.absent(EXECUTOR)
    script.absent(INVOKER)
    with pytest.raises(PackageError, match=r"executor/function\.py"):
        script.perform(deploying())


def test_a_failed_ping_switches_nothing(script: Script) -> None:
    created(script)
    script.ping(EXECUTOR, "1")
    script.ping(INVOKER, "1", component="executor")
    with pytest.raises(SmokeTestError, match="WukongInvoker:1"):
        script.perform(deploying())


def test_a_failed_second_switch_switches_the_first_back(script: Script) -> None:
    changed(script)
    script.switch(EXECUTOR, "2")
    script.fail("update_alias", "ServiceException", "sorry", 500)
    script.switch(EXECUTOR, "1", based_on="new", description="by hand")
    with pytest.raises(SwitchError, match="all is as it was before"):
        script.perform(deploying())


def test_a_failed_first_release_leaves_no_alias(script: Script) -> None:
    created(script)
    script.ping(EXECUTOR, "1")
    script.ping(INVOKER, "1")
    script.recursion(EXECUTOR)
    script.recursion(INVOKER)
    script.create_alias(EXECUTOR, "1")
    script.fail("create_alias", "ServiceException", "sorry", 500)
    script.expect("delete_alias", {}, FunctionName=EXECUTOR, Name="live")
    with pytest.raises(SwitchError, match="all is as it was before"):
        script.perform(deploying())


def test_what_cannot_be_switched_back_is_said(script: Script) -> None:
    changed(script)
    script.switch(EXECUTOR, "2")
    script.fail("update_alias", "ServiceException", "sorry", 500)
    script.fail("update_alias", "ServiceException", "sorry", 500)
    with pytest.raises(SwitchError, match="WukongExecutor could not be switched back"):
        script.perform(deploying())


def test_a_switch_whose_answer_was_lost_counts(script: Script) -> None:
    changed(script)
    script.fail("update_alias", "PreconditionFailedException", "the revision is another", 412)
    switched = {"FunctionVersion": "2", "RevisionId": "theirs"}
    script.expect("get_alias", switched, FunctionName=EXECUTOR, Name="live")
    script.switch(INVOKER, "2")
    assert script.perform(deploying()).status is Status.CODE_CHANGED


def test_a_conflict_is_planned_again_from_what_is_there(script: Script) -> None:
    script.look()
    script.read(EXECUTOR, live={"CodeSha256": OLD}, CodeSha256=OLD)
    script.read(INVOKER, live={})
    script.fail("update_function_code", "PreconditionFailedException", "changed", 412)
    script.look()
    script.read(EXECUTOR, live={})
    script.read(INVOKER, live={})
    assert script.perform(deploying()).status is Status.UNCHANGED


def test_an_update_in_progress_is_waited_for(script: Script) -> None:
    script.look()
    busy = described(EXECUTOR, LastUpdateStatus="InProgress")
    for _ in range(3):
        script.expect("get_function", {"Configuration": busy}, FunctionName=EXECUTOR)
    script.read(EXECUTOR, live={})
    script.read(INVOKER, live={})
    assert script.perform(deploying()).status is Status.UNCHANGED
    assert script.clock.now > 0


def test_a_conflict_with_an_update_is_tried_again(script: Script) -> None:
    script.look()
    script.read(EXECUTOR, live={"MemorySize": 128}, MemorySize=128)
    script.read(INVOKER, live={})
    message = "The operation cannot be performed at this time. An update is in progress."
    script.fail("update_function_configuration", "ResourceConflictException", message, 409)
    script.expect(
        "update_function_configuration",
        {},
        FunctionName=EXECUTOR,
        RevisionId="read",
        MemorySize=3008,
    )
    script.settle(EXECUTOR)
    script.publish(EXECUTOR, "2")
    script.ping(EXECUTOR, "2")
    script.switch(EXECUTOR, "2")
    assert script.perform(deploying()).status is Status.CONFIGURATION_CHANGED


NO_ROLE = "The role defined for the function cannot be assumed by Lambda."


def test_a_role_that_is_too_new_is_waited_for(script: Script) -> None:
    script.look()
    script.absent(EXECUTOR)
    script.read(INVOKER, live={})
    for _ in range(3):
        script.fail("create_function", "InvalidParameterValueException", NO_ROLE)
    script.create(EXECUTOR)
    script.settle(EXECUTOR)
    script.publish(EXECUTOR, "1")
    script.ping(EXECUTOR, "1")
    script.recursion(EXECUTOR)
    script.create_alias(EXECUTOR, "1")
    script.retries("live")
    assert script.perform(deploying()).status is Status.CREATED


def test_a_role_that_never_comes_ends_within_two_minutes() -> None:
    script = Script()
    script.look()
    script.absent(EXECUTOR)
    script.absent(INVOKER)
    for _ in range(100):
        script.fail("create_function", "InvalidParameterValueException", NO_ROLE)
    with pytest.raises(RoleNotReadyError, match="cannot be assumed"):
        script.perform(deploying())
    assert 90 <= script.clock.now <= 120


def test_settling_ends_with_lambdas_reason(script: Script) -> None:
    script.look()
    script.read(EXECUTOR, live={"CodeSha256": OLD}, CodeSha256=OLD)
    script.read(INVOKER, live={})
    script.update_code(EXECUTOR, "read")
    script.settle(
        EXECUTOR,
        LastUpdateStatus="Failed",
        LastUpdateStatusReasonCode="SubnetOutOfIPAddresses",
        LastUpdateStatusReason="no addresses left",
    )
    with pytest.raises(FunctionBrokenError, match="SubnetOutOfIPAddresses: no addresses left"):
        script.perform(deploying())


def test_settling_ends_with_the_time() -> None:
    script = Script()
    script.head()
    busy = described(EXECUTOR, State="Pending")
    for _ in range(100):
        script.expect("get_function", {"Configuration": busy}, FunctionName=EXECUTOR)
    with pytest.raises(DeadlineError, match="WukongExecutor to settle"):
        script.perform(deploying(), seconds=60)
    assert script.clock.now <= 60


def test_a_function_that_never_became_active_is_made_anew(script: Script) -> None:
    script.look()
    script.read(EXECUTOR, State="Failed", StateReasonCode="InvalidSubnet")
    script.read(INVOKER, live={})
    script.expect("delete_function", {}, FunctionName=EXECUTOR)
    script.create(EXECUTOR)
    script.settle(EXECUTOR)
    script.publish(EXECUTOR, "1")
    script.ping(EXECUTOR, "1")
    script.recursion(EXECUTOR)
    script.create_alias(EXECUTOR, "1")
    script.retries("live")
    assert script.perform(deploying()).status is Status.CREATED
