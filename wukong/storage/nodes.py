"""Which Valkey server has a run: the one there is, or in cluster mode the node of its hash slot.

A single server needs nothing of this. A node of a cluster answers MOVED for a run that another has;
where it sent us is kept for the slot, until a node is gone or says otherwise.
https://valkey.io/topics/cluster-spec/
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from valkey import Valkey
from valkey.backoff import ExponentialBackoff
from valkey.crc import key_slot
from valkey.exceptions import ConnectionError as ValkeyConnectionError
from valkey.exceptions import ResponseError, ValkeyError
from valkey.exceptions import TimeoutError as ValkeyTimeoutError
from valkey.retry import Retry

from wukong.storage.terms import (
    StorageError,
)

T = TypeVar("T")

CONNECT_SECONDS = 5.0
REPLY_SECONDS = 30.0
RETRIES = 3

MOVING_SECONDS = 20.0
"""How long to wait for slots that move and nodes that are replaced: a failover takes seconds."""

PAUSE_SECONDS = 0.1

# The library's client of one server gives these as they are written, in a pipeline after more text.
_MOVED = re.compile(r"\bMOVED \d+ (\S*):(\d+)")
_MOVING = re.compile(r"\b(ASK|TRYAGAIN|CLUSTERDOWN|MASTERDOWN|READONLY)\b")


class Nodes:
    """Connections to the servers behind a URL; they open when they are first used."""

    def __init__(self, url: str) -> None:
        self.url = url
        # The library types its replies as 'awaitable or not'; this is the blocking client.
        self._seed: Any = _client(url)
        self._nodes: dict[str, Any] = {}
        self._homes: dict[int, Any] = {}

    def on(self, run: str, act: Callable[[Any], T]) -> T:
        """Act on the server that has a run's keys; `act` is called again on the right one.

        Raises
        ------
        StorageError
            If it cannot be reached, or refuses.
        """
        slot = key_slot(run.encode())
        until = time.monotonic() + MOVING_SECONDS
        with self._reached():
            while True:
                server = self._homes.get(slot, self._seed)
                try:
                    return act(server)
                except ResponseError as error:
                    moved = _MOVED.search(str(error))
                    if not (moved or _MOVING.search(str(error))) or time.monotonic() > until:
                        raise
                    if moved:
                        self._homes[slot] = self._node(moved.group(1), int(moved.group(2)))
                    else:
                        time.sleep(PAUSE_SECONDS)
                except (ValkeyConnectionError, ValkeyTimeoutError):
                    if server is self._seed or time.monotonic() > until:
                        raise
                    # The node may be gone; any other knows who has its slots now.
                    self._homes.pop(slot, None)

    def ping(self) -> None:
        """Raise `StorageError` unless the server answers."""
        with self._reached():
            self._seed.ping()

    def everywhere(self, act: Callable[[Any], list[T]]) -> list[T]:
        """Act on each server that has keys, and give what all of them gave."""
        with self._reached():
            if not self._seed.info("cluster")["cluster_enabled"]:
                return act(self._seed)
            shards = self._seed.execute_command("CLUSTER", "SLOTS")
            homes = {(shard[2][0].decode(), int(shard[2][1])) for shard in shards}
            return [one for home in sorted(homes) for one in act(self._node(*home))]

    def close(self) -> None:
        """Give back the connections."""
        for server in (self._seed, *self._nodes.values()):
            server.close()

    def _node(self, host: str, port: int) -> Any:
        """Give the client of a node; without a host it is on the one that we asked."""
        parts = urlsplit(self.url)
        user = parts.netloc.rpartition("@")[0]
        where = f"{host or parts.hostname}:{port}"
        if where not in self._nodes:
            scheme = "valkey" if parts.scheme == "unix" else parts.scheme
            netloc = f"{user}@{where}" if user else where
            path = "" if parts.scheme == "unix" else parts.path
            self._nodes[where] = _client(urlunsplit((scheme, netloc, path, parts.query, "")))
        return self._nodes[where]

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn what the client library raises into one clear error, without the password."""
        try:
            yield
        except (ValkeyConnectionError, ValkeyTimeoutError) as error:
            raise StorageError(
                f"store {_address(self.url)} cannot be reached: {error}",
                "Check the URL (WUKONG_STORE_URL of the functions, store.url of the client), that "
                "the server runs, and that subnets and security groups let this machine through.",
            ) from error
        except ValkeyError as error:
            raise StorageError(
                f"store {_address(self.url)} refused a command: {error}",
                "It must be Valkey or Redis 7 or later, with enough memory and noeviction.",
            ) from error


def _client(url: str) -> Any:
    return Valkey.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=REPLY_SECONDS,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), RETRIES),
        retry_on_error=[ValkeyConnectionError, ValkeyTimeoutError],
    )


def _address(url: str) -> str:
    """Host and port of a store URL, without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
