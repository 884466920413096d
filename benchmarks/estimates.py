"""How far estimates are off: what was expected of runs, and what they took.

Each workload runs once to learn from, in an empty history; then the same, and one four times as
large, are estimated and run. Run as `python benchmarks/estimates.py` on an idle machine.
"""

from __future__ import annotations

import operator
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import dask
import dask.array as da

import wukong
from wukong.experience import Range

REPEATS = 3


def tree(scale: int) -> Any:
    """Add up numbers in pairs: tasks that take next to nothing."""
    add = dask.delayed(operator.add)
    level = list(range(1024 * scale))
    while len(level) > 1:
        level = list(map(add, level[::2], level[1::2]))
    return level[0]


def svd(scale: int) -> Any:
    """Decompose a tall matrix."""
    x = da.random.default_rng(1).random((250_000 * scale, 100), chunks=(12_500, 100))
    return da.linalg.svd(x)[1]


def gemm(scale: int) -> Any:
    """Multiply square matrices; `scale` times the work."""
    side = 2_000 * round(scale**0.5)
    x = da.random.default_rng(1).random((side, side), chunks=(500, 500))
    return (x @ x.T).sum()


WORKLOADS: Mapping[str, Callable[[int], Any]] = {
    "tree reduction": tree,
    "tall SVD": svd,
    "matrix product": gemm,
}


def main() -> None:
    """Print a table in Markdown."""
    print("| workload | known | seconds: expected | took | 10^-4 dollars: expected | came to |")
    print("|---|---|---|---|---|---|")
    for name, make in WORKLOADS.items():
        with tempfile.TemporaryDirectory() as home:
            os.environ["WUKONG_HOME"] = home
            with wukong.Client(wukong.Config(), platform="local", progress=False) as client:
                measure(client, name, make)


def measure(client: wukong.Client, name: str, make: Callable[[int], Any]) -> None:
    """Learn from one run, and print what was expected of others."""
    run(client, make(1))
    cases = [(f"{name}, again", make(1)), (f"{name}, four times the work", make(4))]
    expected = [client.estimate(case) for _, case in cases]
    for (title, case), guess in zip(cases, expected, strict=True):
        each = [run(client, case) for _ in range(REPEATS)]
        seconds, dollars = (sorted(values)[REPEATS // 2] for values in zip(*each, strict=True))
        print(
            f"| {title} | {guess.known:.0%} | {written(guess.seconds, 1)} | {seconds:.2f} | "
            f"{written(guess.dollars, 1e4)} | {dollars * 1e4:.2f} |",
            flush=True,
        )


def run(client: wukong.Client, case: Any) -> tuple[float, float]:
    """Give the seconds and the dollars of a run."""
    future = client.compute(case)
    future.result()
    dollars = client.cost(future.run).dollars
    return client.record(future.run).summary.seconds, dollars


def written(value: Range, unit: float) -> str:
    """Write a range."""
    low, likely, high = (each * unit for each in value)
    return f"{likely:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
