"""The same calls to the fake AWS and to MiniStack, and what must be alike of their answers.

MiniStack answers most calls as AWS does. Where it does not, a line says what AWS does, only the
fake is called, and it does that; where answers merely look different, `essence` evens that out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import botocore.session
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from tests.bootstrap.conftest import Embedded, package
from tests.bootstrap.fake_aws import FakeAws
from tests.bootstrap.fake_state import SETTLED
from tests.conftest import until
from wukong.stack.embedded import ACCOUNT, REGION

PING = b'{"wukong":"ping"}'
HANDLER = "executor.function.lambda_handler"
BUCKET, KEY = "differential", "deployment.zip"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/differential"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:failed"

# What time, place and chance decide, and what only one of them has an opinion about.
INCOMPARABLE = {
    "ResponseMetadata",
    "AcceptRanges",
    "ChecksumSHA256",  # AWS says both only if asked, and of the whole; MiniStack with each GET
    "ChecksumType",
    "ContentType",
    "CreatedDate",
    "FunctionArn",  # AWS qualifies it as the question was; MiniStack as the version is
    "KMSKeyArn",
    "LastModified",
    "LastUpdateStatus",  # AWS has none when it creates, and stays active when it updates
    "LastUpdateStatusReason",
    "LastUpdateStatusReasonCode",
    "LicenseInfo",
    "Location",
    "MaximumEventAgeInSeconds",  # AWS says it only if it was set
    "Ipv6AllowedForDualStack",
    "NextMarker",
    "RevisionId",
    "RuntimeVersionConfig",
    "State",
    "StateReason",
    "StateReasonCode",
    "VersionId",
    "VpcId",
}


def essence(value: Any) -> Any:
    """Give what must be equal; empty and absent are, as AWS leaves some empty fields out."""
    if isinstance(value, dict):
        kept = {k: essence(v) for k, v in value.items() if k not in INCOMPARABLE}
        return {k: v for k, v in kept.items() if v not in ({}, [], "", None)}
    if isinstance(value, list):
        return [essence(item) for item in value]
    return value


@dataclass
class World:
    """One of the two accounts, and what was seen in it."""

    client: Any
    s3: Any
    upload: Callable[[bytes, str], str]
    objects: dict[str, str] = field(default_factory=dict)
    revision: str = ""

    def call(self, service: str, operation: str, **arguments: Any) -> Any:
        """Make a call; gives the answer, or the error's code and status."""
        client = self.client if service == "lambda" else self.s3
        try:
            answer = getattr(client, operation)(**arguments)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return error.response["Error"]["Code"], status
        for stream in {"Payload", "Body"} & answer.keys():
            answer[stream] = answer[stream].read()
        return answer

    def settled(self, name: str) -> dict[str, Any] | None:
        found = dict(self.client.get_function_configuration(FunctionName=name))
        busy = found["State"] == "Pending" or found["LastUpdateStatus"] == "InProgress"
        return None if busy else found


class Checked:
    """The fake's clients, with the parameters and answers that boto3 knows."""

    def __init__(self, service: str, client: Any) -> None:
        self._service = service
        self._client = client

    def __getattr__(self, operation: str) -> Any:
        shape = model(self._service, operation)

        def call(**arguments: Any) -> Any:
            _validate(arguments, shape.input_shape)
            answer = getattr(self._client, operation)(**arguments)
            bare = {key: value for key, value in answer.items() if key != "ResponseMetadata"}
            if shape.output_shape:
                _validate(bare, shape.output_shape)
            else:
                assert not bare
            return answer

        return call


@cache
def model(service: str, operation: str) -> Any:
    """Give what boto3 knows of an operation."""
    known = _service(service)
    (name,) = (n for n in known.operation_names if botocore.xform_name(n) == operation)
    return known.operation_model(name)


@cache
def _service(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def _validate(value: dict[str, Any], shape: Any) -> None:
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()


class Both:
    """MiniStack and the fake, asked the same."""

    def __init__(self, real: World, fake: World, name: str) -> None:
        self.real = real
        self.fake = fake
        self.name = name

    def call(self, operation: str, service: str = "lambda", **arguments: Any) -> Any:
        """Make a call in both; the outcomes must be the same. Gives the fake's.

        An argument that differs between the worlds is a function of the world.
        """
        real, fake = (
            world.call(service, operation, **resolved(arguments, world))
            for world in (self.real, self.fake)
        )
        assert essence(fake) == essence(real), (operation, arguments)
        return fake

    def on(self, operation: str, **arguments: Any) -> Any:
        """Make a call about the function."""
        return self.call(operation, FunctionName=self.name, **arguments)

    def only_fake(self, operation: str, **arguments: Any) -> Any:
        """Make a call about the function, of the fake only."""
        return self.fake.call("lambda", operation, FunctionName=self.name, **arguments)

    def upload(self, marker: str, body: bytes | None = None) -> dict[str, Any]:
        """Upload a package; gives how Lambda is told where it is."""
        for world in (self.real, self.fake):
            world.objects[marker] = world.upload(body or package(marker), KEY)
        place = {"S3Bucket": BUCKET, "S3Key": KEY}
        return {**place, "S3ObjectVersion": lambda world: world.objects[marker]}

    def create(self, **configuration: Any) -> Any:
        """Create the function and let it settle."""
        arguments = {"Handler": HANDLER, "Role": ROLE, "Runtime": "python3.13", **configuration}
        answer = self.on("create_function", Code=self.upload("1"), **arguments)
        assert isinstance(answer, dict), answer
        self.settle()
        return answer

    def settle(self) -> dict[str, Any]:
        """Wait until a write has ended; both must then describe the function in the same way."""
        real, fake = (self._settled(world) for world in (self.real, self.fake))
        assert essence(fake) == essence(real)
        for found in (real, fake):
            assert {name: found[name] for name in SETTLED} == SETTLED
        return fake

    def _settled(self, world: World) -> dict[str, Any]:
        found = until(lambda: world.settled(self.name), f"{self.name} to settle")
        world.revision = found["RevisionId"]
        return found

    def update(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Write to `$LATEST` based on its revision, and let it settle."""
        self.settle()  # AWS gives `$LATEST` a new revision when a version is published
        before = self.real.revision, self.fake.revision
        answer = self.on(operation, RevisionId=lambda world: world.revision, **arguments)
        assert isinstance(answer, dict), answer
        settled = self.settle()
        assert self.real.revision != before[0]
        assert self.fake.revision != before[1]
        return settled

    def versions(self) -> list[str]:
        """List the published versions."""
        found = self.on("list_versions_by_function")["Versions"]
        return [version["Version"] for version in found if version["Version"] != "$LATEST"]


def resolved(value: Any, world: World) -> Any:
    if isinstance(value, dict):
        return {key: resolved(item, world) for key, item in value.items()}
    return value(world) if callable(value) else value


def real_world(embedded: Embedded) -> World:
    """Give MiniStack, with a bucket and a role."""
    s3 = embedded.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    role = {"RoleName": "differential", "AssumeRolePolicyDocument": json.dumps(TRUST)}
    embedded.client("iam").create_role(**role)

    def upload(body: bytes, key: str) -> str:
        answer = s3.put_object(Bucket=BUCKET, Key=key, Body=body, ChecksumAlgorithm="SHA256")
        return str(answer["VersionId"])

    return World(embedded.client("lambda"), s3, upload)


def both_worlds(real: World, test: str) -> Both:
    """Give both worlds, for a function that is named after the test."""
    aws = FakeAws(account=ACCOUNT, region=REGION)
    aws.lambda_.create_polls = aws.lambda_.update_polls = aws.lambda_.snapshot_polls = 0
    fake = World(
        Checked("lambda", aws.lambda_),
        Checked("s3", aws.s3),
        lambda body, key: aws.s3.put(BUCKET, key, body),
    )
    return Both(real, fake, test.removeprefix("test_")[:60])
