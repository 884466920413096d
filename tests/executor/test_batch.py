"""Outputs of short segments arrive together; nobody waits for a long one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from dask._task_spec import Task

from executor.batch import BATCH_ARRIVALS, BATCH_BYTES, Batch, Pending, Walk
from executor.core import Core
from executor.driver import Driver
from executor.pace import SHORT_SECONDS, Pace
from tests.executor.test_driver import Recorder
from wukong.graph.spec import Spec, encode
from wukong.messages import ExecutorEvent, Start, Targets
from wukong.storage import Arrival, Arrived, Claim, Lineage, NewRun
from wukong.storage.memory import MemoryStorage
from wukong.storage.serialisation import OUT_OF_BAND_BYTES, pack


class Counting(MemoryStorage):
    """A store that notes how many outputs came in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.together: list[int] = []

    def arrive_all(
        self, run: str, arrivals: Sequence[tuple[Lineage, Arrival]]
    ) -> list[Arrived | None]:
        self.together.append(len(arrivals))
        return super().arrive_all(run, arrivals)


def leaves(*work: Callable[[Any], Any]) -> NewRun:
    """Give a run of independent tasks; those of one function are of one kind."""
    specs = [
        Spec(((key, Task(key, one, None)),), (), (), root=True, outputs=(key,))
        for key, one in ((f"{one.__name__}-{number}", one) for number, one in enumerate(work))
    ]
    encoded = encode(specs)
    return NewRun(
        "run",
        specs=encoded,
        shared=encoded.shared,
        inputs=[()] * len(work),
        references=[1] * len(work),
        leaves=list(range(len(work))),
    )


def quick(_: Any) -> int:
    return 1


def slow(_: Any) -> int:
    time.sleep(2 * SHORT_SECONDS)
    return 2


def execute(*work: Callable[[Any], Any]) -> list[int]:
    storage = Counting()
    storage.create(leaves(*work))
    starts = tuple(Start(number) for number in range(len(work)))
    event = ExecutorEvent("run", starts, Targets("executor", "invoker"))
    tally = Driver(event, storage, Recorder).execute()
    assert sorted(tally.segments) == list(range(len(work)))
    return storage.together


def test_many_short_segments_arrive_in_few_calls() -> None:
    together = execute(*[quick] * 300)
    assert len(together) < 300
    assert max(together) <= BATCH_ARRIVALS


def test_a_lineage_that_is_alone_is_not_kept_waiting() -> None:
    assert execute(quick) == [1]


def test_what_is_done_does_not_wait_for_a_kind_that_has_not_run_here_yet() -> None:
    together = execute(quick, slow)
    assert together == [1, 1]


def test_long_segments_arrive_one_by_one() -> None:
    assert execute(*[slow] * 4) == [1, 1, 1, 1]


def pending(size: int) -> Pending:
    walk = Walk(Core(Lineage(0, 1)), deque())
    return Pending(walk, Claim(0, b"", ()), Arrival(0, bytes(size), False, (), (), True))


def test_a_batch_is_full_when_it_is_many_or_much() -> None:
    batch = Batch()
    assert not batch.is_full()
    batch.add(pending(BATCH_BYTES))
    assert batch.is_full()
    assert len(batch.take()) == 1
    assert not batch.is_full()
    for _ in range(BATCH_ARRIVALS):
        batch.add(pending(1))
    assert batch.is_full()


def test_a_batch_with_a_large_output_is_full_as_that_is_the_memory_of_the_value() -> None:
    batch = Batch()
    one = pending(1)
    large = pack(np.zeros(OUT_OF_BAND_BYTES))
    batch.add(replace(one, arrival=replace(one.arrival, output=large)))
    assert batch.is_full()


def test_a_kind_is_short_while_its_average_is_and_a_stall_is_forgotten() -> None:
    pace = Pace()
    add, mul = (Spec(((name, None),), (), (), False, (name,)) for name in ("add-1", "mul-1"))  # type: ignore[arg-type]
    assert not pace.is_short(add), "nobody knows yet"
    pace.took(add, SHORT_SECONDS / 2)
    assert pace.is_short(add)
    assert not pace.is_short(mul)
    pace.took(add, SHORT_SECONDS * 50)
    assert not pace.is_short(add)
    for _ in range(50):
        pace.took(add, SHORT_SECONDS / 2)
    assert pace.is_short(add)
    assert pace.longest == SHORT_SECONDS * 50
