"""SVD of a tall-and-skinny matrix, chunked by rows.

Each chunk is factorised alone and the small factors are combined, exactly; with --rank K it is the
randomised algorithm that finds the K largest singular values only, as in the Wukong paper.

    python examples/svd_tall_skinny.py --rows 100000 --columns 100 --chunk-rows 10000 --rank 5
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import dask
import dask.array as da


def matrix(rows: int, columns: int, chunk_rows: int, seed: int = 0) -> da.Array:
    """Give a `rows` x `columns` matrix of uniform random numbers in chunks of whole rows."""
    return da.random.default_rng(seed).random((rows, columns), chunks=(chunk_rows, columns))


def build(
    rows: int, columns: int, chunk_rows: int, rank: int | None = None, seed: int = 0
) -> tuple[da.Array, da.Array, da.Array]:
    """Give the factors u, s, v with `matrix(...)` = u @ diag(s) @ v.

    With `rank`, they are approximations for the `rank` largest singular values.
    """
    x = matrix(rows, columns, chunk_rows, seed)
    if rank is None:
        return da.linalg.svd(x)
    return da.linalg.svd_compressed(x, k=rank, seed=seed)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the sizes, compute once and print the largest singular values."""
    parser = argparse.ArgumentParser(description="SVD of a tall-and-skinny matrix.")
    parser.add_argument("--rows", type=int, default=20_000, help="(default 20000)")
    parser.add_argument("--columns", type=int, default=50, help="(default 50)")
    parser.add_argument("--chunk-rows", type=int, default=2_500, help="of a chunk (default 2500)")
    parser.add_argument("--rank", type=int, help="only so many singular values (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of the entries (default 0)")
    options = parser.parse_args(argv)
    _, s, v = build(options.rows, options.columns, options.chunk_rows, options.rank, options.seed)
    # u is as tall as the matrix itself: it is not asked for, so it is not computed.
    s, v = dask.compute(s, v)
    largest = ",".join(f"{value:.6g}" for value in s[:5])
    print(f"svd_tall_skinny rows={options.rows} v={v.shape[0]}x{v.shape[1]} largest={largest}")


if __name__ == "__main__":
    main()
