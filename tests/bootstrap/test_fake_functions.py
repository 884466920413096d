"""The fake AWS is exact: functions, their code, their configuration and their versions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bootstrap.differential import (
    BUCKET,
    HANDLER,
    ROLE,
    Both,
    World,
)


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
