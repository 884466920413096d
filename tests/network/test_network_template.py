"""The network's template: what is in it, who reaches what, and what the cache's user may do."""

from __future__ import annotations

import inspect
import json
import re
import string
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib.resources import files
from typing import Any

import dask
import pytest
from valkey import Valkey
from valkey.exceptions import NoPermissionError

import wukong
from tests.storage import test_contract
from tests.templates import NETWORK, Template
from wukong.config import Config
from wukong.stack.valkey import EmbeddedValkey
from wukong.storage import Arrival, NewRun, Storage, open_storage
from wukong.storage.valkey import ValkeyStorage

MORE = ("CloudFormation", "SecretsManager", "XRay")
ALL_OF_IT = {"Zones": "3", **{f"{service}Endpoint": "true" for service in MORE}}


def template(**parameters: str) -> Template:
    return Template(NETWORK, **parameters)


def test_nothing_leads_to_the_internet() -> None:
    kinds = {one["Type"] for one in template(**ALL_OF_IT).resources.values()}
    assert not kinds & {
        *("AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::Route"),
        *("AWS::EC2::EIP", "AWS::EC2::VPCPeeringConnection"),
    }
    for subnet in template().of_type("AWS::EC2::Subnet").values():
        assert subnet["MapPublicIpOnLaunch"] is False


@pytest.mark.parametrize("zones", [2, 3])
def test_there_is_a_subnet_in_each_zone_with_the_cache_and_the_endpoint(zones: int) -> None:
    found = template(Zones=str(zones))
    subnets = found.of_type("AWS::EC2::Subnet")
    assert len(subnets) == zones
    everywhere = [{"Ref": name} for name in subnets]
    assert found.properties("Cache")["SubnetIds"] == everywhere
    assert found.properties("LambdaEndpoint")["SubnetIds"] == everywhere
    assert found.outputs["SubnetIds"] == {"Fn::Join": [",", everywhere]}
    assert len(found.of_type("AWS::EC2::SubnetRouteTableAssociation")) == zones
    assert len({json.dumps(one["CidrBlock"]) for one in subnets.values()}) == zones
    assert len({json.dumps(one["AvailabilityZone"]) for one in subnets.values()}) == zones


def test_only_functions_reach_the_cache_and_the_endpoints_and_nobody_reaches_functions() -> None:
    groups = template().of_type("AWS::EC2::SecurityGroup")
    functions = {"Fn::GetAtt": ["FunctionsGroup", "GroupId"]}
    assert "SecurityGroupIngress" not in groups["FunctionsGroup"]
    for name, ports in (("CacheGroup", (6379, 6380)), ("EndpointsGroup", (443, 443))):
        (rule,) = groups[name]["SecurityGroupIngress"]
        assert rule["SourceSecurityGroupId"] == functions
        assert "CidrIp" not in rule
        assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", *ports)
        (nothing,) = groups[name]["SecurityGroupEgress"]
        assert nothing["CidrIp"] == "127.0.0.1/32", "a group without a rule may send everywhere"
    sent = {
        (rule["FromPort"], rule["ToPort"], rule["CidrIp"])
        for rule in groups["FunctionsGroup"]["SecurityGroupEgress"]
    }
    assert sent == {(6379, 6380, "10.90.0.0/20"), (443, 443, "0.0.0.0/0")}


def test_what_costs_by_the_hour_are_two_endpoints_unless_more_is_asked_for() -> None:
    def interfaces(found: Template) -> set[str]:
        endpoints = found.of_type("AWS::EC2::VPCEndpoint").values()
        paid = (one for one in endpoints if one["VpcEndpointType"] == "Interface")
        return {one["ServiceName"].rpartition(".")[2] for one in paid}

    assert interfaces(template()) == {"lambda", "secretsmanager"}
    assert interfaces(template(SecretsManagerEndpoint="false")) == {"lambda"}
    assert interfaces(template(**ALL_OF_IT)) == {"lambda", *(name.lower() for name in MORE)}


def test_from_inside_only_functions_of_the_prefix_may_be_invoked_and_nothing_else_done() -> None:
    policy = template(FunctionPrefix="Mine").properties("LambdaEndpoint")["PolicyDocument"]
    (statement,) = policy["Statement"]
    # Of these the functions' roles have the last; the others are a client's.
    looks = ["lambda:GetAlias", "lambda:GetFunctionConfiguration"]
    assert statement["Action"] == [*looks, "lambda:InvokeFunction"]
    assert statement["Resource"].endswith(":function:Mine*")


def test_every_endpoint_is_for_principals_of_this_account_only() -> None:
    for endpoint in template(**ALL_OF_IT).of_type("AWS::EC2::VPCEndpoint").values():
        for statement in endpoint["PolicyDocument"]["Statement"]:
            assert statement["Condition"] == {
                "StringEquals": {"aws:PrincipalAccount": {"Ref": "AWS::AccountId"}}
            }


def test_the_password_is_made_there_and_can_be_part_of_an_address() -> None:
    secret = template().properties("StoreSecret")["GenerateSecretString"]
    assert secret["ExcludePunctuation"] is True
    assert set(secret["ExcludeCharacters"]) == set(string.punctuation)
    user = template().properties("CacheUser")
    (password,) = user["AuthenticationMode"]["Passwords"]
    assert "resolve:secretsmanager:${StoreSecret}" in password
    assert json.loads(secret["SecretStringTemplate"])["username"] == user["UserName"]
    assert template().properties("CacheUsers")["UserIds"] == [{"Ref": "CacheUser"}]
    assert template().properties("Cache")["UserGroupId"] == {"Ref": "CacheUsers"}


def test_the_embedded_aws_which_has_no_such_cache_is_given_an_address() -> None:
    found = template(Embedded="true", EmbeddedAddress="127.0.0.1:6379")
    assert "Cache" not in found.resources
    assert found.outputs["StoreAddress"] == "127.0.0.1:6379"


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """A Valkey server whose one user may do what the template says."""
    with EmbeddedValkey() as server:
        with closing(Valkey.from_url(server.url)) as admin:
            rules = template().properties("CacheUser")["AccessString"].split()
            admin.execute_command("ACL", "SETUSER", "default", "reset", ">secret", *rules)
        yield f"unix://default:secret@{server.url.removeprefix('unix://')}"


def test_a_graph_runs_with_the_rights_of_the_caches_user(guarded: str) -> None:
    double = dask.delayed(lambda value: 2 * value)
    first = double(1)
    total = dask.delayed(sum)([double(first + number) for number in range(20)])
    config = Config(platform="threads").changed("store", url=guarded)
    with wukong.Client(config, workers=2) as client:
        future = client.compute(total)
        assert future.result() == sum(2 * (2 + number) for number in range(20))
    storage = open_storage(guarded)
    storage.ping()
    assert isinstance(storage.runs(), list)
    storage.close()


class Noting(ValkeyStorage):
    """A store that notes which operations of its script are called."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        # A cache is on another machine.
        self._mapped = None
        self.called: set[str] = set()

    def _call_all(
        self, run: str, calls: Sequence[tuple[Any, ...]], before: Sequence[tuple[Any, ...]] = ()
    ) -> list[list[Any]]:
        self.called |= {call[0] for call in calls}
        return super()._call_all(run, calls, before)


def arrive_in_pages(storage: Storage, run: str) -> None:
    """Make an output official that very many wait for."""
    children = range(1, 301)
    references = [len(children), *(1 for _ in children)]
    inputs: list[tuple[int, ...]] = [(), *((0,) for _ in children)]
    storage.create(NewRun(run, [b""] * len(inputs), inputs, references, [0]))
    lineage = test_contract.begin(storage, run, 0).lineage
    arrival = Arrival(0, b"", False, (), tuple((child, 1) for child in children), last=False)
    arrived = storage.arrive(run, lineage, arrival)
    assert len(arrived.here) + len(arrived.handed_off) == len(children)


def test_each_operation_of_the_script_is_within_the_rights_of_the_caches_user(
    guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The contract of all stores holds there, also for values that are lists of chunks."""
    with closing(Noting(guarded)) as storage:
        arrive_in_pages(storage, uuid.uuid4().hex)
        steps = [step for name, step in vars(test_contract).items() if name.startswith("test_")]
        for step in steps:
            known = {"storage": storage, "monkeypatch": monkeypatch, "chunk": 70_000}
            wanted = inspect.signature(step).parameters
            given = {name: known.get(name) or uuid.uuid4().hex for name in wanted}
            step(**given)
        script = files("wukong.storage").joinpath("protocol.lua").read_text()
        assert storage.called == set(re.findall(r"^function operation\.(\w+)", script, re.M))


@pytest.mark.parametrize(
    "words",
    [
        *("FLUSHALL", "KEYS *", "CONFIG GET *", "ACL LIST", "SHUTDOWN"),
        *("REPLICAOF NO ONE", "SAVE", "CLIENT LIST", "SET other value", "GET other"),
    ],
)
def test_the_caches_user_may_not_administer_it_nor_touch_others_keys(
    guarded: str, words: str
) -> None:
    with closing(Valkey.from_url(guarded)) as client, pytest.raises(NoPermissionError):
        client.execute_command(*words.split())
