"""Exactly which calls a deployment makes, in which order and with what: one too many fails too."""

from __future__ import annotations

import re

import pytest

from bootstrap.answer import Status
from bootstrap.errors import (
    DeadlineError,
    FunctionBrokenError,
    PackageError,
    RefusedError,
    RoleNotReadyError,
    SmokeTestError,
    SwitchError,
)
from bootstrap.events import Upload
from bootstrap.manual import Action
from tests.bootstrap.conftest import ROOT, package
from tests.bootstrap.script import (
    EXECUTOR,
    INVOKER,
    OLD,
    OWNER,
    SHA,
    Script,
    asking,
    counted,
    deploying,
    described,
    recorded,
)


def created(script: Script) -> None:
    """Expect both functions to be created and published, up to the smoke test."""
    script.look()
    script.absent(EXECUTOR)
    script.absent(INVOKER)
    script.same_settings()
    script.create(EXECUTOR)
    script.create(INVOKER)
    script.no_sign()
    script.settle(EXECUTOR)
    script.settle(INVOKER)
    script.publish(INVOKER, "1")
    script.publish(EXECUTOR, "1")


def changed(script: Script) -> None:
    """Expect new code in both functions and pings, up to the switch."""
    script.look()
    script.read(EXECUTOR, live={"CodeSha256": OLD}, CodeSha256=OLD)
    script.read(INVOKER, live={"CodeSha256": OLD}, CodeSha256=OLD)
    script.same_settings()
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
    assert script.calls == counted("create")


def test_changed_code_is_published_pinged_and_switched(script: Script) -> None:
    changed(script)
    script.switch(EXECUTOR, "2")
    script.switch(INVOKER, "2")
    answer = script.perform(deploying())
    assert answer.status is Status.CODE_CHANGED
    assert [function.previous for function in answer.functions] == ["1", "1"]
    assert answer.functions[0].changes == (f"code: {OLD[:12]} -> {SHA[:12]}",)


def test_new_code_where_the_records_tell_what_is_live(script: Script) -> None:
    script.look()
    for name in (EXECUTOR, INVOKER):
        live = {"description": str(recorded(name, sha=OLD[:12])), "is_read": False}
        script.read(name, live=live, CodeSha256=OLD)
    script.same_settings()
    for name in (EXECUTOR, INVOKER):
        script.update_code(name, "read")
    for name in (EXECUTOR, INVOKER):
        script.settle(name)
    for name in (INVOKER, EXECUTOR):
        script.publish(name, "2")
    for name in (EXECUTOR, INVOKER):
        script.ping(name, "2")
    for name in (EXECUTOR, INVOKER):
        script.switch(name, "2")
    assert script.perform(deploying()).status is Status.CODE_CHANGED
    assert script.calls == counted("new code")


def test_a_changed_configuration_of_one_function_leaves_the_other(script: Script) -> None:
    script.look()
    script.read(EXECUTOR, live={})
    script.read(INVOKER, live={})
    layers = ["arn:aws:lambda:eu-west-1:123456789012:layer:one:1"]
    script.expect("get_layer_version_by_arn", {"Content": {"CodeSize": 1}}, Arn=layers[0])
    script.same_settings()
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
    script.switch(INVOKER, "1")
    answer = script.perform(deploying(executor={"memory_size": 4096, "layers": layers}))
    assert answer.status is Status.CONFIGURATION_CHANGED
    executor, invoker = answer.functions
    assert executor.changes == ("memory_size: 3008 -> 4096", f"layers: none -> {layers[0]}")
    assert (invoker.status, invoker.version) == (Status.UNCHANGED, "1")


def test_configuration_is_written_and_settled_before_code(script: Script) -> None:
    script.look()
    script.read(EXECUTOR, live={"CodeSha256": OLD, "Timeout": 60}, CodeSha256=OLD, Timeout=60)
    script.read(INVOKER, live={})
    script.same_settings()
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
    script.switch(INVOKER, "1")
    assert script.perform(deploying()).status is Status.CODE_CHANGED


def test_what_is_live_already_is_read_without_its_version_if_the_record_tells(
    script: Script,
) -> None:
    """Ten calls: the package and its end, and of each function four."""
    script.look()
    script.recorded(EXECUTOR)
    script.recorded(INVOKER)
    answer = script.perform(deploying(Upload("v2", "etag")))
    assert answer.status is Status.UNCHANGED
    assert answer.release is not None
    assert answer.release.name == "1.1"
    assert script.calls == counted("nothing changed")


def test_a_failure_says_what_is_done_and_what_is_left() -> None:
    script = Script()
    changed(script)
    script.switch(EXECUTOR, "2")
    for _ in range(200):
        script.fail("update_alias", "TooManyRequestsException", "slow down", 429)
    with pytest.raises(SwitchError):
        script.perform(deploying(), seconds=60)
    assert script.progress.done[-2:] == ("smoke-test WukongInvoker", "switch WukongExecutor")
    assert script.progress.left == ("switch WukongInvoker",)


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
    assert script.calls == counted("stale upload")


def test_an_upload_that_is_gone_is_stale(script: Script) -> None:
    script.missing()
    assert script.perform(deploying(Upload("v2", "etag"))).status is Status.STALE


def test_without_a_package_the_names_are_answered(script: Script) -> None:
    script.missing()
    script.absent(EXECUTOR)
    script.absent(INVOKER)
    answer = script.perform(deploying())
    assert answer.status is Status.AWAITING_PACKAGE
    assert [function.invoke for function in answer.functions] == [
        "WukongExecutor:live",
        "WukongInvoker:live",
    ]


def test_deletion_reads_the_owner_and_deletes_what_is_ours(script: Script) -> None:
    theirs = {"Configuration": {}, "Tags": {"wukong:owner": "somebody"}}
    ours = {"Configuration": {}, "Tags": {"wukong:owner": OWNER}}
    script.sign()
    script.expect("get_function", theirs, FunctionName=INVOKER)
    script.expect("get_function", ours, FunctionName=EXECUTOR)
    script.expect("delete_function", {}, FunctionName=EXECUTOR)
    answer = script.perform(asking(Action.DELETE))
    assert answer.status is Status.DELETED
    assert [function.status for function in answer.functions] == [Status.IGNORED, Status.DELETED]


def test_deletion_of_both(script: Script) -> None:
    script.sign()
    for name in (INVOKER, EXECUTOR):
        script.holding(name)
        script.expect("delete_function", {}, FunctionName=name)
    answer = script.perform(asking(Action.DELETE))
    assert [function.status for function in answer.functions] == [Status.DELETED] * 2
    assert script.calls == counted("delete")


@pytest.mark.parametrize("case", ["nothing changed", "create", "new code", "delete", "rollback"])
def test_the_guide_says_what_each_call_is_for(case: str) -> None:
    """What it names makes up the difference to the least that is possible."""
    guide = (ROOT / "docs" / "deploying.md").read_text()
    row = re.search(rf"^\| {case} \| \d+ \| .*\n(?:.*\n)*?\| {case} \| (\d+) \| (.*)", guide, re.M)
    assert row
    least, more = int(row.group(1)), sum(map(int, re.findall(r"\((\d+)\)", row.group(2))))
    reads = 5 if "five of" in row.group(2) else 0
    assert least + more + reads == counted(case)


def test_more_memory_for_one_function(script: Script) -> None:
    script.look()
    script.recorded(EXECUTOR)
    script.recorded(INVOKER)
    script.same_settings()
    memory = {"FunctionName": EXECUTOR, "RevisionId": "read", "MemorySize": 4096}
    script.expect("update_function_configuration", {}, **memory)
    script.settle(EXECUTOR, MemorySize=4096)
    script.publish(EXECUTOR, "2")
    script.ping(EXECUTOR, "2")
    script.switch(EXECUTOR, "2")
    script.switch(INVOKER, "1")
    answer = script.perform(deploying(executor={"memory_size": 4096}))
    assert answer.status is Status.CONFIGURATION_CHANGED
    assert script.calls == counted("new configuration of one function")


def test_deletion_of_what_is_gone_is_fine(script: Script) -> None:
    script.sign()
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
    script.sign()
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
    ours = str(recorded(EXECUTOR, release="2.2", previous="1.1"))
    switched = {"FunctionVersion": "2", "RevisionId": "theirs", "Description": ours}
    script.expect("get_alias", switched, FunctionName=EXECUTOR, Name="live")
    script.switch(INVOKER, "2")
    assert script.perform(deploying()).status is Status.CODE_CHANGED


def test_a_conflict_is_planned_again_from_what_is_there(script: Script) -> None:
    script.look()
    script.read(EXECUTOR, live={"CodeSha256": OLD}, CodeSha256=OLD)
    script.read(INVOKER, live={})
    script.same_settings()
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
    script.same_settings()
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
    script.switch(INVOKER, "1")
    assert script.perform(deploying()).status is Status.CONFIGURATION_CHANGED


NO_ROLE = "The role defined for the function cannot be assumed by Lambda."


def test_a_role_that_is_too_new_is_waited_for(script: Script) -> None:
    script.look()
    script.absent(EXECUTOR)
    script.read(INVOKER, live={})
    script.same_settings()
    for _ in range(3):
        script.fail("create_function", "InvalidParameterValueException", NO_ROLE)
    script.create(EXECUTOR)
    script.no_sign()
    script.settle(EXECUTOR)
    script.publish(EXECUTOR, "1")
    script.ping(EXECUTOR, "1")
    script.recursion(EXECUTOR)
    script.create_alias(EXECUTOR, "1")
    script.switch(INVOKER, "1")
    script.retries("live")
    assert script.perform(deploying()).status is Status.CREATED


def test_a_role_that_never_comes_ends_within_two_minutes() -> None:
    script = Script()
    script.look()
    script.absent(EXECUTOR)
    script.absent(INVOKER)
    script.same_settings()
    for _ in range(100):
        script.fail("create_function", "InvalidParameterValueException", NO_ROLE)
    with pytest.raises(RoleNotReadyError, match="cannot be assumed"):
        script.perform(deploying())
    assert 90 <= script.clock.now <= 120


def test_settling_ends_with_lambdas_reason(script: Script) -> None:
    script.look()
    script.read(EXECUTOR, live={"CodeSha256": OLD}, CodeSha256=OLD)
    script.read(INVOKER, live={})
    script.same_settings()
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
    script.same_settings()
    script.expect("delete_function", {}, FunctionName=EXECUTOR)
    script.create(EXECUTOR)
    script.no_sign()
    script.settle(EXECUTOR)
    script.publish(EXECUTOR, "1")
    script.ping(EXECUTOR, "1")
    script.recursion(EXECUTOR)
    script.create_alias(EXECUTOR, "1")
    script.switch(INVOKER, "1")
    script.retries("live")
    assert script.perform(deploying()).status is Status.CREATED
