"""What all tests share: a real Valkey server, and waiting for a condition."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

import boto3
import pytest

from tests.cluster import valkey_cluster
from tests.secured import secured_valkey
from tests.storage.fake_dynamo import FakeAws, FakeObjects, FakeTable
from wukong.stack.dynamo import provide
from wukong.stack.embedded import EmbeddedAws
from wukong.stack.valkey import EmbeddedValkey
from wukong.storage import Storage
from wukong.storage.dynamo.backend import DynamoStorage
from wukong.storage.dynamo.together import one_by_one
from wukong.storage.keys import Keys
from wukong.storage.memory import MemoryStorage
from wukong.storage.signing import SignedStorage
from wukong.storage.valkey import ValkeyStorage

T = TypeVar("T")


@pytest.fixture(scope="session", autouse=True)
def wukong_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what runs of the tests did out of the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WUKONG_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module", autouse=True)
def no_credentials_of_other_modules() -> None:
    """Have boto3 look for credentials anew: it keeps the first that it has found."""
    boto3.DEFAULT_SESSION = None


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    with EmbeddedValkey() as server:
        yield server.url


@pytest.fixture(scope="session")
def aws() -> Iterator[EmbeddedAws]:
    """The embedded AWS, which checks IAM policies as AWS does; one for all tests."""
    with EmbeddedAws() as running:
        yield running


@pytest.fixture(scope="session")
def dynamo_place(aws: EmbeddedAws) -> str:
    """A table and a bucket on the embedded AWS; their URL."""
    url = "dynamodb+s3://wukong-tests/wukong-tests-outputs/runs"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        provide(url)
    return url


@pytest.fixture
def dynamo_url(aws: EmbeddedAws, dynamo_place: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same, with the environment in which boto3 finds it."""
    for name, value in aws.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return dynamo_place


@pytest.fixture(scope="session")
def dynamo_storage(aws: EmbeddedAws, dynamo_place: str) -> Iterator[DynamoStorage]:
    """One store for many tests: boto3 takes half a second to make two clients."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        store = DynamoStorage.at(dynamo_place)
        store.ping()
    yield store
    store.close()


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """Three Valkey servers that share the slots; the address of one of them."""
    with valkey_cluster(3) as url:
        yield url


@pytest.fixture(scope="session")
def secured_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey server that wants TLS and a password."""
    with secured_valkey(tmp_path_factory.mktemp("secured")) as url:
        yield url


BACK_ENDS = ("valkey", "cluster", "secured", "memory", "dynamo", "dynamo in memory")


@pytest.fixture(params=[*BACK_ENDS, "signed valkey", "signed dynamo in memory"])
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    """Every back-end; what one does, all do."""
    store: Storage
    kind = request.param.removeprefix("signed ")
    if kind == "memory":
        store = MemoryStorage()
    elif kind == "dynamo in memory":
        aws = FakeAws()
        store = DynamoStorage(FakeTable(aws), FakeObjects(aws), one_by_one, time.time)
    elif kind == "dynamo":
        yield request.getfixturevalue("dynamo_storage")
        return
    else:
        store = ValkeyStorage(request.getfixturevalue(f"{kind}_url"))
    if kind != request.param:
        store = SignedStorage(store, Keys("env:KEY", lambda *_: ["k" * 32]))
    yield store
    store.close()


@pytest.fixture
def run_id() -> str:
    return uuid.uuid4().hex


def until(
    condition: Callable[[], T | None], what: str | Callable[[], str], seconds: float = 60.0
) -> T:
    """Wait until a condition gives something true, and give that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    story = what if isinstance(what, str) else what()
    raise AssertionError(f"waited {seconds:g} seconds in vain for {story}")
