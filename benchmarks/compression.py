"""Where compressing outputs pays: the time it takes beside the time to send what it saves.

Method: zlib at its fastest (what Python brings; lz4 and zstd would be megabytes of a package), for
kinds of results; sending is taken at the rate of a Lambda function (AWS documents none; about 75
MB/s is what is measured) and at that of the embedded store, measured here. It pays if compressing,
sending what is left and unpacking is quicker than sending.

    python benchmarks/compression.py
"""

from __future__ import annotations

import pickle
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from valkey import Valkey

from wukong.stack.valkey import EmbeddedValkey

LAMBDA = 75e6
"""Bytes a second."""
REPEATS = 5


def kinds() -> Mapping[str, Any]:
    rng = np.random.default_rng(0)
    steps = rng.normal(size=500_000).cumsum()
    return {
        "random numbers": rng.random(500_000),
        "a measured series, float64": steps.round(2),
        "counts, int64": rng.poisson(3, 500_000),
        "text": " ".join(f"{word} and" for word in rng.integers(0, 5_000, 300_000)),
        "zeros": np.zeros(500_000),
    }


def best(act: Callable[[], Any]) -> float:
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        act()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def main() -> None:
    with EmbeddedValkey() as server:
        store: Any = Valkey.from_url(server.url)
        print("| kind | ratio | compress, MB/s | unpack, MB/s | pays on Lambda | pays here |")
        print("|---|--:|--:|--:|---|---|")
        for name, value in kinds().items():
            data = pickle.dumps(value, protocol=5)
            packed = zlib.compress(data, 1)
            pack = best(lambda data=data: zlib.compress(data, 1))
            unpack = best(lambda packed=packed: zlib.decompress(packed))
            here = len(data) / best(lambda data=data: store.set("x", data))

            # Written once and read once.
            saved = 2 * (len(data) - len(packed))
            pays = ["yes" if pack + unpack < saved / rate else "no" for rate in (LAMBDA, here)]
            print(
                f"| {name} | {len(packed) / len(data):.2f} | {len(data) / pack / 1e6:.0f} | "
                f"{len(data) / unpack / 1e6:.0f} | {' | '.join(pays)} |"
            )
        store.close()


if __name__ == "__main__":
    main()
