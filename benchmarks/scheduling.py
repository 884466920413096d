"""What the Static Scheduler costs: from a graph of a million tasks to the first invocation.

Method: two processes build the same graph, Dask's own part included. One then times `order`, which
every Dask scheduler computes. The other times `submit`: normalised, ordered, collapsed, encoded,
written to a real Valkey, and the first Executor started, by a platform that only notes when; and
its memory is what it needs at most beyond what it had with the graph. The targets are 4 times
`order` and 2 KB a task.

    python benchmarks/scheduling.py [--tasks 1000000] [--only tree array]
"""

from __future__ import annotations

import argparse
import gc
import json
import operator
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import dask.array as da
from dask.base import collections_to_expr
from dask.delayed import delayed
from dask.order import order

from wukong.config import RunOptions
from wukong.graph.normalise import normalise
from wukong.messages import ExecutorEvent, InvokerReport, Targets
from wukong.platform.interface import Platform
from wukong.stack.valkey import EmbeddedValkey
from wukong.storage import open_storage
from wukong.submission import submit

TIMES, KILOBYTES = 4.0, 2.0


class Note(Platform):
    """Notes when it is asked for the first Executor."""

    first = 0.0

    def targets(self) -> Targets:
        return Targets("executor", "invoker")

    def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
        self.first = self.first or time.perf_counter()
        return InvokerReport(accepted=len(events))


def tree(tasks: int) -> Any:
    """Sum numbers pairwise: as many calls as asked for."""
    add = delayed(operator.add, pure=False)
    level = [add(number, number) for number in range((tasks + 1) // 2)]
    while len(level) > 1:
        pairs = [add(*level[i : i + 2]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[2 * len(pairs) :]
    return level[0]


def array(tasks: int) -> Any:
    """Add a matrix of tiny chunks to its transpose, and sum: about 2.9 tasks for each chunk."""
    side = int((tasks / 2.9) ** 0.5)
    matrix = da.ones((side, side), chunks=1)
    return (matrix + matrix.T).sum()


GRAPHS: dict[str, Callable[[int], Any]] = {"tree": tree, "array": array}


def kilobytes(field: str) -> int:
    """Read a field of this process's memory (Linux's /proc)."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field))


def measure(what: str, kind: str, tasks: int) -> dict[str, float]:
    """Give tasks and seconds of `order`, or seconds of `submit` and its kilobytes."""
    expression = collections_to_expr([GRAPHS[kind](tasks)], True).optimize()
    graph, keys = expression.__dask_graph__(), expression.__dask_keys__()
    gc.collect()
    if what == "order":
        nodes = dict(normalise(graph, keys).tasks)
        begun = time.perf_counter()
        order(nodes)
        return {"tasks": len(nodes), "order": time.perf_counter() - begun}
    before = kilobytes("VmRSS")
    platform = Note()
    with EmbeddedValkey() as server, closing(open_storage(server.url)) as storage:
        begun = time.perf_counter()
        submit("run", normalise(graph, keys), keys, storage, platform, RunOptions())
        return {"submit": platform.first - begun, "memory": kilobytes("VmHWM") - before}


def main() -> None:
    parser = argparse.ArgumentParser(description="What the Static Scheduler costs.")
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="+", default=list(GRAPHS), choices=list(GRAPHS))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(*arguments.child, arguments.tasks)))
        return
    print("| graph | tasks | order() | to the first invocation | ratio | KB a task |")
    print("|---|--:|--:|--:|--:|--:|")
    verdicts = []
    for kind in arguments.only:
        found: dict[str, float] = {}
        for what in ("order", "submit"):
            command = [sys.executable, __file__, "--child", what, kind]
            command += ["--tasks", str(arguments.tasks)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            found |= json.loads(done.stdout)
        found["memory"] /= found["tasks"]
        ratio = found["submit"] / found["order"]
        print(
            f"| {kind} | {found['tasks']:,} | {found['order']:.1f} s | {found['submit']:.1f} s "
            f"| {ratio:.2f} | {found['memory']:.2f} |"
        )
        met = ratio <= TIMES and found["memory"] <= KILOBYTES
        verdicts.append(
            f"{'met   ' if met else 'MISSED'} {kind}: {ratio:.2f} times order() (<= {TIMES:g}), "
            f"{found['memory']:.2f} KB a task (<= {KILOBYTES:g})"
        )
    print(f"\nLoad of the machine in the last minute: {os.getloadavg()[0]:.1f}\n")
    print("\n".join(verdicts))


if __name__ == "__main__":
    main()
