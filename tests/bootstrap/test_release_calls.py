"""Exactly which calls the other actions make: rollback, plan, status; and those for layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bootstrap.answer import Status
from bootstrap.errors import (
    EventError,
    NoReleaseError,
    NotOursError,
    PackageError,
    RefusedError,
    SmokeTestError,
    ThrottledError,
)
from bootstrap.manual import Action
from bootstrap.record import Record
from bootstrap.retry import mapped
from tests.bootstrap.conftest import package
from tests.bootstrap.script import (
    EXECUTOR,
    INVOKER,
    OLD,
    SHA,
    Remembered,
    Script,
    asking,
    counted,
    deploying,
    described,
    recorded,
)


def test_a_rollback_switches_back_and_holds_what_was_live(script: Script) -> None:
    for name in (EXECUTOR, INVOKER):
        live = recorded(name, release="2.2", previous="1.1", package="v2")
        script.alias(name, str(live), "2")
    for name in (EXECUTOR, INVOKER):
        script.versions(name, {"1": OLD, "2": SHA})
    for name in (EXECUTOR, INVOKER):
        script.holding(name)
    for name in (EXECUTOR, INVOKER):
        script.ping(name, "1")
    written: list[str] = []
    for name in (EXECUTOR, INVOKER):
        script.switch(name, "1", description=Remembered(written))
    answer = script.perform(asking(Action.ROLLBACK))
    assert answer.status is Status.ROLLED_BACK
    assert [function.previous for function in answer.functions] == ["2", "2"]
    assert script.calls == counted("rollback")
    for text in written:
        record = Record.parse(text)
        assert record is not None
        assert (record.release, record.previous, record.package) == ("1.1", "2.2", "v1")
        assert record.holds("v2")
        assert record.rollback


def test_undoing_the_same_deployment_twice_undoes_it_once(script: Script) -> None:
    for name in (EXECUTOR, INVOKER):
        script.alias(name, str(recorded(name, previous="2.2", rollback=True)), "1")
    for name in (EXECUTOR, INVOKER):
        script.versions(name, {"1": OLD, "2": SHA})
    assert script.perform(asking(Action.ROLLBACK)).status is Status.UNCHANGED


def test_a_rollback_to_a_version_that_no_longer_answers_switches_nothing(script: Script) -> None:
    for name in (EXECUTOR, INVOKER):
        script.alias(name, str(recorded(name)), "2")
    for name in (EXECUTOR, INVOKER):
        script.versions(name, {"1": OLD, "2": SHA})
    for name in (EXECUTOR, INVOKER):
        script.holding(name)
    script.ping(EXECUTOR, "1")
    script.ping(INVOKER, "1", wukong="what?")
    with pytest.raises(SmokeTestError, match="WukongInvoker:1"):
        script.perform(asking(Action.ROLLBACK, to="1.1"))


@pytest.mark.parametrize(
    ("to", "versions", "named"),
    [
        ("7.1", {"1": OLD, "2": SHA}, "no version 7"),
        ("1.2", {"1": OLD, "2": SHA}, "different packages"),
        ("", {}, "before 2.2"),
    ],
)
def test_a_release_that_is_none_is_refused(to: str, versions: dict[str, str], named: str) -> None:
    script = Script()
    for name in (EXECUTOR, INVOKER):
        script.alias(name, "switched by hand", "2")
    if versions:
        for name in (EXECUTOR, INVOKER):
            script.versions(name, versions)
    with pytest.raises(NoReleaseError, match=named):
        script.perform(asking(Action.ROLLBACK, to=to))


def throttled(script: Script) -> None:
    """Expect a rollback of 2.2 for whose ping Lambda has no room."""
    for name in (EXECUTOR, INVOKER):
        script.alias(name, str(recorded(name, release="2.2", previous="1.1")), "2")
    for name in (EXECUTOR, INVOKER):
        script.versions(name, {"1": OLD, "2": SHA})
    for name in (EXECUTOR, INVOKER):
        script.holding(name)


def test_a_rollback_does_not_wait_long_for_room_to_ping() -> None:
    """The release that is to be left may be what takes all the room."""
    script = Script()
    throttled(script)
    for _ in range(100):
        script.fail("invoke", "TooManyRequestsException", "no concurrency", 429)
    with pytest.raises(ThrottledError) as raised:
        script.perform(asking(Action.ROLLBACK))
    assert script.clock.now <= 30
    assert '"force": true' in raised.value.hint


def test_a_forced_rollback_switches_though_the_pings_fail(script: Script) -> None:
    throttled(script)
    for name in (EXECUTOR, INVOKER):
        script.ping(name, "1", wukong="what?")
    for name in (EXECUTOR, INVOKER):
        script.switch(name, "1")
    answer = script.perform(replace(asking(Action.ROLLBACK), force=True))
    assert answer.status is Status.ROLLED_BACK


def test_a_rollback_of_what_is_somebody_elses_by_now_is_refused(script: Script) -> None:
    for name in (EXECUTOR, INVOKER):
        script.alias(name, str(recorded(name, release="2.2", previous="1.1")), "2")
    for name in (EXECUTOR, INVOKER):
        script.versions(name, {"1": OLD, "2": SHA})
    theirs = {"Configuration": {}, "Tags": {"wukong:owner": "somebody"}}
    script.expect("get_function", theirs, FunctionName=EXECUTOR)
    with pytest.raises(NotOursError, match="belongs to somebody"):
        script.perform(asking(Action.ROLLBACK))


def test_variables_that_lambda_cannot_decrypt_are_not_taken_for_none(script: Script) -> None:
    script.head()
    problem = {"ErrorCode": "KMSAccessDeniedException", "Message": "no right to decrypt"}
    found = {"Configuration": described(EXECUTOR, Environment={"Error": problem})}
    script.expect("get_function", found, FunctionName=EXECUTOR)
    script.expect(
        "get_function_recursion_config", {"RecursiveLoop": "Allow"}, FunctionName=EXECUTOR
    )
    script.fail("get_alias", "ResourceNotFoundException", status=404)
    with pytest.raises(RefusedError, match="KMSAccessDenied"):
        script.perform(deploying())


def test_variables_that_are_too_long_with_our_own_are_refused_before_any_write(
    script: Script,
) -> None:
    script.look()
    script.recorded(EXECUTOR)
    script.recorded(INVOKER)
    with pytest.raises(EventError, match=r"executor\.environment"):
        script.perform(deploying(executor={"environment": {"LONG": "x" * 4070}}))


def test_without_a_release_nothing_can_be_rolled_back(script: Script) -> None:
    script.fail("get_alias", "ResourceNotFoundException", status=404)
    with pytest.raises(NoReleaseError, match="WukongExecutor has no live version"):
        script.perform(asking(Action.ROLLBACK))


def test_an_error_of_aws_does_not_repeat_variables() -> None:
    told = 'exceeded the 4KB limit. String measured: {"WUKONG_STORE_URL":"redis://:secret@x"}'
    answer: Any = {"Error": {"Code": "X", "Message": told}, "ResponseMetadata": {}}
    assert "secret" not in mapped(ClientError(answer, "CreateFunction"), "f").message


def test_a_version_that_an_alias_needs_is_not_waited_for() -> None:
    told = "Unable to delete version because the following aliases reference it: [x]"
    answer: Any = {
        "Error": {"Code": "ResourceConflictException", "Message": told},
        "ResponseMetadata": {"HTTPStatusCode": 409},
    }
    assert isinstance(mapped(ClientError(answer, "DeleteFunction"), "f"), RefusedError)


def test_a_plan_only_reads(script: Script) -> None:
    script.look()
    script.read(EXECUTOR, live={"CodeSha256": OLD}, CodeSha256=OLD)
    script.recorded(INVOKER)
    planning = replace(deploying(), action=Action.PLAN)
    answer = script.perform(planning)
    assert answer.status is Status.PLANNED
    assert answer.plan == (
        "WukongExecutor: CODE_CHANGED",
        f"  code: {OLD[:12]} -> {SHA[:12]}",
        "WukongInvoker: UNCHANGED",
    )


def test_a_status_tells_what_is_live_and_its_drift(script: Script) -> None:
    for name in (EXECUTOR, INVOKER):
        script.recorded(name)
    script.look()
    script.bucket.body = package("newer")
    script.bucket.sha = OLD
    answer = script.perform(asking(Action.STATUS))
    assert answer.status is Status.LIVE
    assert answer.release is not None
    assert (answer.release.name, answer.release.package) == ("1.1", "v2")
    assert (answer.release.by, answer.release.at) == ("manual", "2026-01-02T03:04:05.678000+00:00")
    assert answer.functions[0].drift == (f"code: {SHA[:12]} -> {OLD[:12]}",)


def test_a_layer_is_published_once_and_attached_in_its_place(script: Script) -> None:
    foreign = "arn:aws:lambda:eu-west-1:999999999999:layer:theirs:3"
    ours = "arn:aws:lambda:eu-west-1:123456789012:layer:Wukong-numpy:2"
    script.look()
    script.heads += 1
    script.recorded(EXECUTOR)
    script.recorded(INVOKER)
    known = [{"LayerVersionArn": ours, "Version": 2, "Description": "src=v2 size=1000"}]
    script.expect("list_layer_versions", {"LayerVersions": known}, LayerName="Wukong-numpy")
    script.expect("get_layer_version_by_arn", {"Content": {"CodeSize": 1}}, Arn=foreign)
    script.same_settings()
    script.expect(
        "update_function_configuration",
        {},
        FunctionName=EXECUTOR,
        RevisionId="read",
        Layers=[foreign, ours],
    )
    layers = [{"Arn": foreign}, {"Arn": ours}]
    script.settle(EXECUTOR, Layers=layers)
    script.publish(EXECUTOR, "2")
    script.ping(EXECUTOR, "2")
    script.switch(EXECUTOR, "2")
    script.switch(INVOKER, "1")
    answer = script.perform(deploying(executor={"layers": [foreign, "numpy"]}))
    assert answer.status is Status.CONFIGURATION_CHANGED


def test_layers_count_towards_the_limit(script: Script) -> None:
    big = "arn:aws:lambda:eu-west-1:999999999999:layer:big:3"
    script.look()
    script.recorded(EXECUTOR)
    script.recorded(INVOKER)
    script.expect("get_layer_version_by_arn", {"Content": {"CodeSize": 262_143_999}}, Arn=big)
    with pytest.raises(PackageError, match="with the layers of WukongExecutor"):
        script.perform(deploying(executor={"layers": [big]}))


def test_the_layer_for_tracing_counts_among_the_five_that_lambda_takes(script: Script) -> None:
    *five, tracing = (f"arn:aws:lambda:eu-west-1:999999999999:layer:l{n}:1" for n in range(6))
    script.look()
    script.recorded(EXECUTOR)
    script.recorded(INVOKER)
    with pytest.raises(EventError, match=r"'executor.layers'.* there are 6; Lambda allows 5"):
        script.perform(deploying(executor={"layers": five, "tracing_layer": tracing}))


def test_a_version_with_snapstart_is_waited_for(script: Script) -> None:
    script.look()
    script.recorded(EXECUTOR)
    script.recorded(INVOKER)
    snap = {"ApplyOn": "PublishedVersions"}
    script.same_settings()
    script.expect(
        "update_function_configuration",
        {},
        FunctionName=EXECUTOR,
        RevisionId="read",
        SnapStart=snap,
    )
    script.settle(EXECUTOR, SnapStart=snap)
    script.publish(EXECUTOR, "2", waits=2)
    script.ping(EXECUTOR, "2")
    script.switch(EXECUTOR, "2")
    script.switch(INVOKER, "1")
    script.perform(deploying(executor={"snap_start": "PublishedVersions"}))
    assert script.clock.now > 0


def test_a_version_that_lambda_has_put_to_sleep_is_waited_for(script: Script) -> None:
    for name in (EXECUTOR, INVOKER):
        script.alias(name, str(recorded(name, release="2.2", previous="1.1")), "2")
    for name in (EXECUTOR, INVOKER):
        script.versions(name, {"1": OLD, "2": SHA})
    for name in (EXECUTOR, INVOKER):
        script.holding(name)
    script.fail("invoke", "ResourceNotReadyException", "The function is being restored", 502)
    for name in (EXECUTOR, INVOKER):
        script.ping(name, "1")
    for name in (EXECUTOR, INVOKER):
        script.switch(name, "1")
    assert script.perform(asking(Action.ROLLBACK)).status is Status.ROLLED_BACK
