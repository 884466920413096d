"""Randomised SVD of a square matrix in square chunks.

The matrix is projected onto a few random directions, and the small projection is factorised. Every
chunk is read several times, so large outputs fan out widely: the workload that profits most from
keeping data where it was made.

    python examples/svd_square.py --n 10000 --chunk 2000 --rank 5
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import dask
import dask.array as da


def matrix(n: int, chunk: int, seed: int = 0) -> da.Array:
    """Give an `n` x `n` matrix of uniform random numbers in `chunk` x `chunk` chunks."""
    return da.random.default_rng(seed).random((n, n), chunks=(chunk, chunk))


def build(
    n: int, chunk: int, rank: int = 5, power_iterations: int = 0, seed: int = 0
) -> tuple[da.Array, da.Array, da.Array]:
    """Give u, s, v for the `rank` largest singular values of `matrix(...)`.

    Each power iteration reads the matrix twice more and makes the values more accurate.
    """
    x = matrix(n, chunk, seed)
    return da.linalg.svd_compressed(x, k=rank, n_power_iter=power_iterations, seed=seed)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the sizes, compute once and print the singular values."""
    parser = argparse.ArgumentParser(description="Randomised SVD of a square matrix.")
    parser.add_argument("--n", type=int, default=1_000, help="rows and columns (default 1000)")
    parser.add_argument("--chunk", type=int, default=250, help="of a chunk (default 250)")
    parser.add_argument("--rank", type=int, default=5, help="singular values (default 5)")
    parser.add_argument("--power-iterations", type=int, default=0, help="(default 0)")
    parser.add_argument("--seed", type=int, default=0, help="of the entries (default 0)")
    options = parser.parse_args(argv)
    _, s, v = build(options.n, options.chunk, options.rank, options.power_iterations, options.seed)
    s, v = dask.compute(s, v)
    values = ",".join(f"{value:.6g}" for value in s)
    print(f"svd_square n={options.n} v={v.shape[0]}x{v.shape[1]} values={values}")


if __name__ == "__main__":
    main()
