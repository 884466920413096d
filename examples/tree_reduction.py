"""Tree reduction: sums N numbers in pairs, level by level, with dask.delayed.

Every level of the tree is half as wide as the one below it, so this shows how fast tasks are
started and how cheap fan-ins are. A delay for each task stands in for real work.

    python examples/tree_reduction.py --numbers 1024 --delay 0.1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import dask
from dask.delayed import Delayed


def add(left: int, right: int, delay: float) -> int:
    """Add two numbers, after `delay` seconds."""
    time.sleep(delay)
    return left + right


def build(numbers: int, delay: float = 0.0) -> Delayed:
    """Give the sum of 0, 1, ..., `numbers` - 1 as a tree of additions of `delay` seconds each."""
    if numbers < 2:
        raise ValueError(f"numbers: a tree needs at least 2, got {numbers}")
    lazy_add = dask.delayed(add)
    level: list[int | Delayed] = list(range(numbers))
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        # A level of odd width leaves one value over, which goes up to the next.
        rest = level[len(level) // 2 * 2 :]
        level = [*(lazy_add(left, right, delay) for left, right in pairs), *rest]
    return level[0]


def main(argv: Sequence[str] | None = None) -> None:
    """Read the sizes, compute once and print the sum."""
    parser = argparse.ArgumentParser(description="Sum N numbers in pairs.")
    parser.add_argument("--numbers", type=int, default=256, help="how many (default 256)")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds a task (default 0)")
    options = parser.parse_args(argv)
    (total,) = dask.compute(build(options.numbers, options.delay))
    print(f"tree_reduction numbers={options.numbers} sum={total}")


if __name__ == "__main__":
    main()
