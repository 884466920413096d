"""How many calls and units the store on DynamoDB and S3 takes for a segment, and what they cost.

Method: the example workloads run in threads of this process against the embedded AWS, with gateways
that count. Calls of a step are made one after another, which changes their number in nothing.
Units are reckoned from the sizes of the items, as AWS bills them: a write by 1 KB of the larger of
the item before and after, a read by 4 KB (half if it need not be sure), S3 by the call. Prices are
those of wukong/prices.yaml for us-east-1.

    python benchmarks/storage_calls.py [--json]
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import dask

import wukong
from wukong.config import Store
from wukong.prices import DEFAULT_REGION, load_prices
from wukong.stack.dynamo import provide
from wukong.stack.embedded import EmbeddedAws
from wukong.storage import RunStatus, Storage
from wukong.storage.dynamo import backend
from wukong.storage.dynamo.objects import BucketObjects
from wukong.storage.dynamo.table import Change, DynamoTable, Item, Key, Outcome
from wukong.storage.dynamo.together import one_by_one
from wukong.storage.serialisation import Packed

URL = "dynamodb+s3://wukong-calls/wukong-calls-outputs"
EXAMPLES = Path(__file__).parent.parent / "examples"
MAINTENANCE = {"news", "status", "reap", "beat", "read", "runs", "ping", "notes"}
"""Steps whose number depends on how long a run takes, or on who reads results."""


class Counts:
    """What was called, and what AWS would have billed, by step."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.units: Counter[tuple[str, str]] = Counter()
        self.steps: Counter[str] = Counter()
        self.step = threading.local()
        self.segments = 0

    def add(self, kind: str, unit: str, units: float) -> None:
        step = getattr(self.step, "name", "other")
        self.calls[step, kind] += 1
        self.units[step, unit] += units

    @contextlib.contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Count what is called meanwhile as of a step; a step within another is part of it."""
        if getattr(self.step, "name", None) is not None:
            yield
            return
        self.step.name = name
        self.steps[name] += 1
        try:
            yield
        finally:
            self.step.name = None


COUNTS = Counts()


def size_of(item: Mapping[str, Any] | None) -> int:
    """Give the size of an item.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    if item is None:
        return 0
    return sum(len(name) + _size(value) for name, value in item.items())


def _size(value: Any) -> int:
    if isinstance(value, int):
        return 1 + (len(str(value)) + 1) // 2
    if isinstance(value, frozenset):
        return 3 + sum(1 + _size(one) for one in value)
    return len(value)


def writes(*sizes: int) -> int:
    return max(1, math.ceil(max(sizes) / 1024))


def reads(size: int) -> int:
    return max(1, math.ceil(size / 4096))


class CountingTable(DynamoTable):
    """A table that counts."""

    def get(self, keys: Sequence[Key]) -> dict[Key, Item]:
        found = super().get(keys)
        units = sum(reads(size_of(found.get(key))) for key in keys)
        for first in range(0, len(keys), 100):
            COUNTS.add("read", "RRU", units if first == 0 else 0)
        return found

    def put(self, items: Sequence[Item]) -> None:
        super().put(items)
        for first in range(0, len(items), 25):
            COUNTS.add("write", "WRU", sum(writes(size_of(one)) for one in items[first:][:25]))

    def delete(self, keys: Sequence[Key]) -> None:
        super().delete(keys)
        for first in range(0, len(keys), 25):
            # Nearly all items are below 1 KB.
            COUNTS.add("write", "WRU", len(keys[first:][:25]))

    def change(self, change: Change) -> Outcome:
        outcome = super().change(change)
        COUNTS.add("change", "WRU", writes(size_of(outcome.item)))
        return outcome

    def query(self, partition: str, *, sure: bool = True) -> list[Item]:
        found = super().query(partition, sure=sure)
        units = max(1, math.ceil(sum(map(size_of, found)) / 4096))
        COUNTS.add("query", "RRU", units if sure else units / 2)
        return found

    def count(self, partition: str) -> int:
        number = super().count(partition)
        COUNTS.add("query", "RRU", max(1, math.ceil(120 * number / 4096)))
        return number


class CountingObjects(BucketObjects):
    """A bucket that counts."""

    def put(self, name: str, value: Packed) -> None:
        super().put(name, value)
        COUNTS.add("S3 put", "S3 writes", 1)

    def get(self, name: str, size: int) -> bytes | bytearray | None:
        COUNTS.add("S3 get", "S3 reads", 1)
        return super().get(name, size)

    def delete(self, names: Sequence[str]) -> None:
        super().delete(names)
        if names:
            COUNTS.add("S3 delete", "free", 1)

    def names(self, start: str) -> list[str]:
        COUNTS.add("S3 list", "S3 writes", 1)
        return super().names(start)


def counting(method: Callable[..., Any]) -> Callable[..., Any]:
    def counted(self: Storage, *arguments: Any, **options: Any) -> Any:
        with COUNTS.during(method.__name__):
            answer = method(self, *arguments, **options)
        if isinstance(answer, RunStatus):
            COUNTS.segments = max(COUNTS.segments, answer.done)
        if method.__name__ == "create":
            COUNTS.segments = len(arguments[0].references)
        return answer

    return counted


def load(script: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{script}", EXAMPLES / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fan(width: int) -> Any:
    """Give a map over `width` numbers and its sum: the cheapest shape, and a wide one."""
    one = dask.delayed(abs, pure=True)
    return dask.delayed(sum, pure=True)([one(number) for number in range(width)])


WORKLOADS: dict[str, Callable[[], Any]] = {
    "tree reduction, 128 numbers": lambda: load("tree_reduction").build(128),
    "fan of 100": lambda: fan(100),
    "GEMM, 4 x 4 blocks of 80 KB": lambda: load("gemm").build(400, 100, seed=3),
    "tall SVD, 16 blocks of 64 KB": lambda: load("svd_tall_skinny").build(16_000, 8, 1_000, seed=1),
}


def dollars(units: Counter[tuple[str, str]], per: int) -> float:
    """Give what a million segments cost."""
    prices = load_prices()
    dynamo, s3 = prices.dynamodb.at(DEFAULT_REGION), prices.s3.at(DEFAULT_REGION)
    rates = {
        "WRU": dynamo.million_writes,
        "RRU": dynamo.million_reads,
        "S3 writes": 1000 * s3.thousand_writes,
        "S3 reads": 1000 * s3.thousand_reads,
        "free": 0.0,
    }
    return sum(number * rates[unit] for (_, unit), number in units.items()) / per


def measure(name: str, build: Callable[[], Any]) -> dict[str, Any]:
    global COUNTS  # noqa: PLW0603 - what the gateways count into, anew for each workload
    COUNTS = Counts()
    config = wukong.Config(store=Store(url=URL))
    with wukong.Client(config, platform="threads", workers=2, record=False) as client:
        client.get  # noqa: B018 - it is Dask's scheduler while it is open
        dask.compute(build())
    steady = Counter({one: n for one, n in COUNTS.units.items() if one[0] not in MAINTENANCE})
    return {
        "workload": name,
        "segments": COUNTS.segments,
        "calls": dict(_by_second(COUNTS.calls)),
        "units": dict(_by_second(COUNTS.units)),
        "steps": {
            step: {
                "times": times,
                "calls": round(sum(_of(COUNTS.calls, step).values()) / times, 2),
                "units": {u: round(n / times, 2) for u, n in _of(COUNTS.units, step).items()},
            }
            for step, times in sorted(COUNTS.steps.items())
        },
        "dollars per million segments": round(dollars(COUNTS.units, COUNTS.segments), 2),
        "of it what every run of this graph has": round(dollars(steady, COUNTS.segments), 2),
    }


def _by_second(counter: Counter[tuple[str, str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for (_, second), number in counter.items():
        total[second] += number
    return total


def _of(counter: Counter[tuple[str, str]], step: str) -> dict[str, float]:
    return {second: number for (first, second), number in counter.items() if first == step}


def main() -> None:
    names = [name for name in vars(Storage) if getattr(Storage, name, None) is not None]
    for name in names:
        method = vars(backend.DynamoStorage).get(name)
        if callable(method) and not name.startswith("_"):
            setattr(backend.DynamoStorage, name, counting(method))
    gateways = {"DynamoTable": CountingTable, "BucketObjects": CountingObjects}
    with EmbeddedAws() as aws, contextlib.ExitStack() as open_:
        os.environ |= aws.environment
        provide(URL)
        for name, kind in gateways.items():
            open_.enter_context(mock.patch.object(backend, name, kind))
        calling = mock.patch.object(backend.Threads, "__call__", lambda _, calls: one_by_one(calls))
        open_.enter_context(calling)
        found = [measure(*one) for one in WORKLOADS.items()]
    if "--json" in sys.argv:
        print(json.dumps(found, indent=1))
        return
    for one in found:
        print(f"\n{one['workload']}: {one['segments']} segments")
        print(f"  calls {one['calls']}")
        print(f"  units {one['units']}")
        for step, of in one["steps"].items():
            print(f"  {step}: {of['times']} times, {of['calls']} calls each, {of['units']}")
        whole, steady = list(one.values())[-2:]
        print(f"  a million segments: ${whole}, without looking and reading results ${steady}")


if __name__ == "__main__":
    main()
