"""The fake AWS is exact: aliases, tags, settings and invocations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.bootstrap.conftest import package
from tests.bootstrap.differential import (
    PING,
    QUEUE,
    Both,
    World,
)


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
    assert both.on("get_function")["Tags"] == {"b": "2"}
    missing = f"{arn}-missing"
    absent = "ResourceNotFoundException", 404
    assert both.call("tag_resource", Resource=missing, Tags={"a": "1"}) == absent
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
