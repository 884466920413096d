"""What becomes of an account over many releases, and of what others do to it meanwhile."""

from __future__ import annotations

import io
import json

import pytest

from tests.bootstrap.account import (
    BUCKET,
    FUNCTIONS,
    KEY,
    Account,
    manual,
    notification,
    resource,
)
from tests.bootstrap.conftest import package, zipped
from tests.bootstrap.fake_aws import Fault

DAY = 86_400.0


@pytest.fixture
def account() -> Account:
    """Give an account with package 1 live."""
    given = Account()
    assert given.send(notification(given.upload("1")))["status"] == "CREATED"
    return given


def release(account: Account, marker: str) -> str:
    """Release a package, and name the release."""
    answer = account.send(notification(account.upload(marker)))
    assert answer["status"] == "CODE_CHANGED", answer
    return str(answer["release"]["name"])


def test_old_versions_are_pruned_but_never_one_that_is_needed(account: Account) -> None:
    release(account, "2")
    client = account.aws.lambda_
    client.create_alias(FunctionName=FUNCTIONS[0], Name="somebodys", FunctionVersion="2")
    for number in range(3, 8):
        account.aws.clock.advance(DAY)
        release(account, f"{number}")
    # Kept are three releases, what is younger than a day, and what somebody's alias points at.
    assert account.versions(FUNCTIONS[0]) == ["2", "5", "6", "7"]
    assert account.versions(FUNCTIONS[1]) == ["5", "6", "7"]
    listed = account.send(manual("history"))["releases"]
    assert [found["name"] for found in listed] == ["7.7", "6.6", "5.5"]


def test_versions_that_a_run_may_still_use_are_not_pruned(account: Account) -> None:
    for number in range(2, 9):
        release(account, f"{number}")
    assert len(account.versions(FUNCTIONS[0])) == 8
    account.aws.clock.advance(2 * DAY)
    release(account, "9")
    assert account.versions(FUNCTIONS[0]) == ["7", "8", "9"]


def test_what_was_rolled_back_to_is_not_pruned(account: Account) -> None:
    for number in range(2, 5):
        account.aws.clock.advance(2 * DAY)
        release(account, f"{number}")
    account.send(manual("rollback", to="2.2"))
    account.aws.clock.advance(2 * DAY)
    account.send(resource("Update", Executor={"MemorySize": "1024"}))
    assert account.markers() == ("2", "2")
    assert account.release() == "5.2"
    assert "2" in account.versions(FUNCTIONS[1])


def test_a_version_that_somebody_else_published_is_left(account: Account) -> None:
    client = account.aws.lambda_
    client.update_function_configuration(FunctionName=FUNCTIONS[0], MemorySize=512)
    while client.get_function(FunctionName=FUNCTIONS[0])["Configuration"]["LastUpdateStatus"] != (
        "Successful"
    ):
        pass
    theirs = client.publish_version(FunctionName=FUNCTIONS[0], Description="mine")["Version"]
    for number in range(2, 8):
        account.aws.clock.advance(2 * DAY)
        release(account, f"{number}")
    assert theirs in account.versions(FUNCTIONS[0])


def test_old_layer_versions_go_with_the_versions_that_had_them(account: Account) -> None:
    account.environment["WUKONG_EXECUTOR_LAYERS"] = "numpy"
    for number in range(8):
        account.aws.clock.advance(2 * DAY)
        body = zipped({"python/numpy.py": f"{number}"})
        version = account.upload("", "layers/numpy.zip", body=body)
        account.send(notification(version, "layers/numpy.zip"))
    kept = account.aws.lambda_.list_layer_versions(LayerName="Wukong-numpy")["LayerVersions"]
    assert [layer["Version"] for layer in kept] == [8, 7, 6]


def test_an_alias_that_somebody_moved_is_brought_back(account: Account) -> None:
    release(account, "2")
    account.aws.lambda_.update_alias(FunctionName=FUNCTIONS[0], Name="live", FunctionVersion="1")
    assert account.markers() == ("1", "2")
    assert account.send(manual("status"))["status"] == "INCOMPLETE"
    assert account.send(manual("deploy"))["status"] == "CODE_CHANGED"
    assert account.markers() == ("2", "2")


def test_a_canary_that_somebody_began_is_ended(account: Account) -> None:
    release(account, "2")
    account.aws.lambda_.update_alias(
        FunctionName=FUNCTIONS[0],
        Name="live",
        FunctionVersion="2",
        RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}},
    )
    answer = account.send(manual("deploy"))
    assert answer["functions"]["executor"]["changes"] == ["routing: two versions -> one version"]
    assert not (account.alias(FUNCTIONS[0]) or {}).get("RoutingConfig")


def test_drift_is_told_and_put_right(account: Account) -> None:
    account.aws.lambda_.put_function_recursion_config(
        FunctionName=FUNCTIONS[0], RecursiveLoop="Terminate"
    )
    account.aws.lambda_.update_function_configuration(FunctionName=FUNCTIONS[1], Timeout=7)
    told = account.send(manual("status"))["functions"]
    assert told["executor"]["drift"] == ["recursive_loop: Terminate -> Allow"]
    assert told["invoker"]["drift"] == [], "`$LATEST` is nobody's: what is live is as it was"
    assert account.send(manual("deploy"))["status"] == "CONFIGURATION_CHANGED"
    assert account.send(manual("status"))["functions"]["executor"]["drift"] == []


def test_the_record_tells_who_asked_and_when(account: Account) -> None:
    told = account.send(manual("status"))["release"]
    assert told["by"] == "s3:alice"
    assert told["at"].startswith("2026-01-01T00:00:")


def test_a_rollback_names_the_package_of_the_newer_version_of_the_pair(account: Account) -> None:
    """The same bytes again are another package, of which here one function alone has a version."""
    again = account.upload("1")
    account.send(resource("Update", Executor={"MemorySize": "1024"}))
    before = account.send(manual("status"))["release"]
    assert before["package"] == again
    release(account, "2")
    assert account.send(manual("rollback"))["release"]["package"] == again


def test_a_rolled_back_package_is_forgotten_when_a_new_one_is_live(account: Account) -> None:
    release(account, "2")
    account.send(manual("rollback"))
    release(account, "3")
    assert "held=" not in (account.alias(FUNCTIONS[0]) or {})["Description"]


def test_while_a_package_is_held_configuration_and_layers_still_change(account: Account) -> None:
    release(account, "2")
    account.send(manual("rollback"))
    account.environment["WUKONG_EXECUTOR_LAYERS"] = "numpy"
    version = account.upload("", "layers/numpy.zip", body=zipped({"python/numpy.py": ""}))
    answer = account.send(notification(version, "layers/numpy.zip"))
    assert answer["status"] == "CONFIGURATION_CHANGED"
    assert account.markers() == ("1", "1")
    again = notification(account.aws.s3.head_object(Bucket=BUCKET, Key=KEY)["VersionId"])
    assert account.send(again)["status"] == "HELD"


def test_an_older_version_that_was_asked_for_stays_until_something_new_comes(
    account: Account,
) -> None:
    first = account.send(manual("status"))["release"]["package"]
    second = account.upload("2")
    account.send(notification(second))
    answer = account.send(manual("deploy", package_version=first))
    assert (answer["status"], account.markers()) == ("CODE_CHANGED", ("1", "1"))
    assert account.send(notification(second))["status"] == "HELD"
    account.send(resource("Update", Executor={"MemorySize": "1024"}))
    assert account.markers() == ("1", "1")
    release(account, "3")


def test_asking_for_what_is_live_already_holds_the_upload_that_is_newer(account: Account) -> None:
    first = account.send(manual("status"))["release"]["package"]
    second = account.upload("2")
    answer = account.send(manual("deploy", package_version=first))
    assert (answer["status"], account.markers()) == ("UNCHANGED", ("1", "1"))
    assert account.send(notification(second))["status"] == "HELD"
    release(account, "3")


def test_a_live_package_that_is_gone_from_the_bucket_is_named(account: Account) -> None:
    first = account.send(manual("status"))["release"]["package"]
    release(account, "2")
    account.send(manual("rollback"))
    account.aws.s3.delete(BUCKET, KEY, first)
    answer = account.send(resource("Update", Executor={"MemorySize": "1024"}))
    assert answer["error"]["code"] == "INVALID_PACKAGE"
    assert first in answer["error"]["message"]
    assert account.answers[-1]["Status"] == "FAILED"
    assert account.markers() == ("1", "1")


def test_a_bucket_without_versions_works_as_far_as_it_can() -> None:
    account = Account()
    account.aws.s3.unversioned.add(BUCKET)

    def upload(marker: str) -> dict[str, object]:
        account.upload(marker)
        head = account.aws.s3.head_object(Bucket=BUCKET, Key=KEY)
        event = notification("")
        told = event["Records"][0]["s3"]["object"]
        del told["versionId"]
        told["eTag"] = head["ETag"].strip('"')
        return event

    first, second = upload("1"), upload("2")
    assert account.send(first)["status"] == "STALE"
    assert account.send(second)["status"] == "CREATED"
    assert account.send(second)["status"] == "UNCHANGED"
    third = upload("3")
    assert account.send(third)["status"] == "CODE_CHANGED"
    assert account.send(manual("rollback"))["status"] == "ROLLED_BACK"
    assert account.send(third)["status"] == "HELD"


def test_a_function_that_lambda_could_not_create_is_made_anew() -> None:
    from tests.bootstrap.fake_lambda import Failure

    account = Account()
    account.aws.lambda_.failures["CreateFunction", FUNCTIONS[1]] = Failure("InvalidSubnet", "why")
    version = account.upload("1")
    answer = account.send(notification(version))
    assert answer["error"]["code"] == "FUNCTION_BROKEN"
    assert "InvalidSubnet" in answer["error"]["message"]
    assert account.send(notification(version))["status"] == "CREATED"
    assert account.markers() == ("1", "1")


def test_an_update_that_lambda_could_not_finish_leaves_live_and_is_written_again(
    account: Account,
) -> None:
    from tests.bootstrap.fake_lambda import Failure

    account.aws.lambda_.failures["UpdateFunctionCode", FUNCTIONS[0]] = Failure("ImageDeleted", "x")
    version = account.upload("2")
    assert account.send(notification(version))["error"]["code"] == "FUNCTION_BROKEN"
    assert account.markers() == ("1", "1")
    assert account.send(notification(version))["status"] == "CODE_CHANGED"


def test_a_stack_that_was_never_created_is_deleted_without_harm() -> None:
    account = Account()
    account.send(resource("Delete", Executor={"FunctionName": "not a name"}, Nonsense="1"))
    assert account.answers[-1]["Status"] == "SUCCESS"


def test_a_stack_deletes_nothing_that_is_another_stacks(account: Account) -> None:
    event = resource("Delete") | {"StackId": "arn:aws:cloudformation:eu-west-1:1:stack/other/9"}
    account.send(event)
    assert account.answers[-1]["Status"] == "SUCCESS"
    assert account.markers() == ("1", "1")


def test_a_deletion_of_another_resource_of_the_same_stack_leaves_the_pair(account: Account) -> None:
    """One that could not be created has no names of its own, only those of the environment."""
    event = {**resource("Delete"), "PhysicalResourceId": "wukong/Second"}
    account.send(event)
    assert account.answers[-1]["Status"] == "SUCCESS"
    assert account.answers[-1]["PhysicalResourceId"] == "wukong/Second"
    assert account.markers() == ("1", "1")


def test_the_release_that_was_live_until_now_is_not_pruned(account: Account) -> None:
    for number in range(2, 8):
        release(account, f"{number}")
    account.send(manual("rollback", to="4.4"))
    account.aws.clock.advance(3 * DAY)
    release(account, "8")
    assert "4" in account.versions(FUNCTIONS[0])
    assert account.send(manual("rollback"))["release"]["name"] == "4.4"


def test_no_secret_is_in_what_is_told(
    account: Account, capsys: pytest.CaptureFixture[str], log: io.StringIO
) -> None:
    account.upload("2", executor="def lambda_handler(e, c):\n    raise ValueError('no')\n")
    account.send(resource("Update", StoreUrl="redis://:secret@elsewhere"))
    account.send(manual("plan", store_url="redis://:secret@there"))
    account.send(manual("status"))
    told = json.dumps([account.bus.entries, account.answers]) + capsys.readouterr().out
    said = told + log.getvalue()
    assert log.getvalue().count('"message":"answer"') == 3
    assert "secret" not in said
    assert "Signature" not in said


@pytest.mark.parametrize(
    "source",
    [
        "def lambda_handler(e, c):\n    raise ValueError('no redis://:secret@store here')\n",
        "def lambda_handler(e, c):\n    return dict(wukong='redis://:secret@store')\n",
    ],
)
def test_what_a_failing_function_says_is_told_without_its_variables(
    account: Account, log: io.StringIO, source: str
) -> None:
    version = account.upload("2", executor=source)
    message = account.send(notification(version))["error"]["message"]
    assert "WukongExecutor:2 failed its smoke test" in message
    assert "***" in message
    account.send(resource("Update"))
    said = json.dumps([account.bus.entries, account.answers]) + log.getvalue()
    assert "failed its smoke test" in log.getvalue()
    assert "secret" not in said


def test_a_forced_rollback_tells_no_variables_either(account: Account, log: io.StringIO) -> None:
    release(account, "2")
    function = account.aws.lambda_._functions[FUNCTIONS[0]].versions["1"]
    function.code = package("1", executor="raise ValueError('redis://:secret@store')\n")
    function.run()
    assert account.send(manual("rollback", force=True))["status"] == "ROLLED_BACK"
    assert '"message":"forced"' in log.getvalue()
    assert "secret" not in log.getvalue()


def test_what_became_of_an_event_is_counted_and_timed(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    second = account.upload("2")
    for event in (notification(second), notification(second), notification("older")):
        account.send(event)
    account.send(notification(account.upload("", body=b"no zip")))
    account.send(manual("rollback"))
    counted = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    names = ["Deployed", "NoOp", "Stale", "Failed", "RolledBack"]
    assert [next(name for name in names if name in told) for told in counted] == names
    for name, told in zip(names, counted, strict=True):
        assert told[name] == [1.0]
        assert f"{name}Duration" in told
        assert (told["service"], told["FunctionName"]) == ("bootstrap", "WukongBootstrap")


def test_a_huge_answer_is_not_lost(account: Account) -> None:
    many = {f"K{number}": "v" * 9 for number in range(200)}
    account.send(resource("Update", Executor={"Environment": many}))
    assert account.answers[-1]["Status"] == "SUCCESS"
    assert len(json.dumps(account.answers[-1])) <= 4096


def test_the_package_is_checked_before_anything_is_written(account: Account) -> None:
    begin = len(account.aws.calls)
    answer = account.send(notification(account.upload("2", invoker=None)))
    assert answer["error"]["code"] == "INVALID_PACKAGE"
    made = account.aws.operations[begin:]
    assert all(operation.startswith(("Head", "Get")) for operation in made)


def test_layers_go_with_the_functions_that_had_them(account: Account) -> None:
    account.environment["WUKONG_EXECUTOR_LAYERS"] = "numpy"
    for number in range(2):
        version = account.upload("", "layers/numpy.zip", body=zipped({"python/n.py": f"{number}"}))
        account.send(notification(version, "layers/numpy.zip"))
    account.send(resource("Delete"))
    assert account.aws.lambda_.list_layer_versions(LayerName="Wukong-numpy")["LayerVersions"] == []


def test_a_version_that_was_live_once_is_not_deleted_when_it_fails_a_test(account: Account) -> None:
    """Runs invoke versions by number; publishing the same again gives the version of then."""
    release(account, "2")
    account.send(manual("rollback"))
    account.interrupt(lambda _, name: Fault.LOST_REPLY if name == "Invoke" else None)
    answer = account.send(manual("deploy", force=True))
    assert answer["error"]["code"] == "SMOKE_TEST_FAILED"
    assert account.versions(FUNCTIONS[0]) == ["1", "2"]


def test_a_rolled_back_package_is_held_however_many_layers_are(account: Account) -> None:
    """A record has room for a few only."""
    account.environment["WUKONG_EXECUTOR_LAYERS"] = "a,b,c,d"
    for name in "abcd":
        key = f"layers/{name}.zip"
        version = account.upload("", key, body=zipped({f"python/{name}.py": ""}))
    account.send(notification(version, key))
    second = account.upload("2")
    account.send(notification(second))
    assert account.markers() == ("2", "2")
    account.send(manual("rollback", to="1.1"))
    assert account.send(notification(second))["status"] == "HELD"
    assert account.markers() == ("1", "1")


def test_layers_that_somebody_else_published_are_left(account: Account) -> None:
    """Also where their names begin as ours do: what we published says so."""
    version = account.upload("", "elsewhere.zip", body=zipped({"python/n.py": "1"}))
    content = {"S3Bucket": BUCKET, "S3Key": "elsewhere.zip", "S3ObjectVersion": version}
    for _ in range(2):
        theirs = account.aws.lambda_.publish_layer_version(
            LayerName="Wukong-theirs", Description="mine", Content=content
        )
    update = resource("Update", Executor={"Layers": [theirs["LayerVersionArn"]]})
    account.environment["WUKONG_EXECUTOR_LAYERS"] = theirs["LayerVersionArn"]
    assert account.send(update)["status"] == "CONFIGURATION_CHANGED"
    for number in range(2, 8):
        account.aws.clock.advance(2 * DAY)
        release(account, f"{number}")
    account.send(resource("Delete"))
    left = account.aws.lambda_.list_layer_versions(LayerName="Wukong-theirs")["LayerVersions"]
    assert [layer["Version"] for layer in left] == [2, 1]


def test_one_function_cannot_be_both(account: Account) -> None:
    begin = len(account.aws.calls)
    answer = account.send(manual("deploy", invoker={"function_name": FUNCTIONS[0]}))
    assert answer["error"]["code"] == "INVALID_EVENT"
    assert "function_name" in answer["error"]["message"]
    assert all(made.startswith(("Head", "Get")) for made in account.aws.operations[begin:])


def test_retries_are_set_for_the_live_version_too(account: Account) -> None:
    """Runs invoke versions by number."""
    account.environment["WUKONG_EXECUTOR_ASYNCHRONOUS_RETRIES"] = "1"
    update = resource("Update", Executor={"AsynchronousRetries": "1"})
    assert account.send(update)["status"] == "CONFIGURATION_CHANGED"
    for qualifier in ("live", "1"):
        found = account.aws.lambda_.get_function_event_invoke_config(
            FunctionName=FUNCTIONS[0], Qualifier=qualifier
        )
        assert found["MaximumRetryAttempts"] == 1


def test_a_release_stands_even_if_pruning_goes_wrong(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> bool:
        raise TypeError

    monkeypatch.setattr("bootstrap.prune._can_be_many", break_down)
    release(account, "2")
    assert account.markers() == ("2", "2")


def layer_for(runtime: str, architecture: str = "x86_64") -> bytes:
    """A layer that says what it fits."""
    fits = {"compatible_runtimes": [runtime], "compatible_architectures": [architecture]}
    return zipped({"python/x.py": runtime, "wukong.json": json.dumps(fits)})


@pytest.mark.parametrize("fits", [("python3.12",), ("python3.13", "arm64")])
def test_a_layer_for_another_runtime_or_processor_is_refused_by_name(
    account: Account, fits: tuple[str, ...]
) -> None:
    account.environment["WUKONG_EXECUTOR_LAYERS"] = "numpy"
    account.send(notification(account.upload("1")))
    version = account.upload("", "layers/numpy.zip", body=layer_for(*fits))
    for event in (notification(version, "layers/numpy.zip"), {"action": "deploy"}):
        answer = account.send(event)
        assert answer["error"]["code"] == "INVALID_PACKAGE"
        assert f"layers/numpy.zip is for {fits[-1]}, and not for" in answer["error"]["message"]
    again = account.upload("", "layers/numpy.zip", body=layer_for("python3.13"))
    assert account.send(notification(again, "layers/numpy.zip"))["release"]["live"]


def test_a_published_layer_is_refused_too_once_the_runtime_is_another(account: Account) -> None:
    account.environment["WUKONG_EXECUTOR_LAYERS"] = "numpy,scipy"
    for name in ("numpy", "scipy"):
        account.upload("", f"layers/{name}.zip", body=layer_for("python3.13"))
    account.send(notification(account.upload("1")))
    account.environment["WUKONG_EXECUTOR_RUNTIME"] = "python3.14"
    answer = account.send({"action": "deploy"})
    assert "layers/numpy.zip is for python3.13, and not for python3.14" in str(answer["error"])
    assert "layers/scipy.zip" in answer["error"]["message"]
    version = account.upload("", "layers/numpy.zip", body=layer_for("python3.14"))
    answer = account.send(notification(version, "layers/numpy.zip"))
    assert answer["status"] == "AWAITING_PACKAGE", "the other layer is still to come"
    assert "scipy for the functions' runtime" in answer["message"]
    version = account.upload("", "layers/scipy.zip", body=layer_for("python3.14"))
    answer = account.send(notification(version, "layers/scipy.zip"))
    assert answer["status"] == "CONFIGURATION_CHANGED"
