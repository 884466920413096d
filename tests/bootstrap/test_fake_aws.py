"""The fake AWS is exact: the same calls to it and to MiniStack end the same way.

MiniStack answers most calls as AWS does. Where it does not, a line says what AWS does, only the
fake is called, and it does that; where answers merely look different, `_essence` evens that out.
"""

from __future__ import annotations

import inspect
import json
import random
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.validate import ParamValidator

from tests.conftest import until
from wukong.stack.embedded import ACCOUNT, REGION

from .conftest import Embedded, handler, package, zipped
from .fake_aws import Crash, FakeAws, Fault
from .fake_lambda import SETTLED, Failure

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


def _essence(value: Any) -> Any:
    """Give what must be equal; empty and absent are, as AWS leaves some empty fields out."""
    if isinstance(value, dict):
        kept = {k: _essence(v) for k, v in value.items() if k not in INCOMPARABLE}
        return {k: v for k, v in kept.items() if v not in ({}, [], "", None)}
    if isinstance(value, list):
        return [_essence(item) for item in value]
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
        model = _model(self._service, operation)

        def call(**arguments: Any) -> Any:
            _validate(arguments, model.input_shape)
            answer = getattr(self._client, operation)(**arguments)
            bare = {key: value for key, value in answer.items() if key != "ResponseMetadata"}
            if model.output_shape:
                _validate(bare, model.output_shape)
            else:
                assert not bare
            return answer

        return call


@cache
def _model(service: str, operation: str) -> Any:
    model = _service(service)
    (name,) = (n for n in model.operation_names if botocore.xform_name(n) == operation)
    return model.operation_model(name)


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
            world.call(service, operation, **_resolved(arguments, world))
            for world in (self.real, self.fake)
        )
        assert _essence(fake) == _essence(real), (operation, arguments)
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
        assert _essence(fake) == _essence(real)
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


def _resolved(value: Any, world: World) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(item, world) for key, item in value.items()}
    return value(world) if callable(value) else value


@pytest.fixture(scope="module")
def real(embedded: Embedded) -> World:
    s3 = embedded.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    role = {"RoleName": "differential", "AssumeRolePolicyDocument": json.dumps(TRUST)}
    embedded.client("iam").create_role(**role)

    def upload(body: bytes, key: str) -> str:
        answer = s3.put_object(Bucket=BUCKET, Key=key, Body=body, ChecksumAlgorithm="SHA256")
        return str(answer["VersionId"])

    return World(embedded.client("lambda"), s3, upload)


@pytest.fixture
def both(real: World, request: pytest.FixtureRequest) -> Iterator[Both]:
    """Both worlds, without the function that is named after the test."""
    aws = FakeAws(account=ACCOUNT, region=REGION)
    aws.lambda_.create_polls = aws.lambda_.update_polls = aws.lambda_.snapshot_polls = 0
    fake = World(
        Checked("lambda", aws.lambda_),
        Checked("s3", aws.s3),
        lambda body, key: aws.s3.put(BUCKET, key, body),
    )
    name = request.node.name.removeprefix("test_")[:60]
    yield Both(real, fake, name)
    real.call("lambda", "delete_function", FunctionName=name)


# The same calls to both


@pytest.mark.embedded
def test_a_function_is_created_read_and_deleted(both: Both) -> None:
    absent = "ResourceNotFoundException", 404
    assert both.on("get_function") == absent
    both.create(
        Timeout=60,
        MemorySize=512,
        Description="words",
        Environment={"Variables": {"A": "1"}},
        Tags={"owner": "me"},
        TracingConfig={"Mode": "Active"},
        EphemeralStorage={"Size": 1024},
        LoggingConfig={"LogFormat": "Text", "LogGroup": "/logs/mine"},
        SnapStart={"ApplyOn": "None"},
        VpcConfig={"SubnetIds": [], "SecurityGroupIds": []},
        Layers=[],
        Architectures=["arm64"],
        PackageType="Zip",
    )
    both.on("get_function")
    again = {"Code": both.upload("1"), "Handler": HANDLER, "Role": ROLE, "Runtime": "python3.13"}
    assert both.on("create_function", **again) == ("ResourceConflictException", 409)
    # DeleteFunction answers AWS's StatusCode, which MiniStack leaves out.
    both.real.call("lambda", "delete_function", FunctionName=both.name)
    assert both.only_fake("delete_function")["StatusCode"] == 204
    for operation in ("get_function", "get_function_configuration", "delete_function"):
        assert both.on(operation) == absent


@pytest.mark.embedded
def test_code_is_updated_by_who_knows_the_revision(both: Both) -> None:
    both.create()
    before = both.fake.revision
    both.update("update_function_code", **both.upload("2"), Architectures=["arm64"])
    stale = {"RevisionId": "00000000-0000-4000-8000-000000000000", **both.upload("3")}
    assert both.on("update_function_code", **stale) == ("PreconditionFailedException", 412)
    both.settle()
    assert both.fake.revision != before
    both.update("update_function_code", **both.upload("3"))
    assert both.on("get_function")["Configuration"]["Architectures"] == ["arm64"]


@pytest.mark.embedded
def test_code_that_is_no_zip_or_not_there_is_refused(both: Both) -> None:
    refused = "InvalidParameterValueException", 400
    rest = {"Handler": HANDLER, "Role": ROLE, "Runtime": "python3.13"}
    assert both.on("create_function", Code=both.upload("text", b"no zip"), **rest) == refused
    missing = {"S3Bucket": BUCKET, "S3Key": "missing"}
    # AWS refuses to create a function without its object; MiniStack creates it.
    assert both.only_fake("create_function", Code=missing, **rest) == refused
    both.create()
    assert both.on("update_function_code", **missing) == refused
    assert both.on("update_function_code", **both.upload("text", b"no zip")) == refused
    both.settle()


@pytest.mark.embedded
def test_omitted_fields_stay_and_empty_ones_are_cleared(both: Both) -> None:
    layer = both.call("publish_layer_version", LayerName=both.name, Content=both.upload("layer"))
    vpc = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    both.create(
        VpcConfig=vpc,
        Layers=[layer["LayerVersionArn"]],
        Environment={"Variables": {"A": "1"}},
        Timeout=60,
    )
    kept = both.update("update_function_configuration", MemorySize=256, Description="words")
    assert kept["Layers"][0]["CodeSize"] > 0
    assert (kept["Timeout"], kept["VpcConfig"]["SubnetIds"]) == (60, ["subnet-1"])
    update = "update_function_configuration"
    cleared = both.update(
        update,
        VpcConfig={"SubnetIds": [], "SecurityGroupIds": []},
        Layers=[],
        Environment={"Variables": {}},
        Description="",
    )
    assert "Layers" not in cleared
    assert cleared["Environment"] == {"Variables": {}}
    changed = both.update(
        update,
        Handler="invoker.function.lambda_handler",
        Runtime="python3.12",
        Timeout=900,
        TracingConfig={"Mode": "Active"},
        EphemeralStorage={"Size": 2048},
        LoggingConfig={"LogFormat": "Text", "LogGroup": "/logs/other"},
    )
    assert changed["LoggingConfig"]["LogGroup"] == "/logs/other"
    # AWS keeps what a LoggingConfig does not name; MiniStack forgets it.
    both.only_fake(update, LoggingConfig={"LogFormat": "JSON"})
    assert both.only_fake("get_function_configuration")["LoggingConfig"] == {
        "LogFormat": "JSON",
        "LogGroup": "/logs/other",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "INFO",
    }
    # AWS leaves the VPC alone when VpcConfig is empty; MiniStack detaches.
    both.only_fake(update, VpcConfig=vpc)
    both.only_fake(update, VpcConfig={})
    assert both.only_fake("get_function_configuration")["VpcConfig"]["VpcId"]


@pytest.mark.embedded
def test_layers_that_do_not_fit_are_refused(both: Both) -> None:
    refused = "InvalidParameterValueException", 400
    both.create()
    layer = both.call("publish_layer_version", LayerName=both.name, Content=both.upload("layer"))
    update = "update_function_configuration"
    missing = f"{layer['LayerArn']}:99"
    assert both.on(update, Layers=[missing]) == refused
    both.settle()
    # AWS refuses more than five layers, and two versions of one; MiniStack takes them.
    assert both.only_fake(update, Layers=[layer["LayerVersionArn"]] * 6) == refused
    assert both.only_fake(update, Layers=[layer["LayerVersionArn"]] * 2) == refused


@pytest.mark.embedded
def test_versions_are_immutable_and_unchanged_ones_are_not_published_again(both: Both) -> None:
    both.create(Description="mine")
    assert both.on("publish_version", Description="first")["Version"] == "1"
    again = both.on("publish_version", Description="second")
    assert (again["Version"], again["Description"]) == ("1", "first")
    both.update("update_function_configuration", Timeout=77)
    both.on("publish_version")
    both.update("update_function_code", **both.upload("2"))
    sha = both.on("publish_version", Description="third")["CodeSha256"]
    for version in ("$LATEST", "1", "2", "3"):
        found = both.on("get_function_configuration", Qualifier=version)
        assert found["FunctionArn"].endswith(f":{both.name}:{version}")
    assert found["CodeSha256"] == sha
    assert both.on("get_function_configuration", Qualifier="1")["Timeout"] == 3
    absent = both.on("get_function_configuration", Qualifier="9")
    assert absent == ("ResourceNotFoundException", 404)
    assert both.versions() == ["1", "2", "3"]


@pytest.mark.embedded
def test_only_what_was_settled_on_is_published(both: Both) -> None:
    both.create()
    # AWS refuses another CodeSha256 or RevisionId; MiniStack ignores both.
    other = both.only_fake("publish_version", CodeSha256="A" * 43 + "=")
    assert other == ("InvalidParameterValueException", 400)
    stale = both.only_fake("publish_version", RevisionId="other")
    assert stale == ("PreconditionFailedException", 412)
    sha = both.on("get_function_configuration")["CodeSha256"]
    both.on("publish_version", CodeSha256=sha, RevisionId=lambda world: world.revision)
    # AWS gives $LATEST a new revision when a version is published, and when tags change.
    published = both.only_fake("get_function_configuration")["RevisionId"]
    assert published != both.fake.revision
    arn = both.only_fake("get_function_configuration")["FunctionArn"]
    both.call("tag_resource", Resource=arn, Tags={"a": "1"})
    assert both.only_fake("get_function_configuration")["RevisionId"] != published


@pytest.mark.embedded
def test_what_is_written_but_not_changed_is_not_published_again(both: Both) -> None:
    both.create(Timeout=60)
    both.on("publish_version")
    both.update("update_function_configuration", Timeout=60)
    # AWS compares code and configuration; MiniStack asks whether something was written.
    assert both.only_fake("publish_version")["Version"] == "1"


@pytest.mark.embedded
def test_lists_come_in_pages(both: Both) -> None:
    both.create()
    for timeout in (10, 20, 30):
        both.update("update_function_configuration", Timeout=timeout)
        both.on("publish_version")
        both.on("create_alias", Name=f"alias-{timeout}", FunctionVersion=both.versions()[-1])
    for operation, kind, of in (
        ("list_versions_by_function", "Versions", ["$LATEST", "1", "2", "3"]),
        ("list_aliases", "Aliases", ["alias-10", "alias-20", "alias-30"]),
    ):
        real, fake = (
            _pages(world, operation, kind, FunctionName=both.name, MaxItems=2)
            for world in (both.real, both.fake)
        )
        assert fake == real == [of[:2], of[2:]]


def _pages(world: World, operation: str, kind: str, **arguments: Any) -> list[list[Any]]:
    pages: list[list[Any]] = []
    more: dict[str, str] = {}
    while True:
        answer = world.call("lambda", operation, **arguments, **more)
        pages.append([item.get("Name") or item["Version"] for item in answer[kind]])
        if not answer.get("NextMarker"):
            return pages
        more = {"Marker": answer["NextMarker"]}


@pytest.mark.embedded
def test_aliases_have_revisions_and_weights_of_their_own(both: Both) -> None:
    both.create()
    both.on("publish_version")
    both.update("update_function_configuration", Timeout=10)
    both.on("publish_version")
    assert both.on("get_alias", Name="live") == ("ResourceNotFoundException", 404)
    assert both.on("update_alias", Name="live") == ("ResourceNotFoundException", 404)
    both.on("create_alias", Name="live", FunctionVersion="1", Description="one")
    twice = both.on("create_alias", Name="live", FunctionVersion="1")
    assert twice == ("ResourceConflictException", 409)
    stale = both.on("update_alias", Name="live", FunctionVersion="2", RevisionId="other")
    assert stale == ("PreconditionFailedException", 412)

    def revision(world: World) -> Any:
        return world.client.get_alias(FunctionName=both.name, Name="live")["RevisionId"]

    weights = {"AdditionalVersionWeights": {"2": 0.25}}
    both.on("update_alias", Name="live", RoutingConfig=weights, RevisionId=revision)
    before = revision(both.real), revision(both.fake)
    kept = both.on("update_alias", Name="live", Description="two", RevisionId=revision)
    assert kept["RoutingConfig"] == weights
    assert revision(both.real) != before[0]
    assert revision(both.fake) != before[1]
    empty: dict[str, Any] = {"AdditionalVersionWeights": {}}
    cleared = both.on("update_alias", Name="live", FunctionVersion="2", RoutingConfig=empty)
    assert "RoutingConfig" not in cleared
    assert both.on("get_function_configuration", Qualifier="live")["Version"] == "2"
    both.on("list_aliases")
    # AWS filters aliases by the version that they point at; MiniStack lists them all.
    assert both.only_fake("list_aliases", FunctionVersion="1")["Aliases"] == []
    assert len(both.only_fake("list_aliases", FunctionVersion="2")["Aliases"]) == 1
    both.on("delete_alias", Name="live")
    assert both.on("get_alias", Name="live") == ("ResourceNotFoundException", 404)
    # AWS takes the deletion of an alias that is gone for done; MiniStack finds it missing.
    assert isinstance(both.only_fake("delete_alias", Name="live"), dict)


@pytest.mark.embedded
def test_aliases_point_at_versions_that_exist(both: Both) -> None:
    both.create()
    both.on("publish_version")
    both.on("create_alias", Name="live", FunctionVersion="1")
    # AWS refuses other targets and weights; MiniStack takes anything.
    absent = "ResourceNotFoundException", 404
    refused = "InvalidParameterValueException", 400
    assert both.only_fake("create_alias", Name="other", FunctionVersion="9") == absent
    assert both.only_fake("update_alias", Name="live", FunctionVersion="9") == absent
    for weights, error in (
        ({"9": 0.5}, absent),
        ({"1": 0.5}, refused),
        ({"8": 0.1, "9": 0.1}, refused),
    ):
        routing = {"AdditionalVersionWeights": weights}
        assert both.only_fake("update_alias", Name="live", RoutingConfig=routing) == error
    assert both.only_fake("get_alias", Name="live")["FunctionVersion"] == "1"


@pytest.mark.embedded
def test_a_version_that_an_alias_needs_is_not_deleted(both: Both) -> None:
    both.create()
    for timeout in (10, 20, 30):
        both.update("update_function_configuration", Timeout=timeout)
        both.on("publish_version")
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    both.on("create_alias", Name="live", FunctionVersion="1", RoutingConfig=weights)
    for version in ("1", "2"):
        used = both.on("delete_function", Qualifier=version)
        assert used == ("ResourceConflictException", 409)
    for world in (both.real, both.fake):
        world.client.delete_function(FunctionName=both.name, Qualifier="3")
    assert both.versions() == ["1", "2"]
    # AWS takes the deletion of a version that is gone for done; MiniStack finds it missing.
    assert isinstance(both.only_fake("delete_function", Qualifier="3"), dict)
    # AWS refuses to delete $LATEST alone, and an alias; MiniStack deletes the whole function.
    for qualifier in ("$LATEST", "live"):
        refused = both.only_fake("delete_function", Qualifier=qualifier)
        assert refused == ("InvalidParameterValueException", 400)
    # A number is never used again.
    both.update("update_function_configuration", Timeout=40)
    assert both.on("publish_version")["Version"] == "4"


@pytest.mark.embedded
def test_what_belongs_to_the_function_goes_with_it(both: Both) -> None:
    both.create(Tags={"a": "1"})
    both.on("publish_version")
    both.on("create_alias", Name="live", FunctionVersion="1")
    both.on("put_function_event_invoke_config", Qualifier="live", MaximumRetryAttempts=0)
    both.on("put_function_concurrency", ReservedConcurrentExecutions=3)
    both.on("put_function_recursion_config", RecursiveLoop="Allow")
    for world in (both.real, both.fake):
        world.client.delete_function(FunctionName=both.name)
    both.create()
    assert both.versions() == []
    assert both.on("list_aliases")["Aliases"] == []
    assert both.on("get_function_recursion_config")["RecursiveLoop"] == "Terminate"
    assert not {"Tags", "Concurrency"} & both.on("get_function").keys()
    both.on("publish_version")
    both.on("create_alias", Name="live", FunctionVersion="1")
    absent = both.on("get_function_event_invoke_config", Qualifier="live")
    assert absent == ("ResourceNotFoundException", 404)


@pytest.mark.embedded
def test_tags_are_of_the_function(both: Both) -> None:
    both.create(Tags={"a": "1"})
    arn = both.on("get_function")["Configuration"]["FunctionArn"]
    both.call("tag_resource", Resource=arn, Tags={"b": "2", "a": "3"})
    both.call("untag_resource", Resource=arn, TagKeys=["a", "gone"])
    assert both.call("list_tags", Resource=arn)["Tags"] == {"b": "2"}
    assert both.on("get_function")["Tags"] == {"b": "2"}
    missing = f"{arn}-missing"
    absent = "ResourceNotFoundException", 404
    assert both.call("tag_resource", Resource=missing, Tags={"a": "1"}) == absent
    assert both.call("list_tags", Resource=missing) == absent
    both.on("publish_version")
    # AWS says nothing of tags when asked for a version, and takes none for it; MiniStack does both.
    assert "Tags" not in both.only_fake("get_function", Qualifier="1")
    tagged = both.fake.call("lambda", "tag_resource", Resource=f"{arn}:1", Tags={"a": "1"})
    assert tagged == ("InvalidParameterValueException", 400)


@pytest.mark.embedded
def test_settings_of_the_whole_function(both: Both) -> None:
    absent = "ResourceNotFoundException", 404
    put = "put_function_concurrency"
    assert both.on(put, ReservedConcurrentExecutions=5) == absent
    assert both.on("put_function_recursion_config", RecursiveLoop="Allow") == absent
    both.create()
    assert both.on("get_function_recursion_config")["RecursiveLoop"] == "Terminate"
    both.on("put_function_recursion_config", RecursiveLoop="Allow")
    assert both.on("get_function_recursion_config")["RecursiveLoop"] == "Allow"
    for reserved in (5, 0):
        both.on(put, ReservedConcurrentExecutions=reserved)
        found = both.on("get_function")["Concurrency"]
        assert found == {"ReservedConcurrentExecutions": reserved}
    both.on("delete_function_concurrency")
    both.on("delete_function_concurrency")
    assert "Concurrency" not in both.on("get_function")
    # AWS keeps 100 executions unreserved; MiniStack reserves any number.
    too_many = both.only_fake(put, ReservedConcurrentExecutions=901)
    assert too_many == ("InvalidParameterValueException", 400)


@pytest.mark.embedded
def test_asynchronous_invocations_are_set_for_each_qualifier(both: Both) -> None:
    absent = "ResourceNotFoundException", 404
    get, put = "get_function_event_invoke_config", "put_function_event_invoke_config"
    assert both.on(get, Qualifier="live") == absent
    both.create()
    both.on("publish_version")
    both.on("create_alias", Name="live", FunctionVersion="1")
    assert both.on(get, Qualifier="live") == absent
    destination = {"OnFailure": {"Destination": QUEUE}}
    both.on(put, Qualifier="live", MaximumRetryAttempts=1, DestinationConfig=destination)
    both.on(put, Qualifier="1", MaximumRetryAttempts=0)
    both.on(put, MaximumRetryAttempts=2)
    for qualifier in ("live", "1", "$LATEST"):
        # AWS takes $LATEST and no qualifier for the same; MiniStack keeps them apart.
        call = both.only_fake if qualifier == "$LATEST" else both.on
        found = call(get, Qualifier=qualifier)
        assert found["FunctionArn"].endswith(f":{qualifier}")
    assert both.on(get)["MaximumRetryAttempts"] == 2
    # What is omitted is unset.
    both.on(put, Qualifier="live", MaximumRetryAttempts=2)
    assert both.on(get, Qualifier="live")["DestinationConfig"].get("OnFailure", {}) == {}
    assert both.on(put, Qualifier="missing", MaximumRetryAttempts=2) == absent
    both.on("delete_function_event_invoke_config", Qualifier="live")
    assert both.on("delete_function_event_invoke_config", Qualifier="live") == absent
    assert both.on(get, Qualifier="live") == absent
    # AWS refuses a setting of nothing; MiniStack sets its defaults.
    assert both.only_fake(put, Qualifier="live") == ("InvalidParameterValueException", 400)


@pytest.mark.embedded
def test_the_invoked_version_answers(both: Both) -> None:
    both.create()
    both.on("publish_version")
    broken = package(
        "2", executor="def lambda_handler(event, context):\n    raise ValueError('no')"
    )
    both.update("update_function_code", **both.upload("2", broken))
    both.on("publish_version")
    both.on("create_alias", Name="live", FunctionVersion="1")
    for qualifier in ("1", "live"):
        real, fake = (
            world.call(
                "lambda", "invoke", FunctionName=both.name, Qualifier=qualifier, Payload=PING
            )
            for world in (both.real, both.fake)
        )
        assert json.loads(fake["Payload"]) == json.loads(real["Payload"])
        assert json.loads(fake["Payload"]) == {
            "wukong": "pong",
            "component": "executor",
            "marker": "1",
        }
        assert (fake["StatusCode"], fake["ExecutedVersion"]) == (200, "1")
        assert (real["StatusCode"], real["ExecutedVersion"]) == (200, "1")
        assert not {"FunctionError"} & {*real, *fake}
    real, fake = (
        world.call("lambda", "invoke", FunctionName=both.name, Qualifier="2", Payload=PING)
        for world in (both.real, both.fake)
    )
    assert fake["FunctionError"] == real["FunctionError"] == "Unhandled"
    messages = [json.loads(answer["Payload"])["errorMessage"] for answer in (real, fake)]
    assert messages == ["no", "no"]
    missing = both.on("invoke", Qualifier="9", Payload=PING)
    assert missing == ("ResourceNotFoundException", 404)


@pytest.mark.embedded
def test_layer_versions_are_listed_newest_first(both: Both) -> None:
    layer = {"LayerName": both.name}
    assert both.call("list_layer_versions", **layer)["LayerVersions"] == []
    publish = "publish_layer_version"
    place = both.upload("1")
    both.call(publish, **layer, Content=place, Description="a", CompatibleRuntimes=["python3.13"])
    both.call(publish, **layer, Content=both.upload("2"), Description="b")
    both.call(
        publish,
        **layer,
        Content=place,
        Description="c",
        CompatibleRuntimes=["python3.12", "python3.13"],
        CompatibleArchitectures=["arm64"],
    )
    for pages in (["c", "b"], ["a"]), (["c"], ["b"], ["a"]):
        for world in (both.real, both.fake):
            assert _layer_pages(world, both.name, len(pages[0])) == list(pages)
    for filters, expected in (
        ({"CompatibleRuntime": "python3.13"}, ["c", "a"]),
        ({"CompatibleRuntime": "python3.12"}, ["c"]),
        ({"CompatibleArchitecture": "arm64"}, ["c"]),
        ({"CompatibleRuntime": "python3.14"}, []),
    ):
        for world in (both.real, both.fake):
            found = world.call("lambda", "list_layer_versions", **layer, **filters)
            assert [item["Description"] for item in found["LayerVersions"]] == expected
    first = both.call("get_layer_version", **layer, VersionNumber=1)
    both.call("get_layer_version_by_arn", Arn=first["LayerVersionArn"])
    both.call("delete_layer_version", **layer, VersionNumber=1)
    both.call("delete_layer_version", **layer, VersionNumber=1)
    absent = "ResourceNotFoundException", 404
    assert both.call("get_layer_version", **layer, VersionNumber=1) == absent
    assert both.call("get_layer_version_by_arn", Arn=first["LayerVersionArn"]) == absent
    both.call("delete_layer_version", **layer, VersionNumber=3)
    # A number is never used again.
    assert both.call(publish, **layer, Content=place)["Version"] == 4
    missing = {"S3Bucket": BUCKET, "S3Key": "missing"}
    # AWS refuses a layer without its object; MiniStack publishes an empty one.
    refused = both.fake.call("lambda", publish, **layer, Content=missing)
    assert refused == ("InvalidParameterValueException", 400)


def _layer_pages(world: World, name: str, size: int) -> list[list[str]]:
    pages: list[list[Any]] = []
    more: dict[str, str] = {}
    while True:
        answer = world.call("lambda", "list_layer_versions", LayerName=name, MaxItems=size, **more)
        pages.append([item["Description"] for item in answer["LayerVersions"]])
        if not answer.get("NextMarker"):
            return pages
        more = {"Marker": answer["NextMarker"]}


@pytest.mark.embedded
def test_a_snapshot_is_taken_of_a_published_version(both: Both) -> None:
    both.create(SnapStart={"ApplyOn": "PublishedVersions"})
    answer = both.on("publish_version")
    # AWS says what a new version waits for; MiniStack may have finished before it answers.
    assert (answer["State"], answer["StateReasonCode"]) == ("Pending", "Creating")
    until(lambda: _is_active(both.real, both.name, "1"), "the snapshot")
    assert _is_active(both.fake, both.name, "1")
    settled = both.on("get_function_configuration", Qualifier="1")
    assert settled["SnapStart"] == {
        "ApplyOn": "PublishedVersions",
        "OptimizationStatus": "On",
    }
    latest = both.on("get_function_configuration")
    assert latest["SnapStart"]["OptimizationStatus"] == "Off"
    big = both.on("update_function_configuration", EphemeralStorage={"Size": 513})
    assert big == ("InvalidParameterValueException", 400)
    old = both.on("update_function_configuration", Runtime="python3.11")
    assert old == ("InvalidParameterValueException", 400)


def _is_active(world: World, name: str, version: str) -> bool:
    found = world.client.get_function_configuration(FunctionName=name, Qualifier=version)
    return bool(found["State"] == "Active")


@pytest.mark.embedded
@pytest.mark.parametrize("seed", range(3))
def test_a_random_walk_ends_the_same(both: Both, seed: int) -> None:
    both.name = f"random-walk-{seed}"
    both.create()
    walk = Walk(both, random.Random(seed))
    for _ in range(60):
        walk.step()
    for operation in ("list_versions_by_function", "list_aliases", "get_function"):
        both.on(operation)
    both.real.client.delete_function(FunctionName=both.name)


class Walk:
    """Random writes to one function, of which none is refused by AWS only."""

    def __init__(self, both: Both, chance: random.Random) -> None:
        self._both = both
        self._chance = chance
        self._timeout = 3

    def step(self) -> None:
        steps = [self.publish, self.alias, self.unalias, self.setting, self.delete, self.read]
        self._chance.choice([*steps, self.alias, self.read, self.configure])()

    def configure(self) -> None:
        self._timeout += 1
        self._both.update("update_function_configuration", Timeout=self._timeout)

    def publish(self) -> None:
        words = self._chance.choice(["", "some", "words"])
        self._both.on("publish_version", Description=words or "none")

    def alias(self) -> None:
        versions = self._both.versions()
        if not versions:
            return
        version = self._chance.choice(versions)
        name = self._chance.choice("abc")
        operation = self._chance.choice(["create_alias", "update_alias"])
        others = [other for other in versions if other != version]
        more: dict[str, Any] = {"RoutingConfig": {"AdditionalVersionWeights": {}}}
        if others and self._chance.random() < 0.3:
            weights = {self._chance.choice(others): 0.5}
            more = {"RoutingConfig": {"AdditionalVersionWeights": weights}}
        self._both.on(operation, Name=name, FunctionVersion=version, Description=name, **more)

    def unalias(self) -> None:
        names = [alias["Name"] for alias in self._both.on("list_aliases")["Aliases"]]
        if names:
            self._both.on("delete_alias", Name=self._chance.choice(names))

    def delete(self) -> None:
        versions = self._both.versions()
        # The newest stays: AWS compares with nothing when it is gone, MiniStack with what is left.
        if versions[:-1] and self._chance.random() < 0.5:
            version = self._chance.choice(versions[:-1])
            outcomes = [
                world.call(
                    "lambda", "delete_function", FunctionName=self._both.name, Qualifier=version
                )
                for world in (self._both.real, self._both.fake)
            ]
            assert isinstance(outcomes[0], tuple) == isinstance(outcomes[1], tuple)

    def setting(self) -> None:
        number = self._chance.randrange(3)
        retries = {"MaximumRetryAttempts": number}
        place = {"Qualifier": self._chance.choice(["a", "b", "1", "2"])}
        choices: list[tuple[str, dict[str, Any]]] = [
            ("put_function_event_invoke_config", {**place, **retries}),
            ("put_function_concurrency", {"ReservedConcurrentExecutions": number}),
            ("delete_function_concurrency", {}),
            ("put_function_recursion_config", {"RecursiveLoop": "Allow"}),
            ("put_function_recursion_config", {"RecursiveLoop": "Terminate"}),
        ]
        operation, arguments = self._chance.choice(choices)
        self._both.on(operation, **arguments)

    def read(self) -> None:
        qualifier = self._chance.choice(["a", "b", "c", "1", "2", "3"])
        operation = self._chance.choice(["get_function_configuration", "get_alias"])
        named = {"Name": qualifier} if operation == "get_alias" else {"Qualifier": qualifier}
        self._both.on(operation, **named)


@pytest.mark.embedded
def test_objects_are_read_as_from_s3(both: Both) -> None:
    body = b"0123456789"
    both.upload("first", b"other")
    both.upload("second", body)
    place = {"Bucket": BUCKET, "Key": KEY}
    first = {**place, "VersionId": lambda world: world.objects["first"]}

    def s3(operation: str, **arguments: Any) -> Any:
        return both.call(operation, "s3", **arguments)

    assert s3("head_object", **first)["ContentLength"] == 5
    assert s3("get_object", **first)["Body"] == b"other"
    for world in (both.real, both.fake):
        found = world.call("s3", "head_object", **place, ChecksumMode="ENABLED")
        assert found["ChecksumSHA256"] == b64encode(sha256(body).digest()).decode()
        assert found["ChecksumType"] == "FULL_OBJECT"
    etag = s3("head_object", **place)["ETag"]
    for text, part in (
        ("bytes=2-4", b"234"),
        ("bytes=7-", b"789"),
        ("bytes=-3", b"789"),
        ("bytes=8-99", b"89"),
        ("bytes=-99", body),
    ):
        found = s3("get_object", **place, Range=text, IfMatch=etag)
        assert found["Body"] == part
    # AWS sends ranges of older versions, too; MiniStack sends the whole.
    old = both.fake.call("s3", "get_object", **_resolved(first, both.fake), Range="bytes=1-2")
    assert (old["Body"], old["ContentRange"]) == (b"th", "bytes 1-2/5")
    assert s3("get_object", **place, Range="bytes=10-12") == ("InvalidRange", 416)
    assert s3("get_object", **first, IfMatch=etag) == ("PreconditionFailed", 412)
    assert s3("head_object", **first, IfMatch=etag) == ("412", 412)
    unknown = {**place, "VersionId": "nothing"}
    assert s3("get_object", **unknown) == ("NoSuchVersion", 404)
    assert s3("head_object", **unknown) == ("404", 404)
    absent = {"Bucket": BUCKET, "Key": "missing"}
    assert s3("get_object", **absent) == ("NoSuchKey", 404)
    assert s3("head_object", **absent) == ("404", 404)
    nowhere = {"Bucket": "no-such-bucket", "Key": "missing"}
    assert s3("get_object", **nowhere) == ("NoSuchBucket", 404)
    assert s3("head_object", **nowhere) == ("404", 404)


@pytest.mark.embedded
def test_a_deleted_object_leaves_its_versions(both: Both) -> None:
    for world in (both.real, both.fake):
        world.objects["old"] = world.upload(b"old", "deleted.zip")
    place = {"Bucket": BUCKET, "Key": "deleted.zip"}
    both.real.s3.delete_object(**place)
    both.fake.s3._client.delete(*place.values())
    assert both.call("get_object", "s3", **place) == ("NoSuchKey", 404)
    assert both.call("head_object", "s3", **place) == ("404", 404)
    old = {**place, "VersionId": lambda world: world.objects["old"]}
    assert both.call("get_object", "s3", **old)["Body"] == b"old"


# The fake alone: what only AWS does, and faults


def lambda_with(**configuration: Any) -> FakeAws:
    """Give an account with the function `f`, settled."""
    aws = FakeAws()
    version = aws.s3.put("bucket", "key", package("1"))
    code = {"S3Bucket": "bucket", "S3Key": "key", "S3ObjectVersion": version}
    rest = {"Role": "role", "Runtime": "python3.13", "Handler": HANDLER, **configuration}
    aws.lambda_.create_function(FunctionName="f", Code=code, **rest)
    while aws.lambda_.get_function(FunctionName="f")["Configuration"]["State"] == "Pending":
        pass
    aws.calls.clear()
    return aws


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    """Make a call that must be refused; gives the code and the message."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_the_methods_have_the_parameters_of_boto3s() -> None:
    aws = FakeAws()
    for service, client in (("lambda", aws.lambda_), ("s3", aws.s3)):
        operations = [name for name, _ in inspect.getmembers(client) if _is_operation(client, name)]
        assert len(operations) > 1
        for name in operations:
            known = _model(service, name).input_shape
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
    code = {"ZipFile": package("1")}
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
    client.update_function_code(FunctionName="f", ZipFile=package("2"))
    client.get_function(FunctionName="f")
    failed = client.get_function(FunctionName="f")["Configuration"]
    assert (failed["State"], failed["LastUpdateStatus"]) == ("Active", "Failed")
    assert failed["LastUpdateStatusReasonCode"] == "SubnetOutOfIPAddresses"
    answer = client.invoke(FunctionName="f", Payload=PING)
    assert json.loads(answer["Payload"].read())["marker"] == "1"
    client.update_function_code(FunctionName="f", ZipFile=package("2"))
    client.get_function(FunctionName="f")
    assert client.get_function(FunctionName="f")["Configuration"].items() >= SETTLED.items()


def test_a_new_role_cannot_be_assumed_at_first() -> None:
    aws = FakeAws()
    aws.lambda_.unassumable["new"] = 2
    arguments: dict[str, Any] = {
        "FunctionName": "f",
        "Code": {"ZipFile": package("1")},
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
    aws.lambda_.update_function_code(FunctionName="f", ZipFile=code)
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


def test_a_paginator_makes_one_call_for_each_page() -> None:
    aws = lambda_with()
    for name in "abc":
        aws.lambda_.create_alias(FunctionName="f", Name=name, FunctionVersion="$LATEST")
    aws.calls.clear()
    pages = aws.lambda_.get_paginator("list_aliases").paginate(FunctionName="f", MaxItems=2)
    assert [len(page["Aliases"]) for page in pages] == [2, 1]
    assert aws.operations == ["ListAliases", "ListAliases"]


def test_the_clock_only_moves_when_somebody_sleeps() -> None:
    aws = FakeAws()
    aws.clock.sleep(3600)
    assert aws.clock.read() == 3600
    aws.s3.put("bucket", "key", b"")
    modified = aws.s3.head_object(Bucket="bucket", Key="key")["LastModified"]
    assert modified == aws.time()


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
