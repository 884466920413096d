"""Tasks a second of the local platform, beside Dask's own schedulers in the same run.

Method: a tree reduction of trivial tasks (all overhead) and a matrix product (some work); the
schedulers take turns in each round, after one round that starts workers and loads modules; the
median counts. It prints the ratio to Dask's own processes scheduler last: that one, like Wukong's
local platform, moves every value between processes.

    python benchmarks/engine.py [rounds]
"""

from __future__ import annotations

import operator
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import dask
import dask.array as da

import wukong

NUMBERS = 1024


def tree() -> Any:
    add = dask.delayed(operator.add)
    level: list[Any] = list(range(NUMBERS))
    while len(level) > 1:
        level = list(map(add, level[::2], level[1::2]))
    return level[0]


def product() -> Any:
    x = da.random.default_rng(0).random((2000, 2000), chunks=(500, 500))
    return (x @ x.T).sum()


def seconds(act: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    last = ""
    with wukong.Client(wukong.Config(), platform="local") as client:
        for name, collection in {"tree of 1,024": tree(), "product": product()}.items():
            schedulers = {"wukong": client, "processes": "processes", "threads": "threads"}
            taken: dict[str, list[float]] = {one: [] for one in schedulers}
            for turn in range(rounds + 1):
                for one, scheduler in schedulers.items():
                    spent = seconds(partial(collection.compute, scheduler=scheduler))
                    if turn:
                        taken[one].append(spent)
            medians = {one: statistics.median(found) for one, found in taken.items()}
            for one, median in medians.items():
                print(f"{name:14} {one:10} {median * 1000:8.1f} ms")
            ratio = medians["processes"] / medians["wukong"]
            last += f"{name}: {ratio:.2f} times Dask's processes scheduler; "
    print(last.removesuffix("; "))


if __name__ == "__main__":
    main()
