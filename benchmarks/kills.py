"""Kills worker processes at random while they compute: every result must be right, and not late.

Method: a blocked matrix product and a tall-skinny QR on two worker processes, undisturbed a few
times, then again and again while, at random moments of the run's expected time, one worker or both
are sent SIGKILL. On Lambda nobody would know of such a death before the lease is over, so a run may
take the lease's time longer; here the client sees it. It prints last the time of the slowest run,
in parts of what is allowed: three times the undisturbed one plus the lease. It ends with status 1
if a result was wrong, a run took longer than that, or nobody was killed.

    python benchmarks/kills.py [runs of each] [seed]
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import dask.array as da
import numpy as np

import wukong

LEASE_SECONDS = 3.0
UNDISTURBED = 3


def product() -> Any:
    random_state = da.random.default_rng(0)
    x = random_state.random((2048, 2048), chunks=(512, 512))
    return (x @ x.T).sum(axis=0)


def tall_skinny_qr() -> Any:
    x = da.random.default_rng(0).random((262_144, 64), chunks=(16_384, 64))
    _, r = da.linalg.qr(x)
    return abs(r)


WORKLOADS: dict[str, Callable[[], Any]] = {"product": product, "qr": tall_skinny_qr}


def kill_later(
    client: wukong.Client, delays: list[float], stop: threading.Event, killed: list[int]
) -> None:
    """Kill a worker after each of these delays, in seconds, unless the run is over; note whom."""
    for delay in delays:
        if stop.wait(delay):
            return
        platform: Any = client._platform
        pids = list(platform.workers.values())
        with suppress(ProcessLookupError):
            os.kill(pid := random.choice(pids), signal.SIGKILL)
            killed.append(pid)


def disturbed(
    client: wukong.Client, collection: Any, expected: float, killed: list[int]
) -> tuple[Any, float]:
    """Compute while workers are killed; gives the result and the seconds."""
    stop = threading.Event()
    delays = [random.uniform(0, expected / 2) for _ in range(random.choice([1, 2]))]
    killer = threading.Thread(target=kill_later, args=(client, delays, stop, killed))
    killer.start()
    begun = time.perf_counter()
    try:
        return collection.compute(scheduler=client), time.perf_counter() - begun
    finally:
        stop.set()
        killer.join()


def main() -> int:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    random.seed(seed)
    print(f"seed {seed}")
    wrong, killings, share = 0, 0, 0.0
    options = {"lease_seconds": LEASE_SECONDS, "max_attempts": 20}
    with wukong.Client(wukong.Config(), platform="local", workers=2, **options) as client:
        for name, make in WORKLOADS.items():
            collection = make()
            right = collection.compute(scheduler="threads")
            times = []
            for _ in range(UNDISTURBED):
                begun = time.perf_counter()
                collection.compute(scheduler=client)
                times.append(time.perf_counter() - begun)
            expected = statistics.median(times)
            allowed = 3 * expected + LEASE_SECONDS
            slowest, killed = 0.0, list[int]()
            for _ in range(runs):
                result, took = disturbed(client, collection, expected, killed)
                wrong += not np.allclose(result, right)
                slowest = max(slowest, took)
            share = max(share, slowest / allowed)
            killings += len(killed)
            print(
                f"{name}: undisturbed {expected:.2f} s; {runs} runs with {len(killed)} kills, "
                f"the slowest {slowest:.2f} s of {allowed:.2f} s"
            )
    print(f"kills: {killings}; wrong results: {wrong}; slowest run: {share:.2f} of what is allowed")
    return 1 if wrong or not killings or share > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
