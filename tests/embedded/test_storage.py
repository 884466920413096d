"""The storage of a deployed stack: its own table, then Valkey, then the cache of a network's stack.

One stack for all, in this order. IAM is enforced, so what the roles may do is what lets the example
workloads end; what they may not do, functions with the very roles try.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from valkey import Valkey

import wukong
from tests.bootstrap.conftest import zipped
from tests.bootstrap.test_embedded_releases import PROBE
from tests.conftest import until
from tests.embedded.test_verbs import read, run
from tests.examples.scripts import load
from tests.secured import behind_tls
from tests.templates import Template
from wukong.cli.deploy import Wishes
from wukong.config import load_config
from wukong.opening import located
from wukong.stack.cloudformation import BODY_BYTES, Stack
from wukong.stack.embedded import REGION, EmbeddedAws
from wukong.stack.logs import Logs
from wukong.stack.stores import StorageKind, kind_of
from wukong.stack.valkey import EmbeddedValkey

pytestmark = pytest.mark.embedded

STACK = "stored"
NAMES = ("-p", "FunctionPrefix=Stored", "-p", "BucketPrefix=stored-packages")


@pytest.fixture(scope="module")
def stored(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that was deployed with `--storage dynamodb`; this process's environment names it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        patch.setenv("WUKONG_AWS_LAMBDA_AWS_SAM_APP_NAME", STACK)
        told = read("deploy", "--storage", "dynamodb", *NAMES, cwd=tmp_path_factory.mktemp("here"))
        assert told["storage"]["kind"] == "dynamodb"
        stack = Stack(STACK)
        yield stack
        stack.delete()


def function_store(component: str) -> str:
    """Give the address that the live function has."""
    client: Any = boto3.client("lambda")
    found = client.get_function_configuration(FunctionName=f"Stored{component}", Qualifier="live")
    return str(found["Environment"]["Variables"]["WUKONG_STORE_URL"])


def place(url: str) -> tuple[str, str, str]:
    """Give table, bucket and prefix of an address."""
    table, bucket, prefix = url.removeprefix("dynamodb+s3://").split("/")
    return table, bucket, prefix


def test_functions_and_clients_are_led_to_the_stacks_own_table(
    stored: Stack, tmp_path: Path
) -> None:
    url = stored.outputs()["StoreUrl"]
    assert url.startswith("dynamodb+s3://")
    assert function_store("Executor") == function_store("Invoker") == url
    # The environment still names the embedded Valkey, where the functions are not.
    assert (load_config().store.url or "").startswith("unix://")
    store = located(load_config()).store
    assert (store.url, store.keep_days) == (url, 2)
    assert f"Storage: dynamodb, {url}." in run("status", cwd=tmp_path)


TINY: dict[str, tuple[str, ...]] = {
    "tree_reduction.py": ("--numbers", "9", "--delay", "0.001"),
    "gemm.py": ("--n", "60", "--chunk", "30"),
    "svd_tall_skinny.py": ("--rows", "300", "--columns", "8", "--chunk-rows", "100"),
    "svd_square.py": ("--n", "40", "--chunk", "20", "--rank", "2"),
    "tsqr.py": ("--rows", "256", "--columns", "8", "--chunk-rows", "64"),
    "svc.py": ("--samples", "200", "--chunk", "100"),
}
"""Sizes at which the emulator, one process for tables and functions, takes seconds for a script."""


@pytest.mark.parametrize("script", sorted(TINY))
def test_each_example_runs_on_the_table(
    stored: Stack, script: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check(script, capsys)


def check(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run an example on the stack, and compare what it prints with Dask's own scheduler."""
    import dask

    example = load(script)
    with wukong.Client():
        example.main(list(TINY[script]))
    got = capsys.readouterr().out
    with dask.config.set(scheduler="synchronous"):
        example.main(list(TINY[script]))
    assert got == capsys.readouterr().out
    assert got


def outcomes(role: str, calls: list[tuple[str, str, dict[str, Any]]]) -> list[str]:
    """Let a function with a role of the stack make calls; gives how each ended."""
    client: Any = boto3.client("lambda")
    found = client.get_function_configuration(FunctionName=f"Stored{role}", Qualifier="live")
    name = f"Probe{role}"
    client.create_function(
        FunctionName=name,
        Runtime=found["Runtime"],
        Role=found["Role"],
        Handler="probe.lambda_handler",
        Code={"ZipFile": zipped({"probe.py": PROBE})},
        Timeout=60,
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    try:
        answer = client.invoke(FunctionName=name, Payload=json.dumps(calls).encode())
        told: list[str] = json.loads(answer["Payload"].read())
    finally:
        client.delete_function(FunctionName=name)
    return told


@pytest.fixture(scope="module")
def foreign(stored: Stack) -> Iterator[str]:
    """A table and a bucket of somebody else's, both of one name."""
    name = "somebody-elses"
    dynamodb: Any = boto3.client("dynamodb")
    s3: Any = boto3.client("s3")
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    )
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="wukong/x", Body=b"x")
    yield name
    s3.delete_object(Bucket=name, Key="wukong/x")
    s3.delete_bucket(Bucket=name)
    dynamodb.delete_table(TableName=name)


@pytest.mark.parametrize("role", ["Executor", "Invoker"])
def test_the_functions_roles_reach_the_stacks_table_and_prefix_and_no_other(
    stored: Stack, foreign: str, role: str
) -> None:
    table, bucket, prefix = place(stored.outputs()["StoreUrl"])
    key = {"pk": {"S": "probe"}, "sk": {"S": "probe"}}
    mine, theirs = {"TableName": table}, {"TableName": foreign}
    inside, outside = {"Bucket": bucket, "Key": f"{prefix}/probe"}, {"Bucket": bucket, "Key": "x"}
    allowed: list[tuple[str, str, dict[str, Any]]] = [
        (
            "dynamodb",
            "batch_write_item",
            {"RequestItems": {table: [{"PutRequest": {"Item": key}}]}},
        ),
        ("dynamodb", "get_item", {**mine, "Key": key}),
        ("s3", "put_object", {**inside, "Body": ""}),
        ("s3", "get_object", inside),
    ]
    forbidden: list[tuple[str, str, dict[str, Any]]] = [
        ("dynamodb", "delete_table", mine),
        ("dynamodb", "scan", mine),
        ("dynamodb", "describe_table", mine),
        ("dynamodb", "update_table", {**mine, "BillingMode": "PROVISIONED"}),
        ("dynamodb", "get_item", {**theirs, "Key": key}),
        ("dynamodb", "batch_get_item", {"RequestItems": {foreign: {"Keys": [key]}}}),
        (
            "dynamodb",
            "batch_write_item",
            {"RequestItems": {foreign: [{"PutRequest": {"Item": key}}]}},
        ),
        ("dynamodb", "delete_table", theirs),
        ("dynamodb", "list_tables", {}),
        ("s3", "put_object", {**outside, "Body": ""}),
        ("s3", "get_object", outside),
        ("s3", "get_object", {"Bucket": foreign, "Key": "wukong/x"}),
        ("s3", "put_object", {"Bucket": foreign, "Key": "wukong/x", "Body": ""}),
        ("s3", "delete_bucket", {"Bucket": bucket}),
        ("s3", "put_bucket_versioning", {**versions(bucket)}),
        ("s3", "list_buckets", {}),
        ("secretsmanager", "list_secrets", {}),
    ]
    calls = [*allowed, *forbidden]
    story = list(zip([call[:2] for call in calls], outcomes(role, calls), strict=True))
    assert {outcome for _, outcome in story[: len(allowed)]} == {"allowed"}, story
    for call, outcome in story[len(allowed) :]:
        assert outcome in {"AccessDenied", "AccessDeniedException"}, (call, story)


def versions(bucket: str) -> dict[str, Any]:
    return {"Bucket": bucket, "VersioningConfiguration": {"Status": "Enabled"}}


def test_a_run_under_the_clients_policy_alone_ends_and_it_can_do_nothing_else(
    stored: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    iam: Any = boto3.client("iam")
    user = iam.create_user(UserName="analyst")["User"]["UserName"]
    iam.attach_user_policy(UserName=user, PolicyArn=stored.outputs()["ClientPolicyArn"])
    key = iam.create_access_key(UserName=user)["AccessKey"]
    before = boto3.DEFAULT_SESSION
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    boto3.setup_default_session()
    try:
        check("tree_reduction.py", capsys)
        functions = ("StoredExecutor", "StoredInvoker", "StoredBootstrap")
        assert Logs(functions).of_run("of nobody") == []
        table, bucket, _ = place(stored.outputs()["StoreUrl"])
        for service, call, arguments in (
            ("lambda", "delete_function", {"FunctionName": "StoredExecutor"}),
            ("lambda", "invoke", {"FunctionName": "StoredBootstrap"}),
            ("cloudformation", "delete_stack", {"StackName": STACK}),
            ("dynamodb", "delete_table", {"TableName": table}),
            ("s3", "delete_bucket", {"Bucket": bucket}),
        ):
            client: Any = boto3.client(service)  # type: ignore[call-overload]
            with pytest.raises(ClientError, match="AccessDenied"):
                getattr(client, call)(**arguments)
    finally:
        boto3.DEFAULT_SESSION = before
        iam.delete_access_key(UserName=user, AccessKeyId=key["AccessKeyId"])
        iam.detach_user_policy(UserName=user, PolicyArn=stored.outputs()["ClientPolicyArn"])
        iam.delete_user(UserName=user)


def test_another_storage_is_a_stack_update_which_reaches_the_functions(
    stored: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, bucket, prefix = place(stored.outputs()["StoreUrl"])
    # Something that a run has left keeps CloudFormation from deleting the bucket.
    s3: Any = boto3.client("s3")
    s3.put_object(Bucket=bucket, Key=f"{prefix}/left", Body=b"left")
    told = read("deploy", "--storage", "valkey", cwd=tmp_path)
    assert told["storage"]["kind"] == "valkey"
    assert kind_of(stored.outputs()) is StorageKind.VALKEY
    assert function_store("Executor") == function_store("Invoker") == load_config().store.url
    dynamodb: Any = boto3.client("dynamodb")
    until(lambda: table not in dynamodb.list_tables()["TableNames"], "the table to be deleted")
    assert bucket not in {one["Name"] for one in s3.list_buckets()["Buckets"]}
    for script in sorted(TINY):
        check(script, capsys)


def test_without_a_word_of_storage_it_stays(stored: Stack) -> None:
    given = Wishes().given(load_config(), kind_of(stored.outputs()))
    assert "Runtime" in given
    assert not [name for name in given if name.startswith("Stor")]


@pytest.fixture
def network(stored: Stack, tmp_path: Path) -> Iterator[Stack]:
    """The network's stack, with a Valkey behind TLS in place of the cache that is not there."""
    stack = stored.sibling("stored-network")
    template = Template("template-network.yaml")
    with EmbeddedValkey() as server, behind_tls(server, tmp_path) as address:
        # There, !GetAZs knows the one zone of the one default subnet.
        zones = {"ZoneNames": f"{REGION}a,{REGION}b"}
        # Longer than a request may hold, so that it goes by a bucket.
        long = template.text + "# nothing\n" * (BODY_BYTES // 10)
        stack.apply(long, {"Embedded": "true", "EmbeddedAddress": address, **zones})
        rules = template.properties("CacheUser")["AccessString"].split()
        password = stack.secret(stack.outputs()["StoreSecretArn"])["password"]
        with closing(Valkey.from_url(server.url)) as admin:
            admin.execute_command("ACL", "SETUSER", "default", "reset", f">{password}", *rules)
        yield stack


def test_the_networks_cache_is_used_with_its_subnets_and_the_password_of_its_secret(
    stored: Stack,
    network: Stack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Nothing leads there but the stack.
    monkeypatch.delenv("WUKONG_STORE_URL")
    choice = {"Storage": "valkey", "NetworkStack": network.name, "StoreUrl": ""}
    assert stored.apply(stored.template(), choice)
    made, outputs = network.outputs(), stored.outputs()
    password = network.secret(made["StoreSecretArn"])["password"]
    assert (outputs["Storage"], outputs["StoreUrl"]) == ("valkey", made["StoreUrl"])
    assert password not in json.dumps([outputs, made])
    secret = made["StoreUrl"].replace("://", f"://default:{password}@")
    assert function_store("Executor") == function_store("Invoker") == secret
    client: Any = boto3.client("lambda")
    vpc = client.get_function_configuration(FunctionName="StoredExecutor", Qualifier="live")
    assert sorted(vpc["VpcConfig"]["SubnetIds"]) == sorted(made["SubnetIds"].split(","))
    assert vpc["VpcConfig"]["SecurityGroupIds"] == [made["SecurityGroupIds"]]
    for script in sorted(TINY):
        check(script, capsys)
    # It is imported from, so it must outlive this stack.
    stored.delete()
    network.delete()
