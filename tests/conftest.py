"""What all tests share: a real Valkey server, and waiting for a condition."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from wukong.stack.embedded import EmbeddedAws
from wukong.stack.valkey import EmbeddedValkey
from wukong.storage import Storage
from wukong.storage.memory import MemoryStorage
from wukong.storage.valkey import ValkeyStorage


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    with EmbeddedValkey() as server:
        yield server.url


@pytest.fixture(scope="session")
def aws() -> Iterator[EmbeddedAws]:
    """The embedded AWS, which checks IAM policies as AWS does; one for all tests."""
    with EmbeddedAws() as running:
        yield running


@pytest.fixture(params=["valkey", "memory"])
def storage(request: pytest.FixtureRequest, valkey_url: str) -> Iterator[Storage]:
    """Every back-end; what one does, all do."""
    store: Storage = ValkeyStorage(valkey_url) if request.param == "valkey" else MemoryStorage()
    yield store
    store.close()


@pytest.fixture
def run_id() -> str:
    return uuid.uuid4().hex


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait until a condition holds; fails the test if it does not within a generous time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"waited {seconds:g} s in vain for: {what}")
        time.sleep(0.02)
