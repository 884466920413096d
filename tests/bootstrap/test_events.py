"""Raw events of every trigger become requests, or are refused by the name of what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bootstrap.errors import EventError, SettingsError
from bootstrap.events import Action, Ignored, Request, Trigger, Upload, describe, read_event
from bootstrap.manual import manual_schema
from bootstrap.settings import Settings
from bootstrap.spec import UNSET

ROLE = "arn:aws:iam::123456789012:role/wukong"
ENVIRONMENT = {
    "WUKONG_PACKAGE_BUCKET": "bucket",
    "WUKONG_PACKAGE_KEY": "my packages/deployment+1.zip",
    "WUKONG_OWNER": "stack-id",
    "WUKONG_STORE_URL": "redis://store",
    "WUKONG_RUNTIME": "python3.12",
    "WUKONG_EXECUTOR_ROLE": ROLE,
    "WUKONG_EXECUTOR_MEMORY_SIZE": "2048",
    "WUKONG_EXECUTOR_LAYERS": "one,two",
    "WUKONG_INVOKER_ROLE": ROLE,
    "WUKONG_SUBNET_IDS": "",
}
SETTINGS = Settings.from_environment(ENVIRONMENT)


def notification(**changes: Any) -> dict[str, Any]:
    record = {
        "eventVersion": "2.6",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:CompleteMultipartUpload",
        "s3": {
            "bucket": {"name": "bucket"},
            "object": {
                "key": "my+packages/deployment%2B1.zip",
                "eTag": "abc",
                "versionId": "v1",
                "sequencer": "0055",
            },
        },
    }
    return {"Records": [{**record, **changes}]}


def bridge(**changes: Any) -> dict[str, Any]:
    event = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {
            "bucket": {"name": "bucket"},
            "object": {"key": "my packages/deployment+1.zip", "etag": "abc"},
        },
    }
    return {**event, **changes}


def resource(request: str = "Create", **properties: Any) -> dict[str, Any]:
    return {
        "RequestType": request,
        "ResponseURL": "https://answer.example/secret",
        "StackId": "another-stack",
        "RequestId": "r",
        "LogicalResourceId": "Functions",
        "ResourceProperties": {"ServiceToken": "arn", "ServiceTimeout": "960", **properties},
    }


def read(event: object) -> Request:
    found = read_event(event, SETTINGS)
    assert isinstance(found, Request)
    return found


def test_a_notification_is_decoded_and_says_which_version() -> None:
    request = read(notification())
    assert (request.action, request.trigger) == (Action.DEPLOY, Trigger.S3)
    assert request.uploads == (Upload("v1", "abc"),)
    assert request.spec.owner == "stack-id"


def test_an_eventbridge_key_is_taken_as_it_is() -> None:
    request = read(bridge())
    assert request.trigger is Trigger.EVENTBRIDGE
    assert request.uploads == (Upload(None, "abc"),)


def test_a_layers_upload_names_the_layer() -> None:
    told = {"key": "layers/my%2Dnumpy.zip", "eTag": "abc", "versionId": "v1"}
    request = read(notification(s3={"bucket": {"name": "bucket"}, "object": told}))
    assert request.uploads == (Upload("v1", "abc", "my-numpy"),)


def test_several_records_are_one_request() -> None:
    first, second = notification()["Records"], notification()["Records"]
    second[0]["s3"]["object"]["versionId"] = "v2"
    other = notification(s3={"bucket": {"name": "bucket"}, "object": {"key": "x"}})["Records"]
    request = read({"Records": [*first, *other, *second]})
    assert request.uploads == (Upload("v1", "abc"), Upload("v2", "abc"))


def test_who_asked_is_told() -> None:
    alice = {"principalId": "AWS:AROAEXAMPLE:alice"}
    assert read(notification(userIdentity=alice)).by == "s3:alice"
    assert read(notification()).by == "s3"
    stack = "arn:aws:cloudformation:eu-west-1:1:stack/app/1"
    assert read({**resource(), "StackId": stack}).by == "cloudformation:app"
    assert read({"action": "rollback", "by": "bob"}).by == "manual:bob"


IGNORED: dict[str, object] = {
    "test event": {"Service": "Amazon S3", "Event": "s3:TestEvent"},
    "deletion": notification(eventName="ObjectRemoved:Delete"),
    "other bucket": notification(s3={"bucket": {"name": "b"}, "object": {"key": "deployment"}}),
    "other key": notification(s3={"bucket": {"name": "bucket"}, "object": {"key": "x"}}),
    "deletion over EventBridge": bridge(**{"detail-type": "Object Deleted"}),
}


@pytest.mark.parametrize("kind", IGNORED)
def test_what_is_not_an_upload_of_the_package_is_ignored(kind: str) -> None:
    assert isinstance(read_event(IGNORED[kind], SETTINGS), Ignored)


REFUSED: dict[str, tuple[object, str]] = {
    "nothing": (None, "Unknown kind"),
    "a future schema": (notification(eventVersion="3.0"), "Records.0.event_version"),
    "a record of SQS": ({"Records": [{"body": "x"}]}, "Records.0"),
    "no records": ({"Records": []}, "Records"),
    "half an EventBridge event": ({"source": "aws.s3", "detail-type": "x"}, "detail"),
    "an unknown request": (resource("Destroy"), "RequestType"),
    "an unknown property": (resource(Memory="1"), "ResourceProperties.Memory"),
    "a wrong property": (
        resource(Executor={"MemorySize": "lots"}),
        "ResourceProperties.executor.memory_size",
    ),
    "no action that we know": ({"action": ["deploy"]}, "action"),
    "a reserved variable": (
        {"action": "deploy", "executor": {"environment": {"AWS_REGION": "x"}}},
        "executor.environment",
    ),
    "a variable with a name of one letter": (
        {"action": "deploy", "executor": {"environment": {"X": "1"}}},
        "executor.environment",
    ),
    "too many variables": (
        {"action": "deploy", "executor": {"environment": {"BIG": "x" * 4100}}},
        "executor.environment",
    ),
    "six layers": ({"action": "deploy", "executor": {"layers": ["l"] * 6}}, "executor.layers"),
    "a release that is none": ({"action": "rollback", "to": "latest"}, "to"),
    "a deletion without a name": ({"action": "delete"}, "confirm"),
    "a deletion of another": ({"action": "delete", "confirm": "Wukong"}, "confirm"),
    "no layer": ({"action": "deploy", "executor": {"layers": ["arn:x"]}}, "executor.layers.0"),
    "a tag of ours": (
        {"action": "deploy", "executor": {"tags": {"wukong:owner": "me"}}},
        "executor.tags",
    ),
    "more than status knows": ({"action": "status", "executor": {}}, "executor"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_wrong_is_named(kind: str) -> None:
    event, named = REFUSED[kind]
    with pytest.raises(EventError) as caught:
        read_event(event, SETTINGS)
    assert named.lower().replace("_", "") in caught.value.message.lower().replace("_", "")


def test_an_error_does_not_repeat_the_value() -> None:
    with pytest.raises(EventError) as caught:
        read_event({"action": "deploy", "store_url": ["redis://:secret@store"]}, SETTINGS)
    assert "secret" not in caught.value.message + caught.value.hint


def test_an_event_wins_over_the_environment_and_that_over_the_defaults() -> None:
    spec = read({"action": "deploy", "executor": {"timeout": 60}}).spec
    assert spec.executor.timeout == 60
    assert spec.executor.memory_size == 2048
    assert spec.executor.layers == ("one", "two")
    assert (spec.executor.runtime, spec.invoker.runtime) == ("python3.12", "python3.12")
    assert spec.invoker.memory_size is UNSET
    assert spec.invoker.configuration(None).memory_size == 512


def test_cloudformations_strings_are_numbers_and_its_names_are_ours() -> None:
    executor = {"MemorySize": "4096", "Layers": [""], "SubnetIds": ["a", "b"], "Role": ROLE}
    spec = read(resource(Executor=executor, StoreUrl="redis://other", Adopt="true")).spec
    assert spec.executor.memory_size == 4096
    assert spec.executor.layers == ()
    assert spec.executor.subnet_ids == ("a", "b")
    assert spec.invoker.store_url == "redis://other"
    assert (spec.owner, spec.adopt) == ("another-stack", True)


def test_a_deletion_works_with_properties_that_were_refused() -> None:
    wrong = {"FunctionName": "TheirExecutor", "MemorySize": "lots"}
    request = read(resource("Delete", Executor=wrong, Nonsense="x"))
    assert request.action is Action.DELETE
    assert request.spec.executor.function_name == "TheirExecutor"
    assert request.spec.invoker.function_name == "WukongInvoker"


def test_a_rename_of_one_function_alone_is_refused() -> None:
    event = resource("Update", Executor={"FunctionName": "Another"})
    event["PhysicalResourceId"] = "wukong/WukongExecutor/WukongInvoker"
    with pytest.raises(EventError, match="keeps one of the two names"):
        read_event(event, SETTINGS)


def test_a_rename_of_both_is_a_replacement() -> None:
    names = {"Executor": {"FunctionName": "AExecutor"}, "Invoker": {"FunctionName": "AInvoker"}}
    event = resource("Update", **names)
    event["PhysicalResourceId"] = "wukong/WukongExecutor/WukongInvoker"
    assert read(event).spec.executor.function_name == "AExecutor"


def test_what_is_logged_of_an_event_has_no_values_that_are_secret() -> None:
    told = str(describe(resource(StoreUrl="redis://:secret@store")))
    assert "secret" not in told
    assert "RequestId" in told


def test_settings_name_the_variable_that_is_wrong() -> None:
    settings = Settings.from_environment({**ENVIRONMENT, "WUKONG_EXECUTOR_MEMORY_SIZE": "1"})
    with pytest.raises(SettingsError, match="WUKONG_EXECUTOR_MEMORY_SIZE"):
        settings.wishes()


def test_settings_name_the_variable_that_is_missing() -> None:
    with pytest.raises(SettingsError, match="WUKONG_PACKAGE_KEY"):
        Settings.from_environment({"WUKONG_PACKAGE_BUCKET": "bucket"})


def test_a_pin_of_the_stack_is_the_version_unless_the_event_asks_for_another() -> None:
    pinned = read(resource(PackageVersion="v7"))
    assert (pinned.pin, pinned.package_version) == ("v7", "v7")
    settings = Settings.from_environment({**ENVIRONMENT, "WUKONG_PACKAGE_VERSION": "v7"})
    asked = read_event({"action": "deploy", "package_version": "v8"}, settings)
    assert isinstance(asked, Request)
    assert (asked.pin, asked.package_version) == ("v7", "v8")


@pytest.mark.parametrize("keep", ["1", "many"])
def test_keeping_too_few_releases_is_refused(keep: str) -> None:
    with pytest.raises(SettingsError, match="WUKONG_KEEP_RELEASES"):
        Settings.from_environment({**ENVIRONMENT, "WUKONG_KEEP_RELEASES": keep})


def test_the_published_schema_is_that_of_the_models() -> None:
    """`make schema` writes it."""
    published = Path(__file__).parents[2] / "docs" / "manual-event.schema.json"
    assert json.loads(published.read_text()) == manual_schema()


@pytest.mark.parametrize(
    ("event", "is_right"),
    [
        ({"action": "status"}, True),
        ({"action": "deploy", "executor": {"memory_size": 4096, "layers": None}}, True),
        ({"action": "rollback", "to": "8.7"}, True),
        ({"action": "rollback", "to": "latest"}, False),
        ({"action": "delete"}, False),
        ({"action": "explode"}, False),
        ({"action": "status", "more": 1}, False),
    ],
)
def test_the_schema_and_the_function_agree(event: dict[str, Any], is_right: bool) -> None:
    assert Draft202012Validator(manual_schema()).is_valid(event) is is_right
    if is_right and event["action"] != "delete":
        read(event)
    elif not is_right:
        with pytest.raises(EventError):
            read_event(event, SETTINGS)
