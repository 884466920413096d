"""The workloads of `engines.py`: graphs whose results are a number or a small array.

Functions of tasks are here, in a module that workers of all engines can import.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask
import dask.array as da
import svc
import tree_reduction
from dask.delayed import delayed

from wukong.graph.normalise import normalise

CHAIN = 2_000
TREE_DELAY = 0.01


@dataclass(frozen=True)
class Workload:
    """A graph, and what of its result is the same in every engine."""

    build: Callable[[], Any]
    value: Callable[[Any], Any] = lambda result: result
    inside: Callable[[Any], float] = lambda _: 0.0
    """Seconds that the tasks took where they ran, if they tell."""


def begin() -> tuple[int, float]:
    return 0, time.monotonic()


def step(state: tuple[int, float]) -> tuple[int, float]:
    return state[0] + 1, state[1]


def end(state: tuple[int, float]) -> tuple[int, float]:
    """Give the steps, and the seconds that they took where they ran."""
    return state[0], time.monotonic() - state[1]


def double(value: int) -> int:
    return 2 * value


def total(values: Sequence[int]) -> int:
    return sum(values)


def chain() -> Any:
    lazy = delayed(step)
    state = delayed(begin)()
    for _ in range(CHAIN - 2):
        state = lazy(state)
    return delayed(end)(state)


def fan() -> Any:
    source = delayed(double)(1)
    return delayed(total)([delayed(double)(source) for _ in range(5_000)])


def uniform(rows: int, columns: int, chunks: tuple[int, int], seed: int = 0) -> Any:
    return da.random.default_rng(seed).random((rows, columns), chunks=chunks)


def gemm() -> Any:
    left, right = (uniform(4096, 4096, (512, 512), seed) for seed in (0, 1))
    return left @ right


def tsqr() -> Any:
    # The signs of the rows of R are the algorithm's to choose.
    return abs(da.linalg.tsqr(uniform(1_048_576, 64, (16_384, 64)))[1])


def svd() -> Any:
    return da.linalg.svd(uniform(400_000, 100, (10_000, 100)))[1]


def svd_compressed() -> Any:
    return da.linalg.svd_compressed(uniform(6_000, 6_000, (1_000, 1_000)), k=10, seed=0)[1]


WORKLOADS = {
    "tree_1024": Workload(partial(tree_reduction.build, 1024)),
    "tree_1024_10ms": Workload(partial(tree_reduction.build, 1024, TREE_DELAY)),
    "tree_16384": Workload(partial(tree_reduction.build, 16_384)),
    "chain_2000": Workload(chain, value=lambda result: result[0], inside=lambda result: result[1]),
    "fan_5000": Workload(fan),
    "gemm": Workload(gemm),
    "tsqr": Workload(tsqr),
    "svd": Workload(svd),
    "svd_compressed": Workload(svd_compressed),
    "svc": Workload(partial(svc.build, 16_000, 1_000)),
}


def tasks_of(collection: Any) -> int:
    """Count the tasks that engines are given, after Dask's own optimisation."""
    (optimised,) = dask.optimize(collection)
    return len(normalise(optimised.__dask_graph__(), optimised.__dask_keys__()).tasks)
