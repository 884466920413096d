"""A script of the calls that are to be made to AWS, and its answers: one too many fails too."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from typing import Any

import boto3
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from bootstrap.actions import perform
from bootstrap.answer import Answer
from bootstrap.configuration import Configuration
from bootstrap.deadline import Deadline
from bootstrap.events import Action, Request, Trigger, Upload
from bootstrap.lambda_api import LambdaApi
from bootstrap.progress import Progress
from bootstrap.record import Record
from bootstrap.settings import Settings
from bootstrap.spec import DEFAULTS
from bootstrap.surroundings import Surroundings
from bootstrap.wishes import DeploymentWishes

from .conftest import ROOT, package
from .fake_aws import FakeClock
from .fake_state import BOOTSTRAP

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


class Remembered:
    """Equal to every text, which it keeps: for an argument that the test looks at afterwards."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def __eq__(self, other: object) -> bool:
        self.texts.append(str(other))
        return True

    __hash__ = None  # type: ignore[assignment]


class Bucket:
    """S3 with the one object, which counts what it is asked."""

    def __init__(self) -> None:
        self.body: bytes | None = BODY
        self.version = "v2"
        self.sha = SHA
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
            "ChecksumSHA256": self.sha,
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
        self.clock = FakeClock()
        self.progress = Progress()
        self.heads = 0
        self.reads = 0
        self._expected = 0

    @property
    def calls(self) -> int:
        """How many calls are expected, of Lambda and of S3."""
        return self._expected + self.heads + self.reads

    def perform(self, request: Request, seconds: float = 600.0) -> Answer:
        self._script.activate()
        deadline = Deadline(seconds, self.clock.read, self.clock.advance)
        api = LambdaApi(deadline, self._lambda, self._lambda)
        s3: Any = self.bucket
        settings = Settings("bucket", "deployment.zip", OWNER, {})
        around = Surroundings(
            api, s3, settings, deadline, "request-1", progress=self.progress, function_arn=BOOTSTRAP
        )
        return perform(request, around)

    def verify(self) -> None:
        self._script.assert_no_pending_responses()
        assert self.bucket.heads == self.heads
        assert self.bucket.reads == self.reads

    def expect(self, method: str, answer: dict[str, Any], **arguments: Any) -> None:
        self._expected += 1
        self._script.add_response(method, answer, arguments)

    def fail(self, method: str, code: str, message: str = "", status: int = 400) -> None:
        self._expected += 1
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

    def versions(self, name: str, versions: dict[str, str]) -> None:
        """The versions of a function are listed, given their code."""
        found = [
            described(
                name,
                Version=version,
                CodeSha256=sha,
                Description=f"pkg=v{version} with=1 at=1 by=x",
            )
            for version, sha in versions.items()
        ]
        self.expect("list_versions_by_function", {"Versions": found}, FunctionName=name)

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
            Tags={"wukong:owner": OWNER, "wukong:created-by": "request-1"},
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
            KMSKeyArn="",
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

    def publish(
        self, name: str, version: str, revision: str = "settled", *, waits: int = 0
    ) -> None:
        self.expect(
            "publish_version",
            {"Version": version},
            FunctionName=name,
            CodeSha256=SHA,
            RevisionId=revision,
            Description=ANY,
        )
        for state in [*["Pending"] * waits, *(["Active"] if waits else [])]:
            found = described(name, Version=version, State=state)
            place = {"FunctionName": name, "Qualifier": version}
            self.expect("get_function_configuration", found, **place)
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

    def holding(self, name: str) -> None:
        """It is read whose a function is."""
        found = {"Configuration": described(name), "Tags": {"wukong:owner": OWNER}}
        self.expect("get_function", found, FunctionName=name)

    def no_sign(self) -> None:
        """The sign of a deletion is looked for, in vain."""
        self.expect("list_tags", {"Tags": {}}, Resource=BOOTSTRAP)

    def sign(self) -> None:
        """The sign of a deletion is left."""
        self.expect("tag_resource", {}, Resource=BOOTSTRAP, Tags=ANY)

    def same_settings(self) -> None:
        """The bootstrap's own settings are read, and are as they were."""
        found = {"Environment": {"Variables": ENVIRONMENT}}
        self.expect("get_function_configuration", found, FunctionName=BOOTSTRAP)

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


def counted(case: str) -> int:
    """Give how many calls the guide's table says that a case takes."""
    guide = (ROOT / "docs" / "deploying.md").read_text()
    row = re.search(rf"^\| {case} \| (\d+)", guide, re.MULTILINE)
    assert row, f"no row of docs/deploying.md is about: {case}"
    return int(row.group(1))


CONFIGURED = DeploymentWishes.model_validate(
    {
        "executor": {"role": ROLE, **DEFAULTS["executor"]},
        "invoker": {"role": ROLE, **DEFAULTS["invoker"]},
        "store_url": "redis://store",
    }
)
"""What a stack says: the defaults, as the template's parameters repeat them."""

ENVIRONMENT = {
    "WUKONG_PACKAGE_BUCKET": "bucket",
    "WUKONG_PACKAGE_KEY": "deployment.zip",
    "WUKONG_STORE_URL": "redis://store",
    **{
        f"WUKONG_{component}_{field}".upper(): str(value)
        for component, fields in CONFIGURED.said().items()
        if isinstance(fields, dict)
        for field, value in fields.items()
    },
}
"""The same, as the bootstrap function's environment has it."""


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
