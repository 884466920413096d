"""What `wukong deploy --storage` asks the template for, and where a client then finds the store."""

from __future__ import annotations

from typing import Any

import pytest

from tests.templates import ROOT
from wukong.cli.output import Output
from wukong.cli.storing import Choice, StorageChoiceError, ensure_network
from wukong.stack.stores import StorageKind, network_of, store_url

HERE = "valkeys://configured.example:6379"
GIVEN = "valkeys://given.example:6379"
TEMPLATE = ROOT / "template-network.yaml"
DYNAMODB, VALKEY, URL = StorageKind.DYNAMODB, StorageKind.VALKEY, StorageKind.URL


def asked(
    kind: StorageKind | None = None,
    url: str | None = None,
    configured: str | None = None,
    *,
    current: StorageKind | None = None,
    embedded: bool = False,
) -> dict[str, str]:
    return Choice(kind, url, configured, embedded).parameters(current)


def test_where_nobody_says_anything_the_template_decides_or_the_stack_stays_as_it_is() -> None:
    assert asked() == {}
    for kind in StorageKind:
        assert asked(current=kind) == {}


def test_an_address_is_the_storage_url() -> None:
    assert asked(url=GIVEN, configured=HERE) == {"Storage": "url", "StoreUrl": GIVEN}
    assert asked(configured=HERE) == {"Storage": "url", "StoreUrl": HERE}
    assert asked(configured=HERE, current=URL) == {"StoreUrl": HERE}, "as it is, but for that"
    assert asked(URL, configured=HERE, current=DYNAMODB) == {"Storage": "url", "StoreUrl": HERE}


@pytest.mark.parametrize("current", [DYNAMODB, VALKEY])
def test_a_configured_address_takes_no_stack_from_the_store_that_it_made(
    current: StorageKind,
) -> None:
    assert asked(configured=HERE, current=current) == {}
    assert asked(url=GIVEN, current=current)["StoreUrl"] == GIVEN, "unless it is asked to"


@pytest.mark.parametrize("kind", [DYNAMODB, VALKEY])
def test_a_store_that_the_stack_makes_clears_the_address_it_had(kind: StorageKind) -> None:
    assert asked(kind, configured=HERE, current=URL) == {"Storage": kind.value, "StoreUrl": ""}


def test_on_the_embedded_aws_valkey_is_its_own_valkey() -> None:
    found = asked(VALKEY, configured="unix:///valkey.sock", embedded=True)
    assert found == {"Storage": "valkey", "StoreUrl": "unix:///valkey.sock"}
    assert network_of(found) is None


def test_the_network_is_asked_for_only_where_its_cache_is_used() -> None:
    assert network_of(asked(VALKEY)) == "wukong-network"
    assert network_of({**asked(VALKEY), "NetworkStack": "mine"}) == "mine"
    assert network_of(asked(DYNAMODB)) is None
    assert network_of(asked(url=GIVEN)) is None
    assert network_of({}) is None


@pytest.mark.parametrize(
    ("kind", "url", "embedded", "named"),
    [
        (DYNAMODB, GIVEN, False, "--storage dynamodb makes a store of its own"),
        (VALKEY, GIVEN, False, "--storage valkey makes a store of its own"),
        (URL, None, False, "--storage url needs an address"),
        (VALKEY, None, True, "--storage valkey needs an address"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_to_do(
    kind: StorageKind, url: str | None, embedded: bool, named: str
) -> None:
    with pytest.raises(StorageChoiceError, match=named) as caught:
        asked(kind, url, embedded=embedded)
    assert caught.value.hint


class Beside:
    """A stack of the network that is there with some status, or is not there."""

    def __init__(self, status: str | None) -> None:
        self._status = status
        self.made: list[dict[str, str]] = []

    def sibling(self, name: str) -> Beside:
        assert name == "wukong-network"
        return self

    def describe(self) -> dict[str, str] | None:
        return None if self._status is None else {"StackStatus": self._status}

    def apply(self, body: str, parameters: dict[str, str]) -> bool:
        assert "AWS::ElastiCache::ServerlessCache" in body
        self.made.append(parameters)
        return True


def made(status: str | None, **given: str) -> list[dict[str, str]]:
    """Deploy with a network's stack; gives what it was made with, if it was."""
    beside: Any = Beside(status)
    ensure_network(Output(as_json=True), "wukong-network", beside, TEMPLATE, given)
    found: list[dict[str, str]] = beside.made
    return found


def test_the_network_is_made_once_for_the_functions_names() -> None:
    assert made(None) == [{}]
    assert made(None, FunctionPrefix="Mine", Runtime="x") == [{"FunctionPrefix": "Mine"}]
    for status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"):
        assert made(status, FunctionPrefix="Mine") == []


def test_a_network_that_was_never_completed_is_refused_by_name() -> None:
    with pytest.raises(StorageChoiceError, match="wukong-network is ROLLBACK_COMPLETE") as caught:
        made("ROLLBACK_COMPLETE")
    assert "Delete it" in caught.value.hint


class Secrets:
    """A stack of which only the secret is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def secret(self, arn: str) -> dict[str, str]:
        self.asked.append(arn)
        return {"username": "default", "password": "pass/word"}


def found(outputs: dict[str, str], configured: str | None) -> tuple[str | None, list[str]]:
    stack: Any = Secrets()
    return store_url(stack, outputs, configured), stack.asked


TABLE = {"Storage": "dynamodb", "StoreUrl": "dynamodb+s3://t/b/wukong"}
CACHE = {"Storage": "valkey", "StoreUrl": "valkeys://cache:6379", "StoreSecretArn": "arn"}
ADDRESS = {"Storage": "url", "StoreUrl": "valkeys://host:6379"}


def test_a_client_finds_the_stacks_own_table_whatever_else_is_configured() -> None:
    """Executors are there and nowhere else; in another store its runs would wait for ever."""
    assert found(TABLE, None) == found(TABLE, HERE) == (TABLE["StoreUrl"], [])


def test_a_client_finds_the_networks_cache_with_the_password_from_its_secret() -> None:
    assert found(CACHE, None) == ("valkeys://default:pass%2Fword@cache:6379", ["arn"])


def test_a_client_may_reach_the_same_server_by_another_address() -> None:
    assert found(CACHE, HERE) == found(ADDRESS, HERE) == (HERE, [])
    assert found(ADDRESS, None) == (ADDRESS["StoreUrl"], [])


def test_a_stack_of_an_earlier_release_leaves_it_to_the_configuration() -> None:
    assert found({}, HERE) == (HERE, [])
    assert found({}, None) == (None, [])
    assert found({"Storage": "url", "StoreUrl": ""}, None) == (None, [])
