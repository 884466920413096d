"""The measuring of `engines.py`: starts the engines, has them take turns, compares results."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import dask.threaded
import numpy as np
from baselines.numpywren_style import NumpywrenStyle
from baselines.wukong_style import WukongStyle
from report import Measured, ratios, table, verdicts
from valkey import Valkey
from workloads import WORKLOADS, Workload, tasks_of

import wukong
from wukong.record import RunRecord
from wukong.stack.valkey import EmbeddedValkey
from wukong.storage.mapped import MAPPED_BYTES
from wukong.storage.notes import Way

WORKERS = 2
REFERENCE = "threads"
PEERS = ("threads", "distributed", "wukong_style", "numpywren_style")
QUICK = ("tree_1024", "chain_2000", "fan_5000", "tsqr")
"""What runs if nothing is asked for: less than two minutes."""

Get = Callable[..., Any]


@dataclass
class Traffic:
    """What went through a server, as it counts itself.

    A server reads and writes once for each round trip, more often if a message is large; so the
    smaller number of the two is what is closest.
    """

    server: Any
    before: Mapping[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """Remember the counters."""
        self.before = self.server.info("stats")

    def end(self) -> tuple[int, int, int]:
        """Give bytes written, bytes read, and round trips."""
        now = self.server.info("stats")

        def since(name: str) -> int:
            return int(now[name]) - int(self.before[name])

        trips = min(since("total_reads_processed"), since("total_writes_processed"))
        return since("total_net_input_bytes"), since("total_net_output_bytes"), trips


def with_files(moved: tuple[int, int, int], record: RunRecord) -> tuple[int, int, int]:
    """Add what a run moved through shared memory, by its own record.

    An input that was mapped counts as read, whether or not the task looked at all of it.
    """
    written, read, trips = moved
    files = sum(size for size in record.steps["written"] if size >= MAPPED_BYTES)
    return written + files, max(read, record.traffic[Way.STORE]), trips


def processor_seconds() -> float:
    """Give the processor time of this process, the store and all workers so far (Linux's /proc).

    Unlike the time on the clock, it does not depend on what else the machine does.
    """
    parents: dict[int, list[int]] = {}
    ticks = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # The name of the program, in brackets, may hold blanks.
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            parents.setdefault(int(words[1]), []).append(int(folder.name))
            ticks[int(folder.name)] = int(words[11]) + int(words[12])
    family = [os.getpid()]
    for process in family:
        family += parents.get(process, [])
    return sum(ticks[process] for process in family) / os.sysconf("SC_CLK_TCK")


@contextmanager
def distributed_cluster() -> Iterator[Get]:
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        sys.exit("distributed is not installed: pip install 'wukong[benchmarks]', or --peers ...")
    # At the end of a run it complains about connections that it closes itself.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with (
        LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            dashboard_address=None,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client.get


def engines(
    url: str, peers: Sequence[str], stack: ExitStack
) -> tuple[dict[str, Get], wukong.Client]:
    """Start Wukong and its peers, each with its own workers."""
    found: dict[str, Get] = {}
    if REFERENCE in peers:
        found[REFERENCE] = partial(dask.threaded.get, num_workers=WORKERS)
    config = wukong.Config().changed("store", url=url)
    client = wukong.Client(config, platform="local", workers=WORKERS)
    found["wukong"] = stack.enter_context(closing(client)).get
    # Before distributed puts what it wants of malloc for its own workers into the environment.
    client.get({"begun": (int,)}, "begun")
    if "distributed" in peers:
        found["distributed"] = stack.enter_context(distributed_cluster())
    for name, kind in {"wukong_style": WukongStyle, "numpywren_style": NumpywrenStyle}.items():
        if name in peers:
            found[name] = stack.enter_context(closing(kind(url, WORKERS))).get
    return found, client


def measure(
    name: str,
    workload: Workload,
    get: Mapping[str, Get],
    client: wukong.Client,
    rounds: int,
    server: Any,
) -> Any:
    """Run one workload with every engine in turn; the client is Wukong's."""
    collection = workload.build()
    traffic = Traffic(server)
    measured = {engine: Measured() for engine in get}
    expected = None
    for turn in range(rounds + 1):
        for engine, scheduler in get.items():
            server.flushall()
            traffic.begin()
            used = processor_seconds()
            begun = time.perf_counter()
            result = collection.compute(scheduler=scheduler)
            spent = time.perf_counter() - begun
            value = np.asarray(workload.value(result))
            if turn:
                used = processor_seconds() - used
                moved = traffic.end()
                if engine == "wukong":
                    moved = with_files(moved, client.record())
                measured[engine].add(spent, used, moved, workload.inside(result))
            elif expected is None:
                expected = value
            elif not np.allclose(value, expected):
                sys.exit(f"{name}: {engine} gives {value}, not {expected}")
    return measured


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Wukong beside other engines.")
    parser.add_argument("--rounds", type=int, default=3, help="that count (default 3)")
    parser.add_argument(
        "--only", nargs="+", default=QUICK, choices=[*WORKLOADS, "all"], metavar="NAME"
    )
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS, metavar="PEER")
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    names = list(WORKLOADS) if "all" in arguments.only else arguments.only
    found = {}
    with ExitStack() as stack:
        url = stack.enter_context(EmbeddedValkey()).url
        server = stack.enter_context(closing(Valkey.from_url(url)))
        get, client = engines(url, arguments.peers, stack)
        for name in names:
            tasks = tasks_of(WORKLOADS[name].build())
            found[name] = measure(name, WORKLOADS[name], get, client, arguments.rounds, server)
            print(table(name, tasks, found[name]), flush=True)
    print(f"\nLoad of the machine in the last 15 minutes: {os.getloadavg()[2]:.1f}")
    print(ratios(found))
    print(verdicts(found))


if __name__ == "__main__":
    main()
