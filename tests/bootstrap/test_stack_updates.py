"""A stack update configures what is live, whatever has become of the uploads since."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.bootstrap.account import BUCKET, FUNCTIONS, KEY, Account, manual, notification, resource
from tests.bootstrap.conftest import package, zipped
from tests.bootstrap.fake_aws import Crash, Fault

BAD = {
    "no zip": b"nothing like a zip",
    "no invoker": package("bad", invoker=None),
    "raises": package("bad", executor="def lambda_handler(e, c):\n    raise ValueError('no')\n"),
}
UPDATE = resource("Update", Executor={"MemorySize": "1024"})


@pytest.fixture
def account() -> Account:
    """Give an account with package 1 live."""
    given = Account()
    assert given.send(notification(given.upload("1")))["status"] == "CREATED"
    return given


def memory(account: Account) -> int:
    """Look up how much memory the live Executor has."""
    found = account.function(FUNCTIONS[0], "live")
    assert found is not None
    return int(found["Configuration"]["MemorySize"])


@pytest.mark.parametrize("kind", BAD)
def test_while_the_newest_package_is_bad_the_live_one_is_configured(
    account: Account, kind: str
) -> None:
    bad = account.upload("", body=BAD[kind])
    answer = account.send(UPDATE)
    assert account.answers[-1]["Status"] == "SUCCESS"
    assert (account.markers(), memory(account)) == (("1", "1"), 1024)
    assert "What is newer is not" in answer["message"]
    told = account.send(notification(bad))
    assert told["status"] == "FAILED", "a bad package is not held, it is bad"


def test_what_fails_with_the_live_package_too_fails(account: Account) -> None:
    account.upload("", body=BAD["raises"])
    nowhere = resource("Update", Executor={"Handler": "executor.other.lambda_handler"})
    answer = account.send(nowhere)
    assert account.answers[-1]["Status"] == "FAILED"
    assert answer["error"]["code"] in {"SMOKE_TEST_FAILED", "INVALID_PACKAGE"}
    assert account.markers() == ("1", "1")


def test_without_a_live_package_a_bad_one_fails() -> None:
    account = Account()
    account.upload("", body=BAD["no invoker"])
    account.send(resource("Create"))
    assert account.answers[-1]["Status"] == "FAILED"


def test_a_package_that_was_deleted_from_the_bucket_is_configured_while_it_is_live(
    account: Account,
) -> None:
    account.aws.s3.delete(BUCKET, KEY)
    assert account.send(UPDATE)["status"] == "CONFIGURATION_CHANGED"
    assert (account.markers(), memory(account)) == (("1", "1"), 1024)


def test_a_layer_whose_zip_was_deleted_stays_attached(account: Account) -> None:
    account.environment["WUKONG_EXECUTOR_LAYERS"] = "numpy"
    version = account.upload("", "layers/numpy.zip", body=zipped({"python/numpy.py": "1"}))
    account.send(notification(version, "layers/numpy.zip"))
    account.aws.s3.delete(BUCKET, "layers/numpy.zip")
    update = resource("Update", Executor={"MemorySize": "1024", "Layers": "numpy"})
    assert account.send(update)["status"] == "CONFIGURATION_CHANGED"
    found = account.function(FUNCTIONS[0], "live")
    assert found is not None
    assert [layer["Arn"].split(":")[6] for layer in found["Configuration"]["Layers"]] == [
        "Wukong-numpy"
    ]


BAD_LAYERS = {"no zip": b"nothing like a zip", "link": zipped({"../away.py": "1"})}


@pytest.mark.parametrize("kind", BAD_LAYERS)
def test_while_the_newest_layer_is_bad_the_live_one_stays_attached(
    account: Account, kind: str
) -> None:
    """Else the update that takes a failed one back would fail too."""
    account.environment["WUKONG_EXECUTOR_LAYERS"] = "numpy"
    version = account.upload("", "layers/numpy.zip", body=zipped({"python/numpy.py": "1"}))
    account.send(notification(version, "layers/numpy.zip"))
    account.upload("", "layers/numpy.zip", body=BAD_LAYERS[kind])
    update = resource("Update", Executor={"MemorySize": "1024", "Layers": ["numpy"]})
    answer = account.send(update)
    assert account.answers[-1]["Status"] == "SUCCESS", answer
    assert (account.markers(), memory(account)) == (("1", "1"), 1024)
    assert "layers/numpy.zip" in answer["message"]


def test_a_layer_that_was_rolled_back_stays_held_while_the_newest_package_is_bad(
    account: Account,
) -> None:
    account.environment["WUKONG_EXECUTOR_LAYERS"] = "numpy"
    for number in range(2):
        body = zipped({"python/numpy.py": f"{number}"})
        version = account.upload("", "layers/numpy.zip", body=body)
        account.send(notification(version, "layers/numpy.zip"))
    account.send(manual("rollback"))
    account.upload("", body=BAD["no zip"])
    account.send(resource("Update", Executor={"MemorySize": "1024", "Layers": ["numpy"]}))
    assert account.answers[-1]["Status"] == "SUCCESS"
    account.upload("2")
    account.send(manual("deploy"))
    found = account.function(FUNCTIONS[0], "live")
    assert found is not None
    assert [layer["Arn"][-2:] for layer in found["Configuration"]["Layers"]] == [":1"]


def test_an_update_says_what_it_changes_also_where_that_is_only_whose_a_function_is(
    account: Account,
) -> None:
    """An upload made both functions before the stack's resource came to it."""
    told = account.send(resource("Update"))["functions"]["executor"]
    assert told["changes"] == ["resource: none -> Functions"]


def test_while_the_newest_package_hangs_the_live_one_is_configured(account: Account) -> None:
    """No answer to a ping is a bad answer, not a network that was away."""
    bad = account.upload("2")
    account.interrupt(lambda _, name: Fault.LOST_REPLY if name == "Invoke" else None)
    told = account.send(notification(bad))
    assert told["error"]["code"] == "SMOKE_TEST_FAILED"
    begin = len(account.aws.calls)
    seen: list[int] = []

    def hang(index: int, name: str) -> Fault | None:
        seen.append(index) if name == "Invoke" else None
        return Fault.LOST_REPLY if name == "Invoke" and len(seen) <= 2 else None

    account.interrupt(hang)
    account.send(UPDATE)
    assert len(account.aws.calls) > begin
    assert account.answers[-1]["Status"] == "SUCCESS"
    assert (account.markers(), memory(account)) == (("1", "1"), 1024)


def test_only_who_sends_an_event_by_hand_can_force(account: Account) -> None:
    account.send(resource("Update", Force="true"))
    assert account.answers[-1]["Status"] == "FAILED"
    assert "Force" in account.answers[-1]["Reason"] or "force" in account.answers[-1]["Reason"]
    assert account.send(manual("deploy", force=True))["status"] == "UNCHANGED"


def stranger(account: Account) -> None:
    """Let both names be taken by functions of another stack, with a package of its own."""
    account.send(resource("Delete"))
    other = {**resource("Create"), "StackId": OTHER}
    assert account.send(other)["status"] == "CREATED"


OTHER = "arn:aws:cloudformation:eu-west-1:123456789012:stack/other/2"


def owners(account: Account) -> list[str | None]:
    """Name the owner of each function; None of one without an owner."""
    found = [account.function(name) for name in FUNCTIONS]
    return [
        function.get("Tags", {}).get("wukong:owner") if function else "gone" for function in found
    ]


def test_a_function_is_adopted_only_once_its_new_version_has_answered(account: Account) -> None:
    stranger(account)
    bad = account.upload("", body=BAD["raises"])
    assert account.send(manual("deploy", adopt=True, package_version=bad))["status"] == "FAILED"
    assert owners(account) == [OTHER, OTHER]
    assert account.markers() == ("1", "1")


def test_a_stack_hands_back_what_it_had_adopted_when_it_is_deleted(account: Account) -> None:
    stranger(account)
    account.send(resource("Create", Adopt="true"))
    assert account.answers[-1]["Status"] == "SUCCESS"
    adopted = owners(account)
    assert OTHER not in adopted
    account.send(resource("Delete"))
    assert account.answers[-1]["Status"] == "SUCCESS"
    assert owners(account) == [OTHER, OTHER]
    assert account.markers() == ("1", "1")
    account.send({**resource("Delete"), "StackId": OTHER})
    assert owners(account) == ["gone", "gone"]


@pytest.mark.parametrize("call", range(12))
def test_what_was_handed_back_is_its_owners_to_delete_though_that_was_interrupted(
    account: Account, call: int
) -> None:
    stranger(account)
    account.send(resource("Create", Adopt="true"))
    account.interrupt(lambda i, _: Fault.CRASH_AFTER if i == call else None)
    with suppress(Crash):
        account.send(resource("Delete"))
    account.interrupt(None)
    account.send(resource("Delete"))
    assert owners(account) == [OTHER, OTHER]
    account.send({**resource("Delete"), "StackId": OTHER})
    assert owners(account) == ["gone", "gone"]


def test_what_nobody_owned_is_left_to_nobody(account: Account) -> None:
    for name in FUNCTIONS:
        found = account.function(name)
        assert found is not None
        arn = found["Configuration"]["FunctionArn"]
        account.aws.lambda_.untag_resource(Resource=arn, TagKeys=["wukong:owner"])
    account.send(resource("Update", Adopt="true"))
    account.send(resource("Delete"))
    assert owners(account) == [None, None]


def test_what_was_adopted_by_hand_can_be_deleted_by_hand(account: Account) -> None:
    stranger(account)
    assert account.send(manual("deploy", adopt=True))["status"] == "CONFIGURATION_CHANGED"
    account.send(manual("delete", confirm=FUNCTIONS[0]))
    assert owners(account) == ["gone", "gone"]


def test_another_logical_id_in_the_template_keeps_the_pair(account: Account) -> None:
    """CloudFormation creates the resource under its new id, then deletes it under the old one."""
    account.send(resource("Update"))
    renamed = {**resource("Create"), "LogicalResourceId": "Renamed"}
    account.send(renamed)
    account.send(resource("Delete"))
    assert account.answers[-1]["Status"] == "SUCCESS"
    assert account.markers() == ("1", "1")
    account.send({**resource("Delete"), "LogicalResourceId": "Renamed"})
    assert account.markers() == (None, None)
