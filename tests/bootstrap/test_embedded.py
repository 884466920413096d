"""The whole path on an embedded AWS that enforces IAM: real template, real zips, real events."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .conftest import Stack, handler, package, until, zipped

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def stack(new_stack: Callable[[str], Stack]) -> Stack:
    """A stack whose bucket is still empty when the first test runs."""
    return new_stack("Walk").create()


@pytest.fixture
def live(stack: Stack) -> Stack:
    """The stack with package 1 live, whatever the tests before have done."""
    stack.upload(package("1"))
    answer = stack.send({"action": "deploy"})
    assert answer["status"] != "FAILED", answer
    assert stack.marker() == "1"
    return stack


@pytest.fixture
def untouched(live: Stack) -> Iterator[Stack]:
    """A live stack that must be exactly the same after the test."""
    before = live.live()
    yield live
    assert live.live() == before
    assert (live.marker(0), live.marker(1)) == ("1", "1")


def s3_event(stack: Stack, key: str = "deployment.zip", **told: str) -> dict[str, Any]:
    """Give the notification of an upload, as S3 writes it."""
    return {
        "Records": [
            {
                "eventVersion": "2.6",
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": stack.bucket}, "object": {"key": key, **told}},
            }
        ]
    }


def huge() -> bytes:
    """Give a small zip that unzips to more than Lambda takes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("executor", "invoker"):
            archive.writestr(f"{name}/function.py", handler(name))
        with archive.open("data.bin", "w") as member:
            for _ in range(251):
                member.write(bytes(1 << 20))
    return buffer.getvalue()


# The first tests are one story, in this order.


def test_a_stack_with_an_empty_bucket_waits_for_its_package(stack: Stack) -> None:
    assert stack.outputs["ExecutorFunctionName"] == "WalkExecutor:live"
    assert stack.outputs["InvokerFunctionName"] == "WalkInvoker:live"
    assert stack.outputs["DeploymentStatus"] == "AWAITING_PACKAGE"
    assert stack.live() == (None, None)
    assert stack.send({"action": "status"})["status"] == "ABSENT"


def test_an_uploaded_zip_makes_both_functions_live(stack: Stack) -> None:
    version = stack.upload(package("0"))
    stack.until_live(version)
    assert (stack.marker(0), stack.marker(1)) == ("0", "0")


def test_what_is_live_is_configured_as_the_stack_says(stack: Stack) -> None:
    client = stack.aws.client("lambda")
    executor, invoker = (
        client.get_function(FunctionName=name, Qualifier="live")["Configuration"]
        for name in stack.functions
    )
    assert (executor["MemorySize"], executor["Timeout"]) == (3008, 900)
    assert (invoker["MemorySize"], invoker["Timeout"]) == (512, 300)
    store = stack.outputs["StoreUrl"]
    assert store.startswith("dynamodb+s3://"), "a table, where nobody says otherwise"
    variables = {"WUKONG_PLATFORM": "aws", "WUKONG_STORE_URL": store, "WUKONG_METRICS": "on"}
    key = {"WUKONG_STORE_SIGNING_KEY": stack.outputs["SigningKey"]}
    for name, found in zip(stack.functions, (executor, invoker), strict=True):
        assert found["Environment"]["Variables"] == variables | (key if found is executor else {})
        assert found["LoggingConfig"]["LogGroup"] == f"/aws/lambda/{name}"
        assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
    for qualifier in ("live", executor["Version"]):
        rule = client.get_function_event_invoke_config(
            FunctionName=stack.functions[0], Qualifier=qualifier
        )
        assert rule["MaximumRetryAttempts"] == 0


def test_a_changed_zip_becomes_a_new_version_of_both(stack: Stack) -> None:
    before = stack.send({"action": "status"})["functions"]
    version = stack.upload(package("1"))
    stack.until_live(version)
    answer = stack.send({"action": "status"})
    assert answer["status"] == "LIVE"
    assert answer["release"]["package"] == version
    for component in ("executor", "invoker"):
        after = answer["functions"][component]
        assert int(after["version"]) > int(before[component]["version"])
        assert after["previous"] == before[component]["version"]
    assert (stack.marker(0), stack.marker(1)) == ("1", "1")


def test_the_same_zip_again_changes_nothing(untouched: Stack) -> None:
    version = untouched.upload(package("1"))
    answer = untouched.send(s3_event(untouched, versionId=version))
    assert answer["status"] == "UNCHANGED"
    assert answer["release"]["package"] == version
    assert answer["functions"]["executor"]["changes"] == []


def test_more_memory_in_the_stack_changes_the_configuration(live: Stack) -> None:
    before = live.live()
    live.update(ExecutorMemorySize="4096")
    assert live.outputs["DeploymentStatus"] == "CONFIGURATION_CHANGED"
    found = live.aws.client("lambda").get_function_configuration(
        FunctionName=live.functions[0], Qualifier="live"
    )
    assert found["MemorySize"] == 4096
    versions, old = ([alias["FunctionVersion"] for alias in pair] for pair in (live.live(), before))
    assert versions[0] != old[0]
    assert versions[1] == old[1], "the Invoker's configuration is the same"


def test_the_store_and_a_new_zip_at_once_are_one_release(live: Stack) -> None:
    live.update(StoreUrl="redis://store.example:6379")
    version = live.upload(package("2"))
    live.until_live(version)
    for name in live.functions:
        found = live.aws.client("lambda").get_function_configuration(
            FunctionName=name, Qualifier="live"
        )
        variables = found["Environment"]["Variables"]
        assert variables["WUKONG_STORE_URL"] == "redis://store.example:6379"
    assert "store.example" not in live.aws.log.read_text(), "its address is a secret"


def test_a_package_with_function_py_at_its_root_is_an_executor(live: Stack) -> None:
    files = {"function.py": handler("executor", "root"), "invoker/function.py": handler("invoker")}
    live.upload(zipped(files))
    wish = {"executor": {"handler": "function.lambda_handler"}}
    answer = live.send({"action": "deploy", **wish})
    assert answer["status"] == "CODE_CHANGED"
    assert (
        "handler: executor.function.lambda_handler -> function.lambda_handler"
        in (answer["functions"]["executor"]["changes"])
    )
    assert live.marker() == "root"


BAD_PACKAGES: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "not a zip": (lambda: b"x" * 1000, "INVALID_PACKAGE", "is not a zip"),
    "next to nothing": (lambda: b"", "INVALID_PACKAGE", "is not a zip"),
    "no Executor": (lambda: package("2", executor=None), "INVALID_PACKAGE", "executor/function.py"),
    "no Invoker": (lambda: package("2", invoker=None), "INVALID_PACKAGE", "invoker/function.py"),
    "too big": (huge, "INVALID_PACKAGE", "262,144,000"),
    "leaves the zip": (
        lambda: zipped({"../evil.py": "", "executor/function.py": "", "invoker/function.py": ""}),
        "INVALID_PACKAGE",
        "../evil.py",
    ),
    "raises at the ping": (
        lambda: package("2", invoker="def lambda_handler(e, c):\n    raise ValueError('no!')\n"),
        "SMOKE_TEST_FAILED",
        "no!",
    ),
    "cannot be imported": (
        lambda: package("2", executor="import nothing_of_that_name\n"),
        "SMOKE_TEST_FAILED",
        "WalkExecutor",
    ),
    "the wrong function answers": (
        lambda: package("2", executor=handler("invoker")),
        "SMOKE_TEST_FAILED",
        "it says it is 'invoker'",
    ),
    "answers something else": (
        lambda: package("2", executor="def lambda_handler(e, c):\n    return 'hello'\n"),
        "SMOKE_TEST_FAILED",
        "hello",
    ),
}


@pytest.mark.parametrize("kind", BAD_PACKAGES)
def test_a_bad_package_is_refused_and_live_stays(untouched: Stack, kind: str) -> None:
    make, code, named = BAD_PACKAGES[kind]
    version = untouched.upload(make())

    def refusal() -> dict[str, Any] | None:
        """Send the event too; S3's own may be cleaning up after itself at the same time."""
        answer = untouched.send(s3_event(untouched, versionId=version))
        assert answer["status"] == "FAILED"
        assert answer["error"]["code"] == code
        assert answer["error"]["retryable"] is False
        return answer if named in answer["error"]["message"] else None

    until(refusal, f"{named} to be named")


BAD_EVENTS: dict[str, tuple[object, str]] = {
    "unknown kind": ({"hello": "world"}, "Unknown kind of event"),
    "not an object": ([1, 2], "Unknown kind of event"),
    "unknown action": ({"action": "explode"}, "'action'"),
    "unknown key": ({"action": "deploy", "memory": 1}, "'memory'"),
    "unknown key inside": ({"action": "deploy", "executor": {"memry": 1}}, "'executor.memry'"),
    "wrong type": (
        {"action": "deploy", "executor": {"memory_size": "lots"}},
        "'executor.memory_size'",
    ),
    "over a limit": ({"action": "deploy", "invoker": {"timeout": 901}}, "'invoker.timeout'"),
}


@pytest.mark.parametrize("kind", BAD_EVENTS)
def test_a_bad_event_is_refused_by_name_and_live_stays(untouched: Stack, kind: str) -> None:
    event, named = BAD_EVENTS[kind]
    answer = untouched.send(event)
    assert answer["status"] == "FAILED"
    assert answer["error"]["code"] == "INVALID_EVENT"
    assert named in answer["error"]["message"]


def test_events_that_are_not_ours_are_ignored(untouched: Stack) -> None:
    test_event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": untouched.bucket}
    assert untouched.send(test_event)["status"] == "IGNORED"
    assert untouched.send(s3_event(untouched, "other/deployment.zip"))["status"] == "IGNORED"
    foreign = s3_event(untouched)
    foreign["Records"][0]["s3"]["bucket"]["name"] = "someone-else"
    assert untouched.send(foreign)["status"] == "IGNORED"


def test_an_event_of_an_older_upload_is_stale(live: Stack) -> None:
    older = live.upload(package("2"))
    newer = live.upload(package("1"))
    assert live.send(s3_event(live, versionId=older))["status"] == "STALE"
    # The older one may have been live for a moment, by its own event.
    assert live.send(s3_event(live, versionId=newer))["status"] in {"CODE_CHANGED", "UNCHANGED"}
    assert live.marker(0) == live.marker(1) == "1"


def test_an_eventbridge_event_deploys_as_well(live: Stack) -> None:
    version = live.upload(package("bridge"))
    event = {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "detail": {
            "bucket": {"name": live.bucket},
            "object": {"key": "deployment.zip", "version-id": version},
        },
    }
    assert live.send(event)["status"] in {"CODE_CHANGED", "UNCHANGED"}
    assert live.marker() == "bridge"


@pytest.mark.parametrize("done", ["code", "published", "switched"])
def test_what_a_crash_left_half_done_is_finished_by_the_next_event(live: Stack, done: str) -> None:
    client = live.aws.client("lambda")
    executor = live.functions[0]
    body = package(f"after a crash, {done}")
    client.update_function_code(FunctionName=executor, ZipFile=body)
    client.get_waiter("function_updated_v2").wait(FunctionName=executor)
    if done != "code":
        version = client.publish_version(FunctionName=executor)["Version"]
    if done == "switched":
        client.update_alias(FunctionName=executor, Name="live", FunctionVersion=version)
    live.upload(body)
    assert live.send({"action": "deploy"})["status"] in {"CODE_CHANGED", "UNCHANGED"}
    assert live.marker(0) == live.marker(1) == f"after a crash, {done}"


def test_deleting_the_stack_deletes_both_functions(new_stack: Callable[[str], Stack]) -> None:
    stack = new_stack("Gone").create()
    stack.until_live(stack.upload(package()))
    stack.empty()
    stack.delete()
    client = stack.aws.client("lambda")
    for name in (*stack.functions, "GoneBootstrap"):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.get_function(FunctionName=name)


def theirs(stack: Stack, position: int) -> str:
    """Make a function under one of our names that is not ours, and give its name."""
    name = stack.functions[position]
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    role = stack.aws.client("iam").create_role(
        RoleName=f"theirs-{name}", AssumeRolePolicyDocument=json.dumps(trust)
    )
    client = stack.aws.client("lambda")
    client.create_function(
        FunctionName=name,
        Runtime=stack.parameters["Runtime"],
        Handler="function.lambda_handler",
        Role=role["Role"]["Arn"],
        Code={"ZipFile": package("theirs")},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    return name


def test_a_function_of_somebody_else_is_left_alone(new_stack: Callable[[str], Stack]) -> None:
    stack = new_stack("Taken").create()
    name = theirs(stack, 0)
    stack.upload(package("ours"))
    answer = stack.send({"action": "deploy"})
    assert answer["error"]["code"] == "NOT_OURS"
    assert name in answer["error"]["message"]
    client = stack.aws.client("lambda")
    found = client.get_function(FunctionName=name)
    assert found["Configuration"]["Handler"] == "function.lambda_handler"
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=stack.functions[1])
    stack.empty()
    stack.delete()
    assert client.get_function(FunctionName=name)


def test_an_adopted_function_is_taken_over_and_handed_back(
    new_stack: Callable[[str], Stack],
) -> None:
    stack = new_stack("Adopt").create()
    name = theirs(stack, 1)
    stack.upload(package("ours"))
    answer = stack.send({"action": "deploy", "adopt": True})
    assert answer["status"] == "CREATED"
    assert "theirs" not in str(answer["functions"]["invoker"]["smoke"])
    assert stack.marker(1) == "ours"
    stack.empty()
    stack.delete()
    found = stack.aws.client("lambda").get_function(FunctionName=name)
    assert not any(tag.startswith("wukong:") for tag in found.get("Tags", {}))


def test_an_update_that_cannot_be_made_leaves_the_stack_and_live(live: Stack) -> None:
    before = live.live()
    kept = dict(live.parameters)
    with pytest.raises(AssertionError, match="Field 'ResourceProperties.executor.handler'"):
        live.update(ExecutorHandler="not/a handler")
    live.parameters = kept
    assert live.live() == before


def test_an_event_that_a_retry_can_still_deploy_is_raised(live: Stack) -> None:
    client = live.aws.client("lambda")
    name = f"{live.prefix}Bootstrap"
    version = live.upload(package("1"))
    event = s3_event(live, versionId=version)
    variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    nowhere = {**variables, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    _configure(client, name, nowhere)
    try:
        answer = client.invoke(FunctionName=name, Payload=json.dumps(event).encode())
        assert answer["FunctionError"] == "Unhandled"
        assert "could not be reached" in answer["Payload"].read().decode()
    finally:
        _configure(client, name, variables)


def _configure(client: Any, name: str, variables: dict[str, str]) -> None:
    client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
    client.get_waiter("function_updated_v2").wait(FunctionName=name)


def test_two_deployments_at_once_make_one_release(live: Stack) -> None:
    versions = [live.upload(package(f"race {number}")) for number in range(3)]
    live.until_live(versions[-1])
    until(lambda: live.marker(0) == live.marker(1) == "race 2", "the last package to be live")
