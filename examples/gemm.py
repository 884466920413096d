"""GEMM: multiplies two square matrices, block by block.

Every block of the result needs a row of blocks and a column of blocks, so this shows wide fan-outs
and how much data moves between tasks. The entries are small whole numbers, which makes the product
exact: every scheduler must print the very same checksum.

    python examples/gemm.py --n 2000 --chunk 500
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import dask
import dask.array as da


def operands(n: int, chunk: int, seed: int = 0) -> tuple[da.Array, da.Array]:
    """Give two `n` x `n` matrices of whole numbers from 0 to 9, in `chunk` x `chunk` blocks."""
    rng = da.random.default_rng(seed)
    left = rng.integers(0, 10, size=(n, n), chunks=(chunk, chunk))
    right = rng.integers(0, 10, size=(n, n), chunks=(chunk, chunk))
    # BLAS multiplies floating-point numbers only; these hold whole numbers exactly.
    return left.astype("f8"), right.astype("f8")


def build(n: int, chunk: int, seed: int = 0) -> da.Array:
    """Give the product of the two matrices, `n` x `n`."""
    left, right = operands(n, chunk, seed)
    return left @ right


def main(argv: Sequence[str] | None = None) -> None:
    """Read the sizes, compute once and print the sum of the product's entries."""
    parser = argparse.ArgumentParser(description="Multiply two square matrices.")
    parser.add_argument("--n", type=int, default=1024, help="rows and columns (default 1024)")
    parser.add_argument("--chunk", type=int, default=256, help="of a block (default 256)")
    parser.add_argument("--seed", type=int, default=0, help="of the entries (default 0)")
    options = parser.parse_args(argv)
    product = build(options.n, options.chunk, options.seed)
    # Summed by tasks, so that the product stays where it was computed.
    (checksum,) = dask.compute(product.sum())
    print(f"gemm n={options.n} checksum={int(checksum)}")


if __name__ == "__main__":
    main()
