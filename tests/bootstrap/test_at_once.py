"""Two events at once: at whichever call the second comes in, the account ends as it should."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bootstrap.account import FUNCTIONS, Account, manual, notification, resource
from tests.bootstrap.conftest import zipped
from tests.bootstrap.fake_aws import Fault

UPLOADING, CONFIGURING = range(1, 23), range(1, 17)


@pytest.fixture
def account() -> Account:
    """Give an account with package 1 live."""
    given = Account()
    assert given.send(notification(given.upload("1")))["status"] == "CREATED"
    return given


def meanwhile(account: Account, call: int, second: Any) -> list[dict[str, Any]]:
    """Handle a second event from end to end when the first one makes this call."""
    answers: list[dict[str, Any]] = []

    def interrupt(index: int, _: str) -> None:
        if index == call:
            account.aws.fault = None
            answers.append(account.send(second()))

    account.interrupt(interrupt)
    return answers


@pytest.mark.parametrize("call", UPLOADING)
def test_two_uploads_at_once_end_with_the_newest_and_both_answers_are_true(
    account: Account, call: int
) -> None:
    first = notification(account.upload("2"))
    answers = meanwhile(account, call, lambda: notification(account.upload("3")))
    answers.append(account.send(first))
    assert account.markers() == ("3", "3")
    assert len(answers) == 2
    for told in answers:
        assert told["status"] in {"CODE_CHANGED", "UNCHANGED", "STALE"}, told
    account.check_switches()


@pytest.mark.parametrize("call", UPLOADING)
def test_asking_for_what_is_live_while_an_upload_is_deployed_leaves_no_mixed_pair(
    account: Account, call: int
) -> None:
    """Nothing but the hold is written then, and the deployment notices it."""
    live = account.send(manual("status"))["release"]["package"]
    second = notification(account.upload("2"))
    asked = meanwhile(account, call, lambda: manual("deploy", package_version=live))
    answer = account.send(second)
    assert asked[0]["release"]["package"] == live
    markers = account.markers()
    assert markers in {("1", "1"), ("2", "2")}
    if markers == ("1", "1"):
        assert answer["status"] in {"HELD", "CODE_CHANGED"}
        assert account.send(second)["status"] == "HELD"
    account.check_switches()


@pytest.mark.parametrize("call", CONFIGURING)
def test_a_changed_configuration_of_one_function_and_an_upload_at_once_both_come(
    account: Account, call: int
) -> None:
    account.environment["WUKONG_INVOKER_MEMORY_SIZE"] = "1024"
    stack = resource("Update", Invoker={"MemorySize": "1024"})
    meanwhile(account, call, lambda: notification(account.upload("2")))
    answer = account.send(stack)
    assert account.answers[-1]["Status"] == "SUCCESS", answer
    assert account.markers() == ("2", "2")
    invoker = account.function(FUNCTIONS[1], account.release().rpartition(".")[2])
    assert invoker["Configuration"]["MemorySize"] == 1024
    account.check_switches()


@pytest.mark.parametrize("call", UPLOADING)
def test_an_upload_that_began_before_a_stack_update_does_not_undo_its_configuration(
    account: Account, call: int
) -> None:
    """The upload's process has the environment from before the update."""

    def update() -> dict[str, Any]:
        account.environment["WUKONG_EXECUTOR_MEMORY_SIZE"] = "2048"
        return resource("Update", Executor={"MemorySize": "2048"})

    first = notification(account.upload("2"))
    assert not meanwhile(account, call, update)
    answer = account.send(first)
    assert account.answers[-1]["Status"] == "SUCCESS"
    assert account.markers() == ("2", "2"), answer
    executor = account.function(FUNCTIONS[0], "live")
    assert executor is not None
    assert executor["Configuration"]["MemorySize"] == 2048
    assert account.send(manual("status"))["functions"]["executor"]["drift"] == []
    account.check_switches()


@pytest.mark.parametrize("call", range(1, 10))
def test_a_rollback_does_not_undo_a_release_that_went_live_meanwhile(
    account: Account, call: int
) -> None:
    """Who asked for it meant the release before."""
    account.send(notification(account.upload("2")))
    answers = meanwhile(account, call, lambda: notification(account.upload("3")))
    answer = account.send(manual("rollback"))
    assert answers[0]["status"] == "CODE_CHANGED"
    assert answer["error"]["code"] == "CONFLICT"
    assert account.markers() == ("3", "3")
    account.check_switches()


@pytest.mark.parametrize("place", [0, 1])
def test_an_alias_that_somebody_deletes_during_the_switch_is_made_anew(
    account: Account, place: int
) -> None:
    """As a deployment does that takes the first switch of a first release back."""
    seen: list[int] = []

    def delete(index: int, operation: str) -> None:
        seen.append(index) if operation == "UpdateAlias" else None
        if operation == "UpdateAlias" and len(seen) == place + 1:
            account.aws.fault = None
            account.aws.lambda_.delete_alias(FunctionName=FUNCTIONS[place], Name="live")

    event = notification(account.upload("2"))
    account.interrupt(delete)
    answer = account.send(event)
    assert account.markers() == ("2", "2"), answer
    account.check_switches()


def gone(account: Account) -> bool:
    """Tell whether nothing is left."""
    return [account.function(name) for name in FUNCTIONS] == [None, None]


@pytest.mark.parametrize("call", range(1, 21))
def test_a_deletion_while_the_creation_still_runs_leaves_nothing(call: int) -> None:
    """Also where it finds nothing yet: CloudFormation sends no second one."""
    account = Account()
    account.upload("1")
    deleted = meanwhile(account, call, lambda: resource("Delete"))
    answer = account.send(resource("Create"))
    assert deleted
    assert gone(account), answer
    assert [told["Status"] for told in account.answers] == ["SUCCESS", "FAILED"]
    assert answer["error"]["code"] == "DELETED_MEANWHILE"
    assert account.send(resource("Create"))["status"] == "CREATED"


@pytest.mark.parametrize("create", [0, 1])
def test_a_deletion_during_a_creation_whose_answer_was_lost_leaves_nothing(create: int) -> None:
    """The SDK sends it again, and is told that there is such a function already."""
    account = Account()
    account.upload("1")
    seen: list[int] = []

    def interrupt(index: int, operation: str) -> Fault | None:
        if operation != "CreateFunction" or index in seen:
            return None
        seen.append(index)
        if len(seen) != create + 1:
            return None
        account.aws.fault = None
        account.send(resource("Delete"))
        account.interrupt(None)
        return Fault.SENT_TWICE

    account.interrupt(interrupt)
    answer = account.send(resource("Create"))
    assert gone(account), answer
    assert answer["error"]["code"] == "DELETED_MEANWHILE"


def test_what_was_deployed_anew_after_a_deletion_is_not_taken_for_ones_own() -> None:
    """A creation that still runs finds functions that are there again, and their layer."""
    account = Account()
    account.environment["WUKONG_EXECUTOR_LAYERS"] = "numpy"
    account.upload("", "layers/numpy.zip", body=zipped({"python/numpy.py": "1"}))
    account.upload("1")

    def interrupt(_: int, operation: str) -> None:
        if operation == "CreateFunction":
            account.aws.fault = None
            account.send(resource("Delete"))
            assert account.send(manual("deploy"))["status"] == "CREATED"

    account.interrupt(interrupt)
    answer = account.send(manual("deploy"))
    assert answer["error"]["code"] == "DELETED_MEANWHILE"
    assert account.markers() == ("1", "1")
    assert account.layers("Wukong-numpy")


@pytest.mark.parametrize("call", range(1, 24))
def test_a_deletion_while_a_creation_with_a_layer_still_runs_leaves_no_layer(call: int) -> None:
    account = Account()
    account.environment["WUKONG_EXECUTOR_LAYERS"] = "numpy"
    account.upload("", "layers/numpy.zip", body=zipped({"python/numpy.py": "1"}))
    account.upload("1")
    deleted = meanwhile(account, call, lambda: resource("Delete"))
    answer = account.send(resource("Create", Executor={"Layers": ["numpy"]}))
    assert deleted
    assert gone(account), answer
    left = account.aws.lambda_.list_layer_versions(LayerName="Wukong-numpy")["LayerVersions"]
    assert left == []


@pytest.mark.parametrize("call", range(2, 22))
def test_a_deletion_while_an_update_still_runs_leaves_nothing(account: Account, call: int) -> None:
    account.upload("2")
    deleted = meanwhile(account, call, lambda: resource("Delete"))
    account.send(resource("Update"))
    assert deleted
    assert gone(account)


@pytest.mark.parametrize("call", range(2, 22))
def test_a_deletion_by_hand_while_an_upload_is_deployed_leaves_nothing(
    account: Account, call: int
) -> None:
    """Also when Lambda sends the upload's event again, as it does after a failure."""
    event = notification(account.upload("2"))
    deleted = meanwhile(account, call, lambda: manual("delete", confirm=FUNCTIONS[0]))
    answer = account.send(event)
    assert deleted
    assert gone(account), answer
