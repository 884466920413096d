"""What signing costs: for each small value, and for each byte of large ones.

    python benchmarks/signing.py

Signs and checks values in memory, without a store, and compares HMAC-SHA256 with BLAKE2b; then runs
a tree of trivial tasks on worker processes with and without a key, in turn.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dask

import wukong
from wukong.storage.keys import Keys
from wukong.storage.signing import Place, Signer

KEY = "benchmark" * 6
SMALL, LARGE = 500, 64 << 20
TREE, TIMES = 1024, 7


def main() -> None:
    signer = Signer(Keys("env:KEY", lambda *_: [KEY]))
    place = Place("value", "r" * 32, 7, "7.1.abcdef")
    small, large = os.urandom(SMALL), os.urandom(LARGE)
    signed = bytes(signer.sign(place, small))
    print(f"sign {SMALL} bytes: {micros(lambda: signer.sign(place, small)):.1f} us")
    print(f"check them: {micros(lambda: signer.check(place, signed)):.1f} us")
    whole = bytes(signer.sign(place, large))
    print(f"sign: {rate(lambda: signer.sign(place, large)):.2f} GB/s")
    print(f"check: {rate(lambda: signer.check(place, whole)):.2f} GB/s")
    print(f"HMAC-SHA256: {rate(lambda: hmac.digest(b'k' * 32, large, 'sha256')):.2f} GB/s")
    print(f"BLAKE2b: {rate(lambda: hashlib.blake2b(large, key=b'k' * 32).digest()):.2f} GB/s")
    trees()


def micros(do: Callable[[], object], times: int = 20_000) -> float:
    """Give the microseconds that a call takes, the best of five."""
    return 1e6 * min(_seconds(do, times) for _ in range(5))


def rate(do: Callable[[], object]) -> float:
    """Give the GB/s of a call that goes over LARGE bytes, the best of nine."""
    return LARGE / min(_seconds(do, 1) for _ in range(9)) / 1e9


def _seconds(do: Callable[[], object], times: int) -> float:
    """Give the processor's time of a call, whatever else the machine does."""
    begun = time.process_time()
    for _ in range(times):
        do()
    return (time.process_time() - begun) / times


def trees() -> None:
    """Run the same tree with and without a key, in turn, and compare the medians."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "key"
        file.write_text(KEY)
        file.chmod(0o600)
        clients = {
            name: wukong.Client(config(key), workers=2, progress=False)
            for name, key in (("unsigned", None), ("signed", f"file:{file}"))
        }
        took: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(TIMES):
            for name, client in clients.items():
                begun = time.perf_counter()
                tree().compute(scheduler=client)
                took[name].append(time.perf_counter() - begun)
        for name, client in clients.items():
            client.close()
            every = ", ".join(f"{one:.3f}" for one in sorted(took[name]))
            print(f"{name}: median {statistics.median(took[name]):.3f} s of {every}")


def config(key: str | None) -> wukong.Config:
    return wukong.Config.model_validate({"platform": "local", "store": {"signing_key": key}})


def tree() -> dask.delayed.Delayed:
    level = [dask.delayed(abs)(i) for i in range(TREE)]
    add = dask.delayed(lambda a, b: a + b)
    while len(level) > 1:
        level = [add(a, b) for a, b in zip(level[::2], level[1::2], strict=True)]
    return level[0]


if __name__ == "__main__":
    main()
