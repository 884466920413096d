"""What all tests share: a real Valkey server, and waiting for a condition."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from tests.cluster import valkey_cluster
from tests.secured import secured_valkey
from wukong.stack.embedded import EmbeddedAws
from wukong.stack.valkey import EmbeddedValkey
from wukong.storage import Storage
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
def cluster_url() -> Iterator[str]:
    """Three Valkey servers that share the slots; the address of one of them."""
    with valkey_cluster(3) as url:
        yield url


@pytest.fixture(scope="session")
def secured_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey server that wants TLS and a password."""
    with secured_valkey(tmp_path_factory.mktemp("secured")) as url:
        yield url


@pytest.fixture(params=["valkey", "cluster", "secured", "memory", "signed"])
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    """Every back-end; what one does, all do."""
    store: Storage
    if request.param == "memory":
        store = MemoryStorage()
    elif request.param == "signed":
        keys = Keys("env:KEY", lambda *_: ["k" * 32])
        store = SignedStorage(ValkeyStorage(request.getfixturevalue("valkey_url")), keys)
    else:
        store = ValkeyStorage(request.getfixturevalue(f"{request.param}_url"))
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
