"""Releases on an AWS in a box: plan, rollback, history, layers, manifests, pins, and limits.

One stack for all; each test begins with package 1 live and the stack as it was created.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.bootstrap.conftest import ROOT, Stack, handler, package, zipped
from tests.bootstrap.test_embedded import s3_event
from tests.conftest import until
from wukong.stack.embedded import ACCOUNT, REGION

DEFAULTS = {"ExecutorMemorySize": "3008", "ExecutorLayers": "", "PackageVersion": ""}


@pytest.fixture(scope="module")
def stack(new_stack: Callable[[str], Stack]) -> Stack:
    return new_stack("Releases").create()


@pytest.fixture
def live(stack: Stack) -> Iterator[Stack]:
    stack.upload(package("1"))
    answer = stack.send({"action": "deploy"})
    assert answer["status"] != "FAILED", answer
    assert (stack.marker(0), stack.marker(1)) == ("1", "1")
    yield stack
    if changed := DEFAULTS.keys() & stack.parameters.keys():
        stack.update(**{key: DEFAULTS[key] for key in changed})
        for key in changed:
            del stack.parameters[key]


def test_a_plan_shows_what_a_deployment_would_do_and_does_nothing(live: Stack) -> None:
    before = live.live()
    answer = live.send({"action": "plan", "executor": {"memory_size": 4096, "tags": {"a": "b"}}})
    assert answer["status"] == "PLANNED"
    assert answer["plan"] == [
        "ReleasesExecutor: CONFIGURATION_CHANGED",
        "  memory_size: 3008 -> 4096",
        "  tags: none -> a",
        "ReleasesInvoker: UNCHANGED",
    ]
    assert live.live() == before


def test_everything_that_a_function_has_can_be_set_and_cleared(live: Stack) -> None:
    ec2 = live.aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc)["GroupId"]
    queue = live.aws.client("sqs").create_queue(QueueName="failures")["QueueUrl"].split("/")[-1]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"
    wishes = {
        "timeout": 77,
        "ephemeral_storage": 1024,
        "environment": {"COLOUR": "red"},
        "tracing": "Active",
        "log_format": "JSON",
        "subnet_ids": [subnet],
        "security_group_ids": [group],
        "recursive_loop": "Terminate",
        "reserved_concurrency": 7,
        "asynchronous_retries": 1,
        "failure_destination": arn,
        "tags": {"team": "a"},
    }
    answer = live.send({"action": "deploy", "invoker": wishes})
    assert answer["status"] == "CONFIGURATION_CHANGED", answer
    assert _told(live) == {
        "Timeout": 77,
        "EphemeralStorage": 1024,
        "COLOUR": "red",
        "Tracing": "Active",
        "LogFormat": "JSON",
        "Subnets": [subnet],
        "Loop": "Terminate",
        "Reserved": 7,
        "Asynchronous": (1, arn),
        "Tags": {"team": "a"},
    }
    assert live.send({"action": "deploy", "invoker": wishes})["status"] == "UNCHANGED"
    cleared = {**dict.fromkeys(wishes), "recursive_loop": "Allow"}
    answer = live.send({"action": "deploy", "invoker": cleared})
    assert answer["status"] == "CONFIGURATION_CHANGED", answer
    assert _told(live) == {
        "Timeout": 300,
        "EphemeralStorage": 512,
        "COLOUR": None,
        "Tracing": "PassThrough",
        "LogFormat": "Text",
        "Subnets": [],
        "Loop": "Allow",
        "Reserved": None,
        "Asynchronous": None,
        "Tags": {},
    }


def _told(stack: Stack) -> dict[str, Any]:
    """Tell what the live Invoker has, of what can be set."""
    client, name = stack.aws.client("lambda"), stack.functions[1]
    function = client.get_function(FunctionName=name)
    found = client.get_function_configuration(FunctionName=name, Qualifier="live")
    try:
        rule = client.get_function_event_invoke_config(FunctionName=name, Qualifier="live")
        failed = rule.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        asynchronous = rule["MaximumRetryAttempts"], failed
    except client.exceptions.ResourceNotFoundException:
        asynchronous = None
    return {
        "Timeout": found["Timeout"],
        "EphemeralStorage": found["EphemeralStorage"]["Size"],
        "COLOUR": found["Environment"]["Variables"].get("COLOUR"),
        "Tracing": found["TracingConfig"]["Mode"],
        "LogFormat": found["LoggingConfig"]["LogFormat"],
        "Subnets": found.get("VpcConfig", {}).get("SubnetIds", []),
        "Loop": client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"],
        "Reserved": function.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
        "Asynchronous": asynchronous,
        "Tags": {k: v for k, v in function["Tags"].items() if not k.startswith("wukong:")},
    }


def test_a_rollback_is_one_call_and_holds_until_something_new_comes(live: Stack) -> None:
    before = live.send({"action": "status"})["release"]
    bad = live.upload(package("bad"))
    live.until_live(bad)
    answer = live.send({"action": "rollback", "by": "alice"})
    assert answer["status"] == "ROLLED_BACK"
    assert answer["release"]["name"] == before["name"]
    assert (live.marker(0), live.marker(1)) == ("1", "1")
    assert live.send({"action": "rollback"})["status"] == "UNCHANGED"
    assert live.send(s3_event(live, versionId=bad))["status"] == "HELD"
    assert live.send({"action": "deploy"})["status"] == "UNCHANGED"
    told = live.send({"action": "status"})["release"]
    assert (told["code_sha256"], told["by"]) == (before["code_sha256"], "manual:alice")
    live.until_live(live.upload(package("good")))
    assert (live.marker(0), live.marker(1)) == ("good", "good")


def test_a_stack_update_after_a_rollback_configures_what_is_live(live: Stack) -> None:
    live.until_live(live.upload(package("bad")))
    live.send({"action": "rollback"})
    live.update(ExecutorMemorySize="2048")
    assert live.outputs["DeploymentStatus"] == "CONFIGURATION_CHANGED"
    assert (live.marker(0), live.marker(1)) == ("1", "1")
    assert live.send({"action": "deploy", "force": True})["status"] == "CODE_CHANGED"
    assert live.marker() == "bad"


def test_the_history_names_releases_that_can_be_gone_back_to(live: Stack) -> None:
    first = live.send({"action": "status"})["release"]["name"]
    for marker in ("h2", "h3"):
        live.until_live(live.upload(package(marker)))
    listed = live.send({"action": "history"})["releases"]
    assert [release["live"] for release in listed].count(True) == 1
    assert listed[0]["live"] is True
    assert first in [release["name"] for release in listed]
    assert listed[0]["by"].startswith("s3")
    answer = live.send({"action": "rollback", "to": first})
    assert answer["status"] == "ROLLED_BACK"
    assert (live.marker(0), live.marker(1)) == ("1", "1")


def test_a_package_may_say_how_its_functions_are_configured(live: Stack) -> None:
    wish = {"executor": {"memory_size": 2048, "environment": {"COLOUR": "blue"}}}
    files = {
        "executor/function.py": handler("executor", "manifest"),
        "invoker/function.py": handler("invoker", "manifest"),
        "wukong.json": json.dumps(wish),
    }
    live.until_live(live.upload(zipped(files)))
    client = live.aws.client("lambda")
    place = {"FunctionName": live.functions[0], "Qualifier": "live"}
    found = client.get_function_configuration(**place)
    assert found["MemorySize"] == 2048
    assert found["Environment"]["Variables"]["COLOUR"] == "blue"
    answer = live.send({"action": "plan", "executor": {"memory_size": 1024}})
    assert "  memory_size: 2048 -> 1024" in answer["plan"], "the event wins over the manifest"
    files["wukong.json"] = json.dumps({"executor": {"function_name": "Another"}})
    version = live.upload(zipped(files))
    answer = live.send(s3_event(live, versionId=version))
    assert answer["error"]["code"] == "INVALID_PACKAGE"
    assert "executor.function_name" in answer["error"]["message"]
    assert live.marker() == "manifest"
    live.send({"action": "deploy", "executor": {"environment": None}})


USES_A_LAYER = (
    "import toolbox\n"
    "def lambda_handler(event, context):\n"
    "    return dict(wukong='pong', component='executor', marker=toolbox.COLOUR)\n"
)


def layer(colour: str, runtime: str) -> bytes:
    manifest = {"compatible_runtimes": [runtime], "compatible_architectures": ["x86_64"]}
    files = {"python/toolbox.py": f"COLOUR = {colour!r}\n", "wukong.json": json.dumps(manifest)}
    return zipped(files)


def test_a_zip_among_the_layers_is_published_and_attached_to_who_lists_it(live: Stack) -> None:
    s3, client = live.aws.client("s3"), live.aws.client("lambda")
    runtime = live.parameters["Runtime"]

    def upload(colour: str) -> str:
        body = layer(colour, runtime)
        told = s3.put_object(Bucket=live.bucket, Key="layers/toolbox.zip", Body=body)
        return str(told["VersionId"])

    live.update(ExecutorLayers="toolbox")
    assert live.outputs["DeploymentStatus"] == "AWAITING_PACKAGE", "there is no such layer yet"
    version = upload("red")
    until(lambda: _layers(live) == ["Releases-toolbox"], "the layer to be attached")
    known = client.list_layer_versions(LayerName="Releases-toolbox")["LayerVersions"]
    assert known[0]["CompatibleRuntimes"] == [runtime]
    event = s3_event(live, "layers/toolbox.zip", versionId=version)
    assert live.send(event)["status"] == "UNCHANGED", "the same zip is published once"
    live.until_live(live.upload(package("1", executor=USES_A_LAYER)))
    assert live.marker() == "red"
    upload("blue")
    until(lambda: live.marker() == "blue", "the new layer to be live")
    broken = s3.put_object(Bucket=live.bucket, Key="layers/toolbox.zip", Body=zipped({"x": "y"}))
    event = s3_event(live, "layers/toolbox.zip", versionId=broken["VersionId"])
    until(
        lambda: live.send(event).get("error", {}).get("code") == "SMOKE_TEST_FAILED",
        "the layer without its module to be refused",
    )
    assert live.marker() == "blue"
    upload("green")
    until(lambda: live.marker() == "green", "the mended layer to be live")
    assert live.send({"action": "rollback"})["status"] == "ROLLED_BACK"
    assert live.marker() == "blue"
    assert live.send({"action": "deploy"})["status"] == "UNCHANGED", "green is held back"
    live.upload(package("1"))


def _layers(stack: Stack) -> list[str]:
    found = stack.aws.client("lambda").get_function_configuration(
        FunctionName=stack.functions[0], Qualifier="live"
    )
    return [attached["Arn"].split(":")[6] for attached in found.get("Layers", [])]


def test_a_stack_can_pin_a_version_and_let_go_of_it(live: Stack) -> None:
    pinned = live.send({"action": "status"})["release"]["package"]
    live.update(PackageVersion=pinned)
    newer = live.upload(package("newer"))
    answer = live.send(s3_event(live, versionId=newer))
    assert (answer["status"], live.marker()) == ("HELD", "1")
    assert "PackageVersion" in answer["message"]
    live.update(PackageVersion="")
    assert live.marker() == "newer"
    with pytest.raises(AssertionError, match="has no version nothing-like-that"):
        live.update(PackageVersion="nothing-like-that")
    del live.parameters["PackageVersion"]
    assert live.marker() == "newer"


def test_a_stack_update_that_fails_its_smoke_test_is_taken_back(live: Stack) -> None:
    files = {
        "executor/function.py": handler("executor", "two"),
        "executor/other.py": "def lambda_handler(event, context):\n    return 'no pong'\n",
        "invoker/function.py": handler("invoker", "two"),
    }
    live.until_live(live.upload(zipped(files)))
    before = live.live()
    with pytest.raises(AssertionError, match="SMOKE_TEST_FAILED"):
        live.update(ExecutorHandler="executor.other.lambda_handler", ExecutorMemorySize="1024")
    del live.parameters["ExecutorHandler"], live.parameters["ExecutorMemorySize"]
    assert live.live() == before
    assert live.send({"action": "deploy"})["status"] == "UNCHANGED"


def test_releases_are_told_to_eventbridge_and_failures_raise_the_alarm(live: Stack) -> None:
    events, sqs = live.aws.client("events"), live.aws.client("sqs")
    queue = sqs.create_queue(QueueName="news")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    events.put_rule(Name="news", EventPattern=json.dumps({"source": ["wukong.bootstrap"]}))
    events.put_targets(Rule="news", Targets=[{"Id": "1", "Arn": arn["QueueArn"]}])
    version = live.upload(package("news"))
    live.until_live(version)
    bad = live.upload(b"no zip")
    live.send(s3_event(live, versionId=bad))
    seen: list[dict[str, Any]] = []

    def is_told() -> bool:
        received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        seen.extend(json.loads(message["Body"]) for message in received)
        kinds = {(news["detail-type"], news["detail"]["bootstrap"]) for news in seen}
        wanted = {"Wukong Deployed", "Wukong Failed"}
        return {(kind, "ReleasesBootstrap") for kind in wanted} <= kinds

    until(is_told, "the news")
    deployed = next(news["detail"] for news in seen if news["detail"]["status"] == "CODE_CHANGED")
    assert deployed["release"]["package"] == version
    alarms = live.aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    watched = {
        (alarm["Namespace"], alarm["MetricName"]): {d["Value"] for d in alarm["Dimensions"]}
        for alarm in alarms
        if "ReleasesBootstrap" in str(alarm["Dimensions"])
    }
    assert watched == {("Wukong", "Failed"): {"bootstrap", "ReleasesBootstrap"}}


PROBE = """
import boto3

def lambda_handler(event, context):
    outcomes = []
    for service, method, arguments in event:
        try:
            getattr(boto3.client(service), method)(**arguments)
            outcomes.append("allowed")
        except Exception as error:
            answer = getattr(error, "response", {"Error": {"Code": repr(error)}})
            outcomes.append(answer["Error"]["Code"])
    return outcomes
"""


def test_the_bootstraps_role_can_touch_nothing_but_what_is_its_own(live: Stack) -> None:
    """A function with the bootstrap's own role tries, where policies are enforced."""
    client, s3 = live.aws.client("lambda"), live.aws.client("s3")
    own = client.get_function_configuration(FunctionName="ReleasesBootstrap")
    client.create_function(
        FunctionName="Probe",
        Runtime=own["Runtime"],
        Role=own["Role"],
        Handler="probe.lambda_handler",
        Code={"ZipFile": zipped({"probe.py": PROBE})},
        Timeout=60,
    )
    client.get_waiter("function_active_v2").wait(FunctionName="Probe")
    s3.create_bucket(Bucket="foreign")
    s3.put_object(Bucket="foreign", Key="deployment.zip", Body=b"x")
    s3.put_object(Bucket=live.bucket, Key="other.zip", Body=b"x")
    other, itself = {"FunctionName": "Probe"}, {"FunctionName": "ReleasesBootstrap"}
    probe = own["FunctionArn"].replace("ReleasesBootstrap", "Probe")
    mine = {"FunctionName": live.functions[0]}
    forbidden: list[tuple[str, str, dict[str, Any]]] = [
        ("lambda", "get_function", other),
        ("lambda", "delete_function", other),
        ("lambda", "update_function_configuration", {**other, "MemorySize": 128}),
        ("lambda", "publish_version", other),
        ("lambda", "invoke", other),
        ("lambda", "create_alias", {**other, "Name": "live", "FunctionVersion": "1"}),
        ("lambda", "delete_function", itself),
        ("lambda", "update_function_configuration", {**itself, "MemorySize": 128}),
        ("lambda", "get_function_configuration", other),
        ("lambda", "tag_resource", {"Resource": probe, "Tags": {"wukong:owner": "x"}}),
        ("lambda", "list_functions", {}),
        ("lambda", "get_policy", mine),
        (
            "lambda",
            "publish_layer_version",
            {"LayerName": "Theirs", "Content": {"S3Bucket": "foreign", "S3Key": "deployment.zip"}},
        ),
        ("s3", "get_object", {"Bucket": "foreign", "Key": "deployment.zip"}),
        ("s3", "get_object", {"Bucket": live.bucket, "Key": "other.zip"}),
        ("s3", "put_object", {"Bucket": live.bucket, "Key": "deployment.zip", "Body": ""}),
        ("s3", "delete_object", {"Bucket": live.bucket, "Key": "deployment.zip"}),
        ("s3", "list_buckets", {}),
        ("iam", "list_roles", {}),
        ("sqs", "list_queues", {}),
        ("sts", "assume_role", {"RoleArn": own["Role"], "RoleSessionName": "probe"}),
        ("secretsmanager", "list_secrets", {}),
        ("cloudformation", "describe_stacks", {}),
    ]
    allowed: list[tuple[str, str, dict[str, Any]]] = [
        ("lambda", "get_function", mine),
        ("lambda", "get_function_configuration", itself),
        ("s3", "get_object", {"Bucket": live.bucket, "Key": "deployment.zip"}),
    ]
    calls = json.dumps([*forbidden, *allowed]).encode()
    answer = client.invoke(FunctionName="Probe", Payload=calls)
    outcomes = json.loads(answer["Payload"].read())
    story = list(zip([call[:2] for call in [*forbidden, *allowed]], outcomes, strict=True))
    assert set(outcomes[len(forbidden) :]) == {"allowed"}, story
    for call, outcome in story[: len(forbidden)]:
        assert outcome in {"AccessDenied", "AccessDeniedException"}, (call, story)


def test_a_deletion_by_hand_needs_the_name(live: Stack) -> None:
    answer = live.send({"action": "delete", "confirm": "SomethingElse"})
    assert answer["error"]["code"] == "INVALID_EVENT"
    assert live.marker() == "1"
    assert live.send({"action": "delete", "confirm": "ReleasesExecutor"})["status"] == "DELETED"
    assert live.live() == (None, None)
    assert live.send({"action": "deploy"})["status"] == "CREATED"


def test_every_error_code_has_its_entry_in_the_runbook() -> None:
    from bootstrap import errors

    codes = {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.BootstrapError)
    }
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    assert {code for code in codes if f"`{code}`" not in runbook} == set()
