"""Two teams in one account: neither can touch the other, and who leaves leaves nothing.

One story, in this order: two stacks are made, both compute, one leaves and its packages stay, the
other still computes, and when it has left too the account is as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import boto3
import dask
import pytest

import wukong
from tests.bootstrap.conftest import zipped
from tests.bootstrap.test_embedded_releases import PROBE
from tests.storage.test_contract import diamond
from wukong.cli.deploy import template_file
from wukong.messages import Start
from wukong.packaging.build import build_bootstrap, build_deployment
from wukong.packaging.target import Target
from wukong.stack.cloudformation import Stack
from wukong.stack.embedded import ACCOUNT, REGION, EmbeddedAws
from wukong.stack.leaving import BucketError, Leaving
from wukong.stack.releases import Releases
from wukong.storage import Storage, open_storage
from wukong.storage.signing import SignatureError

pytestmark = pytest.mark.embedded

HERE = Target.this_machine()
UPLOADERS = ",".join(
    [
        f"arn:aws:iam::{ACCOUNT}:role/ci-*",
        # The embedded AWS takes a session for the principal, where AWS takes its role.
        f"arn:aws:sts::{ACCOUNT}:assumed-role/ci-*/*",
    ]
)
ROLES = ("Bootstrap", "Executor", "Invoker")


@dataclass(frozen=True)
class Team:
    """A team's stack; its names all begin with its own prefix."""

    prefix: str
    stack: Stack

    @property
    def bucket(self) -> str:
        return f"{self.prefix.lower()}-packages-{ACCOUNT}-{REGION}"

    def function(self, which: str) -> str:
        return f"{self.prefix}{which}"

    def resource(self, name: str) -> str:
        """Give the id of a resource of the stack by its name in the template."""
        client: Any = boto3.client("cloudformation")
        found = client.describe_stack_resource(StackName=self.stack.name, LogicalResourceId=name)[
            "StackResourceDetail"
        ]
        return str(found["PhysicalResourceId"])

    @property
    def key(self) -> str:
        return self.stack.outputs()["SigningKey"]

    def computes(self) -> None:
        tree = dask.delayed(sum)([dask.delayed(pow)(i, 2) for i in range(4)])
        with wukong.Client(stack=self.stack.name, max_executors=2, progress=False):
            assert tree.compute() == 14


def census() -> dict[str, set[str]]:
    """Name everything in the account that a stack, a deployment or a run could have made."""

    def found(service: str, operation: str, items: str, name: str | None) -> set[str]:
        client: Any = boto3.client(service)
        if client.can_paginate(operation):
            pages = list(client.get_paginator(operation).paginate())
        else:
            pages = [getattr(client, operation)()]
        every = [one for page in pages for one in page.get(items, [])]
        return {str(one[name] if name else one) for one in every}

    return {
        "functions": found("lambda", "list_functions", "Functions", "FunctionName"),
        "layers": found("lambda", "list_layers", "Layers", "LayerName"),
        "mappings": found("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
        "roles": found("iam", "list_roles", "Roles", "RoleName"),
        "policies": found("iam", "list_policies", "Policies", "Arn"),
        "buckets": found("s3", "list_buckets", "Buckets", "Name"),
        "queues": found("sqs", "list_queues", "QueueUrls", None),
        "topics": found("sns", "list_topics", "Topics", "TopicArn"),
        "log groups": found("logs", "describe_log_groups", "logGroups", "logGroupName"),
        "tables": found("dynamodb", "list_tables", "TableNames", None),
        "secrets": found("secretsmanager", "list_secrets", "SecretList", "ARN"),
        "alarms": found("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
        "dashboards": found("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
        "rules": found("events", "list_rules", "Rules", "Name"),
        "interfaces": found(
            "ec2", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"
        ),
    }


def new(before: dict[str, set[str]]) -> dict[str, set[str]]:
    """Say what is there now and was not before."""
    return _more(census(), before)


def gone(before: dict[str, set[str]]) -> dict[str, set[str]]:
    """Say what was there before and is not now."""
    return _more(before, census())


def _more(these: dict[str, set[str]], those: dict[str, set[str]]) -> dict[str, set[str]]:
    return {kind: found for kind in these if (found := these[kind] - those[kind])}


@pytest.fixture(scope="module")
def before(account: EmbeddedAws) -> dict[str, set[str]]:
    return census()


@pytest.fixture(scope="module")
def teams(
    before: dict[str, set[str]], aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Team, Team]]:
    folder = tmp_path_factory.mktemp("packages")
    bootstrap = build_bootstrap(HERE, folder / "bootstrap.zip").path
    package = build_deployment(HERE, folder / "deployment.zip").path
    made = Team("Red", Stack("team-red")), Team("Blue", Stack("team-blue"))
    kms: Any = boto3.client("kms")
    key = str(kms.create_key()["KeyMetadata"]["Arn"])
    for team in made:
        parameters = {
            "FunctionPrefix": team.prefix,
            "BucketPrefix": f"{team.prefix.lower()}-packages",
            "Runtime": HERE.runtime,
            "Architecture": HERE.architecture,
            "Embedded": "true",
        }
        if team.prefix == "Red":
            parameters |= {"Storage": "url", "StoreUrl": aws.store_url}
        else:
            # The default storage: a table and a bucket of the stack's own.
            parameters |= {"UploaderArns": UPLOADERS, "KmsKeyArn": key}
        team.stack.deploy(template_file(), bootstrap, parameters)
        releases = Releases(team.stack)
        releases.wait_until_live(releases.upload(package), 120.0)
    yield made
    for team in made:
        team.stack.delete()


def layer() -> bytes:
    return zipped({"python/colour.py": "NAME = 'red'\n"})


def tries(role: str, attempts: list[tuple[str, str, dict[str, Any]]]) -> list[str]:
    """Have a function with a role try calls, and give what came of each."""
    client: Any = boto3.client("lambda")
    client.create_function(
        FunctionName="TeamProbe",
        Runtime=HERE.runtime,
        Role=role,
        Handler="probe.lambda_handler",
        Code={"ZipFile": zipped({"probe.py": PROBE})},
        Timeout=60,
    )
    try:
        client.get_waiter("function_active_v2").wait(FunctionName="TeamProbe")
        answer = client.invoke(FunctionName="TeamProbe", Payload=json.dumps(attempts).encode())
        return list(json.loads(answer["Payload"].read()))
    finally:
        client.delete_function(FunctionName="TeamProbe")
        logs: Any = boto3.client("logs")
        with suppress(logs.exceptions.ResourceNotFoundException):
            logs.delete_log_group(logGroupName="/aws/lambda/TeamProbe")


def role_of(team: Team, which: str) -> str:
    client: Any = boto3.client("lambda")
    found = client.get_function_configuration(FunctionName=team.function(which))
    return str(found["Role"])


def on(team: Team) -> list[tuple[str, str, dict[str, Any]]]:
    """Give everything that a role of a stack might do to a stack: to read, write, start, deploy."""
    calls: list[tuple[str, str, dict[str, Any]]] = []
    for which in ROLES:
        name = {"FunctionName": team.function(which)}
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{team.function(which)}"
        calls += [
            ("lambda", "invoke", name),
            ("lambda", "get_function", name),
            ("lambda", "update_function_configuration", {**name, "MemorySize": 1024}),
            ("lambda", "publish_version", name),
            ("lambda", "tag_resource", {"Resource": arn, "Tags": {"wukong:owner": "x"}}),
            ("lambda", "delete_function", name),
        ]
    content = {"S3Bucket": team.bucket, "S3Key": "deployment.zip"}
    zipped_layer = {"LayerName": f"{team.prefix}-tools", "Content": content}
    object_ = {"Bucket": team.bucket, "Key": "deployment.zip"}
    log = {"logGroupName": f"/aws/lambda/{team.function('Executor')}", "logStreamName": "x"}
    calls += [
        ("lambda", "publish_layer_version", zipped_layer),
        ("s3", "get_object", object_),
        ("s3", "put_object", {**object_, "Body": ""}),
        ("s3", "delete_object", object_),
        ("s3", "list_objects_v2", {"Bucket": team.bucket}),
        ("s3", "put_bucket_policy", {"Bucket": team.bucket, "Policy": "{}"}),
        ("secretsmanager", "get_secret_value", {"SecretId": team.key}),
        ("secretsmanager", "put_secret_value", {"SecretId": team.key, "SecretString": "x" * 40}),
        ("sqs", "send_message", {"QueueUrl": team.resource("FailedEvents"), "MessageBody": "x"}),
        ("sqs", "receive_message", {"QueueUrl": team.resource("FailedEvents")}),
        ("logs", "create_log_stream", log),
        ("logs", "filter_log_events", {"logGroupName": log["logGroupName"]}),
        ("iam", "get_role", {"RoleName": team.resource("ExecutorRole")}),
        ("cloudformation", "delete_stack", {"StackName": team.stack.name}),
    ]
    if bucket := team.stack.outputs().get("StoreBucketName"):
        value = {"Bucket": bucket, "Key": "wukong/x"}
        key = {"pk": {"S": "runs"}, "sk": {"S": "x"}}
        item = {"TableName": team.resource("StoreTable"), "Key": key}
        calls += [
            ("s3", "get_object", value),
            ("s3", "put_object", {**value, "Body": ""}),
            ("s3", "list_objects_v2", {"Bucket": bucket}),
            ("dynamodb", "get_item", item),
            ("dynamodb", "update_item", item),
        ]
    return calls


OWN: dict[str, list[str]] = {
    "Bootstrap": [
        "get_function",
        "publish_version",
        "get_object",
        "list_objects_v2",
        "send_message",
    ],
    "Executor": ["invoke", "get_secret_value"],
    "Invoker": ["invoke"],
}
"""Some of what each may do to its own stack, so that a refusal elsewhere means something."""


def test_both_compute(teams: tuple[Team, Team]) -> None:
    for team in teams:
        team.computes()


@pytest.mark.parametrize("which", ROLES)
def test_no_role_of_a_team_can_touch_what_is_the_other_teams(
    teams: tuple[Team, Team], which: str
) -> None:
    red, blue = teams
    role = role_of(red, which)
    theirs = on(blue)
    outcomes = tries(role, theirs)
    done = [call for call, outcome in zip(theirs, outcomes, strict=True) if outcome == "allowed"]
    assert done == []
    assert all("Denied" in outcome for outcome in outcomes), dict(
        zip([f"{s}.{m}" for s, m, _ in theirs], outcomes, strict=True)
    )
    harmless = {"update_function_configuration", "delete_function", "tag_resource", "put_object"}
    own = [call for call in on(red) if call[1] in OWN[which] and call[1] not in harmless]
    allowed = tries(role, own)
    for method in OWN[which]:
        results = [one for (_, name, _), one in zip(own, allowed, strict=True) if name == method]
        assert "allowed" in results, f"{method}: {results}"


def test_a_customer_key_is_on_all_that_is_kept(teams: tuple[Team, Team]) -> None:
    """Of a stack that computes with it: the tests before and after this one.

    The embedded CloudFormation does not pass it on to buckets and tables; that the template does
    tests/bootstrap/test_policies.py shows.
    """
    red, blue = teams
    lambda_: Any = boto3.client("lambda")
    logs: Any = boto3.client("logs")
    for team, with_key in ((red, False), (blue, True)):
        for which in ROLES:
            name = team.function(which)
            found = lambda_.get_function_configuration(FunctionName=name)
            # The embedded CloudFormation does not pass the Bootstrap's on.
            assert bool(found.get("KMSKeyArn")) == with_key or which == "Bootstrap"
            (group,) = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")[
                "logGroups"
            ]
            assert bool(group.get("kmsKeyId")) == with_key


@pytest.fixture
def uploaders(account: EmbeddedAws) -> Iterator[dict[str, str]]:
    """Two roles that may put objects wherever a bucket lets them."""
    iam: Any = boto3.client("iam")
    lambdas = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}
    trust = {"Version": "2012-10-17", "Statement": [{**lambdas, "Action": "sts:AssumeRole"}]}
    writes = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [writes]}
    made = {}
    for name in ("ci-release", "somebody"):
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
        made[name] = str(role["Role"]["Arn"])
    yield made
    for name in made:
        iam.delete_role_policy(RoleName=name, PolicyName="p")
        iam.delete_role(RoleName=name)


def test_only_named_uploaders_may_put_packages_and_the_deployer_is_not_locked_out(
    teams: tuple[Team, Team], uploaders: dict[str, str]
) -> None:
    red, blue = teams
    put = [
        ("s3", "put_object", {"Bucket": team.bucket, "Key": "other.zip", "Body": ""})
        for team in teams
    ]
    assert tries(uploaders["somebody"], put) == ["allowed", "AccessDenied"], "red names nobody"
    assert tries(uploaders["ci-release"], put) == ["allowed", "allowed"]
    s3: Any = boto3.client("s3")
    s3.put_object(Bucket=blue.bucket, Key="other.zip", Body=b"")
    assert s3.get_bucket_policy(Bucket=blue.bucket)
    with pytest.raises(s3.exceptions.ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket=red.bucket)


def test_a_run_of_one_team_is_refused_by_the_keys_of_the_other(
    teams: tuple[Team, Team], aws: EmbeddedAws
) -> None:
    """Even in one store, which teams should not have."""
    red, blue = teams
    ours, theirs = (open_storage(aws.store_url, team.key) for team in (red, blue))
    ours.create(replace(diamond("red-run"), manifest=lambda: b"manifest"))
    assert ours.manifest("red-run") == b"manifest"
    with pytest.raises(SignatureError, match="not signed with a key that is valid here"):
        theirs.manifest("red-run")
    with pytest.raises(SignatureError, match="the specification of segment 0"):
        theirs.begin("red-run", [Start(0)], "token")
    ours.drop("red-run")


def test_a_rotated_key_is_used_and_the_one_before_is_still_valid(
    teams: tuple[Team, Team], aws: EmbeddedAws
) -> None:
    red, _ = teams
    client: Any = boto3.client("secretsmanager")

    def rotated(word: str) -> Storage:
        """Give the store as somebody sees it who comes after a change of the key."""
        client.put_secret_value(SecretId=red.key, SecretString=word)
        return open_storage(aws.store_url, red.key)

    open_storage(aws.store_url, red.key).create(
        replace(diamond("of-the-first"), manifest=lambda: b"manifest")
    )
    second = rotated("n" * 48)
    assert second.manifest("of-the-first") == b"manifest"
    second.create(replace(diamond("of-the-second"), manifest=lambda: b"manifest"))
    third = rotated("m" * 48)
    assert third.manifest("of-the-second") == b"manifest"
    with pytest.raises(SignatureError, match="not signed with a key that is valid here"):
        third.manifest("of-the-first")
    red.computes()
    for run in ("of-the-first", "of-the-second"):
        third.drop(run)
    with pytest.raises(wukong.WukongError, match="not a key of 32"):
        rotated("too short").ping()
    rotated("o" * 48).ping()


def test_a_layer_that_was_detached_goes_with_its_stack(
    teams: tuple[Team, Team], before: dict[str, set[str]]
) -> None:
    red, _ = teams
    s3: Any = boto3.client("s3")
    s3.put_object(Bucket=red.bucket, Key="layers/tools.zip", Body=layer())
    releases = Releases(red.stack)
    for layers in (["tools"], []):
        wish = {"layers": layers, "runtime": HERE.runtime}
        answer = releases.ask({"action": "deploy", "executor": wish})
        assert answer.failure is None, answer
    assert new(before)["layers"] == {"Red-tools"}


def test_who_leaves_leaves_only_the_packages_and_the_other_computes_on(
    teams: tuple[Team, Team], before: dict[str, set[str]]
) -> None:
    red, blue = teams
    kept = Leaving(red.stack).leave(purge=False)
    assert f"bucket {red.bucket}" in kept
    left = {kind: names for kind, names in new(before).items() if "red" in str(names).lower()}
    assert {kind: {n for n in names if "red" in n.lower()} for kind, names in left.items()} == {
        "buckets": {red.bucket}
    }
    assert gone(before) == {}
    blue.computes()
    with pytest.raises(BucketError, match="belongs to stack team-blue"):
        Leaving(blue.stack).purge(blue.bucket)
    s3: Any = boto3.client("s3")
    s3.create_bucket(Bucket="somebody-elses")
    with pytest.raises(BucketError, match="has held no deployment package"):
        Leaving(blue.stack).purge("somebody-elses")
    s3.delete_bucket(Bucket="somebody-elses")
    Leaving(blue.stack).purge(red.bucket)


def test_when_all_have_left_the_account_is_as_it_was(
    teams: tuple[Team, Team], before: dict[str, set[str]]
) -> None:
    _, blue = teams
    Leaving(blue.stack).leave(purge=True)
    # It is also for other stacks, which tests may have left in this account or deleted from it.
    code = blue.stack.artifact_bucket
    for changed in (new(before), gone(before)):
        assert set().union(*changed.values()) <= {code}, changed
