"""The parameter `Storage`: what the template makes for each value, and who may do what with it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.storage.test_dynamo_rights import rights_of
from tests.templates import BOOTSTRAP, NETWORK, Template

ADDRESS = "valkeys://cache.example:6379"
MADE = {"StoreTable", "StoreBucket", "StoreBucketPolicy"}
TABLE_URL = "dynamodb+s3://${StoreTable}/${StoreBucket}/wukong"


def template(**parameters: str) -> Template:
    return Template(BOOTSTRAP, **parameters)


def environment(found: Template) -> dict[str, Any]:
    variables: dict[str, Any] = found.properties("BootstrapFunction")["Environment"]["Variables"]
    return variables


def test_a_first_deployment_needs_no_network_and_costs_nothing_while_idle() -> None:
    found = template()
    assert found.resources.keys() >= MADE
    assert found.properties("StoreTable")["BillingMode"] == "PAY_PER_REQUEST"
    assert environment(found)["WUKONG_SUBNET_IDS"] == ""
    assert found.outputs["Storage"] == "dynamodb"


def test_with_dynamodb_the_functions_are_given_the_stacks_own_table_and_bucket() -> None:
    found = template(Storage="dynamodb")
    assert environment(found)["WUKONG_STORE_URL"] == TABLE_URL
    assert found.properties("Functions")["StoreUrl"] == TABLE_URL


@pytest.mark.parametrize("storage", ["dynamodb", "valkey", "url"])
def test_an_address_that_is_given_is_used_and_nothing_is_made(storage: str) -> None:
    """So a stack of a release without this parameter keeps its store when it is updated."""
    found = template(Storage=storage, StoreUrl=ADDRESS)
    assert not MADE & found.resources.keys()
    assert environment(found)["WUKONG_STORE_URL"] == ADDRESS
    assert found.properties("Functions")["StoreUrl"] == ADDRESS
    assert "HasNetwork" in found.body["Conditions"]
    assert not found.holds("HasNetwork")
    assert found.outputs["Storage"] == ("valkey" if storage == "valkey" else "url")


def test_with_valkey_the_functions_are_in_the_networks_subnets_and_use_its_cache() -> None:
    found = template(Storage="valkey", NetworkStack="net")
    assert not MADE & found.resources.keys()
    variables = environment(found)
    assert variables["WUKONG_SUBNET_IDS"] == {"Fn::ImportValue": "net-SubnetIds"}
    assert variables["WUKONG_SECURITY_GROUP_IDS"] == {"Fn::ImportValue": "net-SecurityGroupIds"}
    address, names = variables["WUKONG_STORE_URL"]["Fn::Sub"]
    assert address.startswith("valkeys://default:{{resolve:secretsmanager:${Secret}:")
    assert address.endswith("}}@${Address}")
    assert names["Address"] == {"Fn::ImportValue": "net-StoreAddress"}
    assert found.outputs["Storage"] == "valkey"
    assert "NetworkInterfaces" in found.statements("ExecutorRole")


def test_no_reference_to_a_secret_is_given_to_the_custom_resource() -> None:
    """CloudFormation would pass it on as it is written; the bootstrap has it in its environment."""
    functions = template(Storage="valkey").properties("Functions")
    assert "StoreUrl" not in functions
    assert "resolve" not in str(functions)
    assert functions["Executor"]["SubnetIds"]["Fn::Split"][0] == ","


def test_every_change_of_the_storage_changes_a_property_of_the_custom_resource() -> None:
    """Else CloudFormation would not send it an update, and lack the attribute of the output."""
    assert template(StoreUrl="x").properties("Functions")["Storage"] == "url"
    kinds = [{"Storage": "dynamodb"}, {"Storage": "valkey"}, {"Storage": "url", "StoreUrl": "x"}]
    told = [str(template(**kind).properties("Functions")) for kind in kinds]
    assert len(set(told)) == 3


def test_the_exports_are_those_that_are_imported() -> None:
    imported = set(re.findall(r'"\$\{NetworkStack\}-(\w+)"', template().text))
    exported = set(re.findall(r'"\$\{AWS::StackName\}-(\w+)"\n', Template(NETWORK).text))
    assert (
        imported
        == exported - {"users"}
        == {*("SubnetIds", "SecurityGroupIds", "StoreAddress", "StoreSecretArn")}
    )


def test_the_outputs_hold_no_password() -> None:
    for kind in ({"Storage": "valkey"}, {"Storage": "url", "StoreUrl": "valkeys://u:secret@h"}):
        outputs = str(template(**kind).outputs)
        assert "resolve" not in outputs
        assert "secret@" not in outputs


def test_what_a_run_leaves_expires_in_table_and_bucket() -> None:
    found = template(StoreDays="3")
    expiry = found.properties("StoreTable")["TimeToLiveSpecification"]
    assert expiry == {"AttributeName": "expires", "Enabled": True}
    (rule,) = found.properties("StoreBucket")["LifecycleConfiguration"]["Rules"]
    assert rule["Status"] == "Enabled"
    assert rule["ExpirationInDays"] == found.outputs["StoreDays"] == "3"
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert "Prefix" not in rule
    assert "VersioningConfiguration" not in found.properties("StoreBucket"), "deleted is gone"


def test_the_store_goes_with_the_stack() -> None:
    found = template()
    for name in ("StoreTable", "StoreBucket"):
        assert found.resources[name]["DeletionPolicy"] == "Delete"
        assert "TableName" not in found.properties(name), "so that it can be replaced"
        assert "BucketName" not in found.properties(name), "and nobody else can have it before us"


@pytest.mark.parametrize("role", ["ExecutorRole", "InvokerRole", "ClientPolicy"])
def test_nobody_is_given_more_than_items_of_the_one_table_and_objects_of_the_one_bucket(
    role: str,
) -> None:
    found = template()
    table, bucket = (found.statements(role)[sid] for sid in ("RunsInTable", "ValuesInBucket"))
    assert table["Resource"] == {"Fn::GetAtt": ["StoreTable", "Arn"]}
    assert bucket["Resource"] == "${StoreBucket.Arn}/wukong/*"
    listing = found.statements(role)["MissValues"]
    assert listing["Resource"] == {"Fn::GetAtt": ["StoreBucket", "Arn"]}
    assert listing["Action"] == "s3:ListBucket"
    for action in table["Action"]:
        assert re.fullmatch(r"dynamodb:(\w*Item|Query)", action), action
    for action in bucket["Action"]:
        assert re.fullmatch(r"s3:((Get|Put|Delete)Object|AbortMultipartUpload)", action), action


@pytest.mark.parametrize(
    ("who", "role"),
    [("Executor", "ExecutorRole"), ("client", "ClientPolicy"), ("Invoker", "InvokerRole")],
)
def test_the_rights_are_those_that_the_page_on_the_store_lists(who: str, role: str) -> None:
    """Where they are enforced, and each seen to be used: tests/storage/test_dynamo_rights.py."""
    on_table, on_objects, on_bucket = rights_of(who)
    found = template().statements(role)
    assert set(found["RunsInTable"]["Action"]) == set(on_table)
    assert set(found["ValuesInBucket"]["Action"]) == set(on_objects)
    assert [found["MissValues"]["Action"]] == on_bucket
    assert "Condition" not in found["MissValues"], "a call for an object has no prefix"


@pytest.mark.parametrize("role", ["ExecutorRole", "InvokerRole", "ClientPolicy"])
def test_with_another_storage_nobody_is_given_anything_of_a_table(role: str) -> None:
    for kind in ({"Storage": "valkey"}, {"Storage": "url", "StoreUrl": ADDRESS}):
        found = template(**kind).statements(role)
        assert not {"RunsInTable", "ValuesInBucket", "MissValues"} & found.keys()
        assert "dynamodb:" not in str(found)


def test_only_a_client_of_a_networks_cache_may_read_its_secret() -> None:
    assert "EnterTheCache" in template(Storage="valkey").statements("ClientPolicy")
    others = [template(**kind) for kind in ({}, {"Storage": "url", "StoreUrl": ADDRESS})]
    rights = [one.statements("ClientPolicy") for one in others]
    for found in (*rights, template(Storage="valkey").statements("ExecutorRole")):
        secrets = {sid for sid, one in found.items() if "secretsmanager" in str(one)}
        assert secrets <= {"ReadSigningKey"}


def test_a_client_can_deploy_and_change_nothing() -> None:
    told = str(template().statements("ClientPolicy"))
    for verb in ("Create", "Publish", "iam:", "UpdateFunction", "DeleteFunction", "PassRole"):
        assert verb not in told
