"""What starting an Executor takes, in time and memory: for a ping, a run of plain Python, an array.

Method: each Executor is a process of its own that calls the handler once, with a real run in an
embedded Valkey; cases take turns, and the median of the rounds counts. Time is that of the process
until its answer, by the clock and of the processor, less that of Python alone; the second hardly
depends on what else the machine does. Memory is the process's peak, as a whole. "Without bytecode"
finds the standard library's (as Lambda's runtime has it), but not that of ours, Dask, NumPy and
other packages, as a package that was built by another Python.

    python benchmarks/executor_start.py [rounds]
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
import dask.array as da

from wukong.config import RunOptions
from wukong.graph.normalise import normalise
from wukong.messages import ExecutorEvent, InvokerReport, Targets
from wukong.platform.handlers import EXECUTOR
from wukong.platform.interface import Platform
from wukong.stack.valkey import EmbeddedValkey
from wukong.storage import Storage, open_storage
from wukong.submission import submit

ROOT = Path(__file__).parents[1]

CHILD = """
import json, sys, time
from executor.function import lambda_handler
from wukong.platform.context import LocalContext
event = json.loads(sys.stdin.read())
if event is not None:
    lambda_handler(event, LocalContext("one"))
status = open("/proc/self/status").read()
peak = status.partition("VmHWM:")[2].split()[0]
print(time.process_time(), peak, len(sys.modules))
"""

ALONE = "import time; print(time.process_time(), 0, 0)"

CASES = ("ping", "plain Python", "array")


class Noted(Platform):
    """Starts nothing; notes the events."""

    parallelism = 1

    def __init__(self) -> None:
        self.events: list[ExecutorEvent] = []

    def targets(self) -> Targets:
        return Targets(EXECUTOR, "")

    def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
        self.events += events
        return InvokerReport(len(events))


def event_of(collection: Any, storage: Storage) -> dict[str, Any]:
    """Write a run and give the event of its first Executor."""
    platform = Noted()
    keys = list(collection.__dask_keys__())
    graph = normalise(collection.__dask_graph__(), keys)
    submit(uuid.uuid4().hex, graph, keys, storage, platform, RunOptions())
    return platform.events[0].to_event()


def plus_one(x: int) -> int:
    return x + 1


def events(storage: Storage) -> dict[str, Callable[[], Any]]:
    return {
        "ping": lambda: {"wukong": "ping"},
        "plain Python": lambda: event_of(dask.delayed(plus_one)(1), storage),
        "array": lambda: event_of(da.ones((500, 500), chunks=250).sum(), storage),
    }


@contextmanager
def without_bytecode(fill: Callable[[dict[str, str]], object]) -> Iterator[dict[str, str]]:
    """Give variables with which Python finds compiled only what is of the standard library."""
    with tempfile.TemporaryDirectory() as folder:
        fill({"PYTHONPYCACHEPREFIX": folder})
        for place in (sysconfig.get_paths()["purelib"], str(ROOT)):
            shutil.rmtree(folder + place, ignore_errors=True)
        yield {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": "1"}


def run(code: str, event: Any, variables: dict[str, str]) -> tuple[float, list[str]]:
    """Run a process; gives its seconds and what it printed."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(event),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, **variables},
    )
    return time.perf_counter() - begun, done.stdout.split("\n")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    taken: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    with EmbeddedValkey() as server, ExitStack() as opened:
        storage = open_storage(server.url)
        where = {"WUKONG_STORE_URL": server.url, "WUKONG_PLATFORM": "aws"}
        making = events(storage)

        def fill(variables: dict[str, str]) -> None:
            run(CHILD, making["array"](), {**where, **variables})

        without = opened.enter_context(without_bytecode(fill))
        for turn in range(rounds + 1):
            for how, variables in (("with", {}), ("without", without)):
                for case in ("pass", "handler", *CASES):
                    event = making[case]() if case in making else None
                    code = ALONE if case == "pass" else CHILD
                    took, lines = run(code, event, {**where, **variables})
                    if turn:  # the first round only warms caches
                        told = tuple(map(float, lines[-2].split()))
                        taken.setdefault((case, how), []).append((took, *told))
        storage.close()
    print(f"{'':14} {'bytecode':>9} {'ms':>7} {'of the processor':>17} {'MB':>6} {'modules':>8}")
    for how in ("with", "without"):
        clock, processor, *_ = medians(taken["pass", how])
        print(f"{'python alone':14} {how:>9} {clock * 1000:7.0f} {processor * 1000:17.0f}")
        for case in ("handler", *CASES):
            found = medians(taken[case, how])
            print(
                f"{case:14} {how:>9} {(found[0] - clock) * 1000:7.0f} "
                f"{(found[1] - processor) * 1000:17.0f} {found[2] / 1024:6.0f} {found[3]:8.0f}"
            )
    init = (medians(taken["handler", "with"])[0] - medians(taken["pass", "with"])[0]) * 1000
    print(f"SnapStart would save the init phase, {init:.0f} ms here, less what restoring takes.")


def medians(rows: Sequence[tuple[float, ...]]) -> list[float]:
    return [statistics.median(column) for column in zip(*rows, strict=True)]


if __name__ == "__main__":
    main()
