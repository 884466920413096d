"""The templates' policies and what they guard: wildcards with reasons, closed buckets, keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.templates import BOOTSTRAP, ROOT, Template
from wukong.stack.leaving import own_policy

TEMPLATES = sorted(ROOT.glob("template-*.yaml"))

WILD = re.compile(
    r"""
    (Resource|Principal|Action|NotAction|NotResource|AWS):\s*\[?\s*["']?\*["']?   # everything
    | ^\s*-\s*["']\*["']\s*$                                       # the same in a list
    | \b[a-z0-9]+:\*                                               # every action of a service
    | :\*:\*: | :\*:(?!["'])                                       # any region or account
    """,
    re.VERBOSE,
)


def wild_lines(lines: list[str]) -> Iterator[int]:
    """Give the numbers of lines of policies with a wildcard; versions of one function are none."""
    for number, line in enumerate(lines):
        text = line.split(" #")[0]
        if not text.lstrip().startswith("#") and WILD.search(text) and in_statement(lines, number):
            yield number


def in_statement(lines: list[str], number: int) -> bool:
    return statement_of(lines, number) is not None


def statement_of(lines: list[str], number: int) -> list[str] | None:
    """Give the lines of a statement up to this one, with the choice around it; None outside."""
    first = number
    indent = len(lines[number]) - len(lines[number].lstrip())
    while first >= 0:
        line = lines[first]
        own = len(line) - len(line.lstrip())
        if re.match(r"\s*- (Sid|Effect):", line) and own <= indent:
            break
        if line.strip() and own < indent - 8:
            return None
        first -= 1
    else:
        return None
    while re.match(r"\s*(#|- !If$|- [A-Z]\w+$)", lines[first - 1]):
        first -= 1
    return lines[first : number + 1]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_wildcard_of_a_policy_has_its_reason_beside_it(template: Path) -> None:
    lines = template.read_text().splitlines()
    bare = [
        f"{template.name}:{number + 1}: {lines[number].strip()}"
        for number in wild_lines(lines)
        if not any("#" in line for line in statement_of(lines, number) or [])
    ]
    assert bare == []


def test_a_wildcard_without_a_reason_would_be_found() -> None:
    """So the test above can fail."""
    lines = (ROOT / "template-bootstrap.yaml").read_text().splitlines()
    found = list(wild_lines(lines))
    assert len(found) >= 8
    bare = [line for line in lines if not line.lstrip().startswith("#")]
    left = [n for n in wild_lines(bare) if not any("#" in x for x in statement_of(bare, n) or [])]
    assert len(left) == len(found)


KEY = "arn:aws:kms:eu-west-1:111122223333:key/1"
BOUNDARY = "arn:aws:iam::111122223333:policy/boundary"
ROLES = ("BootstrapRole", "ExecutorRole", "InvokerRole")


def every_template(**parameters: str) -> Iterator[Template]:
    """Give each template with those of the parameters that it has."""
    for path in TEMPLATES:
        known = Template(path.name).body["Parameters"]
        yield Template(path.name, **{k: v for k, v in parameters.items() if k in known})


def of_type(kind: str, **parameters: str) -> dict[str, dict[str, Any]]:
    """Give the properties of all resources of a type, of all templates."""
    return {
        name: properties
        for template in every_template(**parameters)
        for name, properties in template.of_type(kind).items()
    }


def values_of(name: str, inside: Any) -> list[Any]:
    """Give the values of a property, however deep it is."""
    if isinstance(inside, list):
        return [found for one in inside for found in values_of(name, one)]
    if not isinstance(inside, dict):
        return []
    own = [inside[name]] if name in inside else []
    return own + [found for one in inside.values() for found in values_of(name, one)]


def test_a_boundary_bounds_every_role() -> None:
    bounded = of_type("AWS::IAM::Role", PermissionsBoundaryArn=BOUNDARY)
    assert bounded.keys() == set(ROLES)
    assert {one["PermissionsBoundary"] for one in bounded.values()} == {BOUNDARY}
    assert not [one for one in of_type("AWS::IAM::Role").values() if "PermissionsBoundary" in one]


def test_a_roles_one_policy_is_named_as_a_deletion_knows_it() -> None:
    """So that no other is taken for the stack's own; and no policy of others is attached."""
    for role, properties in of_type("AWS::IAM::Role").items():
        assert [one["PolicyName"] for one in properties["Policies"]] == [own_policy(role)]
        assert "ManagedPolicyArns" not in properties
    attached = of_type("AWS::IAM::Policy") | of_type("AWS::IAM::RolePolicy")
    assert not attached, "it would be a role's second one"
    assert not values_of("Roles", of_type("AWS::IAM::ManagedPolicy"))


def test_the_log_of_every_function_is_kept_as_long_as_is_said() -> None:
    groups = of_type("AWS::Logs::LogGroup", LogRetentionDays="7")
    assert {one["LogGroupName"] for one in groups.values()} == {
        f"/aws/lambda/Wukong{name}" for name in ("Bootstrap", "Executor", "Invoker")
    }
    assert {one["RetentionInDays"] for one in groups.values()} == {"7"}


def test_every_bucket_refuses_everybody_who_comes_without_tls() -> None:
    denied = {}
    for properties in of_type("AWS::S3::BucketPolicy").values():
        for one in properties["PolicyDocument"]["Statement"]:
            if one.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}:
                denied[properties["Bucket"]["Ref"]] = one
    assert denied.keys() == of_type("AWS::S3::Bucket").keys() == {"PackageBucket", "StoreBucket"}
    for bucket, one in denied.items():
        assert (one["Effect"], one["Principal"], one["Action"]) == ("Deny", "*", "s3:*")
        assert one["Resource"] == [{"Fn::GetAtt": [bucket, "Arn"]}, f"${{{bucket}.Arn}}/*"]


def test_only_the_executor_may_read_the_signing_key() -> None:
    """Of the functions; the Invoker passes on what it does not read."""
    for name in ROLES:
        told = Template(BOOTSTRAP).statements(name).values()
        reading = [one for one in told if "secretsmanager" in str(one["Action"])]
        assert len(reading) == (name == "ExecutorRole")
        for one in reading:
            assert one["Resource"] == {"Fn::GetAtt": ["StoreSigningKey", "Id"]}


def test_a_signing_key_of_ones_own_is_read_and_without_one_nothing_is() -> None:
    arn = "arn:aws:ssm:eu-west-1:111122223333:parameter/key"
    for role in ("ExecutorRole", "ClientPolicy"):
        own = Template(BOOTSTRAP, SigningKey=arn).statements(role)["ReadSigningKey"]
        assert own["Resource"] == arn
        assert "ReadSigningKey" not in Template(BOOTSTRAP, SigningKey="none").statements(role)


def test_the_bootstrap_may_read_any_layer_whoever_names_it() -> None:
    """The package's manifest names layers too, which no condition of the template can see."""
    body = Template(BOOTSTRAP).body["Resources"]["BootstrapRole"]["Properties"]["Policies"][0]
    (one,) = [one for one in body["PolicyDocument"]["Statement"] if "UseLayers" in str(one)]
    assert one["Sid"] == "UseLayers", "it depends on no condition"
    assert one["Action"] == "lambda:GetLayerVersion"
    assert one["Resource"]["Fn::Sub"].endswith(":*:layer:*")


def test_a_client_may_read_the_logs_of_all_three_and_not_start_the_bootstrap() -> None:
    """What `wukong logs` asks for, and the query that it prints with --insights."""
    told = Template(BOOTSTRAP).statements("ClientPolicy")
    assert set(told["ReadLogs"]["Action"]) == {"logs:FilterLogEvents", "logs:StartQuery"}
    groups = ("Bootstrap", "Executor", "Invoker")
    assert [one.rpartition("log-group:")[2] for one in told["ReadLogs"]["Resource"]] == [
        f"${{{component}LogGroup}}:*" for component in groups
    ]
    assert told["ReadAnswers"]["Action"] == "logs:GetQueryResults"
    actions = [one["Action"] for one in told.values() if "logs:" in str(one["Action"])]
    assert len(actions) == 2
    bootstrap = [one for one in told.values() if ":WukongBootstrap" in str(one["Resource"])]
    assert [(one["Sid"], one["Action"]) for one in bootstrap] == [
        ("FindItsLog", "lambda:GetFunctionConfiguration")
    ]


def test_the_signing_key_itself_is_in_no_template_and_no_secret_in_an_output() -> None:
    for template in every_template():
        assert not re.search(r"resolve:(secretsmanager|ssm-secure):[^}]*SigningKey", template.text)
        assert "resolve:" not in str(template.body.get("Outputs"))


def test_every_bucket_is_closed_and_encrypted_and_every_queue_too() -> None:
    for bucket in of_type("AWS::S3::Bucket").values():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert values_of("SSEAlgorithm", bucket["BucketEncryption"]) == ["AES256"]
        assert bucket["OwnershipControls"]
    for queue in of_type("AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True


KEPT = {
    "AWS::DynamoDB::Table": "KMSMasterKeyId",
    "AWS::S3::Bucket": "KMSMasterKeyID",
    "AWS::SQS::Queue": "KmsMasterKeyId",
    "AWS::Logs::LogGroup": "KmsKeyId",
    "AWS::SecretsManager::Secret": "KmsKeyId",
    "AWS::Serverless::Function": "KmsKeyArn",
}
"""What keeps something of a stack, and the property that says with which key."""


@pytest.mark.parametrize("kind", KEPT)
def test_a_customer_key_is_used_for_everything_that_is_kept(kind: str) -> None:
    with_key = Template(BOOTSTRAP, KmsKeyArn=KEY)
    assert with_key.of_type(kind)
    for name, properties in with_key.of_type(kind).items():
        assert values_of(KEPT[kind], properties) == [KEY], name
    for properties in Template(BOOTSTRAP).of_type(kind).values():
        assert values_of(KEPT[kind], properties) == [], "nobody has asked for one"


def test_a_customer_key_is_really_that_of_table_buckets_and_both_functions() -> None:
    """Where another property says whether the key counts."""
    found = Template(BOOTSTRAP, KmsKeyArn=KEY)
    table = found.properties("StoreTable")["SSESpecification"]
    assert (table["SSEEnabled"], table["SSEType"]) == (True, "KMS")
    for bucket in found.of_type("AWS::S3::Bucket").values():
        assert values_of("SSEAlgorithm", bucket) == ["aws:kms"]
    assert found.properties("FailedEvents").get("SqsManagedSseEnabled") is None
    assert values_of("KmsKey", found.properties("Functions")) == [KEY, KEY]
    without = Template(BOOTSTRAP).properties("StoreTable")["SSESpecification"]
    assert without == {"SSEEnabled": False}


@pytest.mark.parametrize("role", ["ExecutorRole", "InvokerRole", "ClientPolicy"])
def test_who_uses_the_stacks_table_may_use_its_key_for_that_and_nobody_else(role: str) -> None:
    one = Template(BOOTSTRAP, KmsKeyArn=KEY).statements(role)["RunsWithKey"]
    assert one["Resource"] == KEY
    assert {"kms:Decrypt", "kms:GenerateDataKey"} < set(one["Action"])
    (services,) = one["Condition"]["StringEquals"].values()
    assert {name.partition(".")[0] for name in services} == {"dynamodb", "s3"}
    elsewhere = {"StoreUrl": "valkeys://cache.example:6379", "KmsKeyArn": KEY}
    for parameters in ({}, elsewhere):
        assert "RunsWithKey" not in Template(BOOTSTRAP, **parameters).statements(role)
