"""TSQR: the QR factorisation of a tall-and-skinny matrix, chunked by rows.

Each chunk is factorised alone, the small R factors are combined in a tree, and the results go back
down to the chunks of Q: many short tasks with a deep fan-in.

    python examples/tsqr.py --rows 131072 --columns 128 --chunk-rows 16384
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import dask
import dask.array as da
import numpy as np


def matrix(rows: int, columns: int, chunk_rows: int, seed: int = 0) -> da.Array:
    """Give a `rows` x `columns` matrix of uniform random numbers in chunks of whole rows."""
    return da.random.default_rng(seed).random((rows, columns), chunks=(chunk_rows, columns))


def build(rows: int, columns: int, chunk_rows: int, seed: int = 0) -> tuple[da.Array, da.Array]:
    """Give q (`rows` x `columns`, orthonormal) and r (upper triangular) of `matrix(...)`."""
    return da.linalg.tsqr(matrix(rows, columns, chunk_rows, seed))


def main(argv: Sequence[str] | None = None) -> None:
    """Read the sizes, compute once and print a checksum of r and whether q is orthonormal."""
    parser = argparse.ArgumentParser(description="QR factorisation of a tall-and-skinny matrix.")
    parser.add_argument("--rows", type=int, default=32_768, help="(default 32768)")
    parser.add_argument("--columns", type=int, default=32, help="(default 32)")
    parser.add_argument("--chunk-rows", type=int, default=4_096, help="of a chunk (default 4096)")
    parser.add_argument("--seed", type=int, default=0, help="of the entries (default 0)")
    options = parser.parse_args(argv)
    q, r = build(options.rows, options.columns, options.chunk_rows, options.seed)
    # q is as tall as the matrix itself: tasks check it, and only the small answer comes back.
    r, gram = dask.compute(r, q.T @ q)
    orthonormal = np.allclose(gram, np.eye(options.columns))
    # Absolute values, because the signs of the rows of r are the algorithm's to choose.
    checksum = np.abs(r).sum()
    print(f"tsqr rows={options.rows} checksum={checksum:.6g} orthonormal={orthonormal}")


if __name__ == "__main__":
    main()
