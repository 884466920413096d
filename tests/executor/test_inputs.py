"""What a process has read it need not read again, within limits."""

from __future__ import annotations

from collections.abc import Sequence

from executor.inputs import Inputs
from wukong.storage import DataRef
from wukong.storage.memory import MemoryStorage
from wukong.storage.serialisation import Data


class Counting(MemoryStorage):
    """A store of made-up outputs, that notes what is read."""

    def __init__(self, size: int = 10) -> None:
        super().__init__()
        self.size = size
        self.reads: list[list[int]] = []

    def read(self, run: str, refs: Sequence[DataRef]) -> list[Data | None]:
        self.reads.append([ref.segment for ref in refs])
        kinds = {0: None, 1: bytearray(self.size)}
        return [kinds.get(ref.segment, f"{run}{ref.segment}".encode() * self.size) for ref in refs]


def refs(*segments: int) -> list[DataRef]:
    return [DataRef(segment, "1.1.t") for segment in segments]


def test_only_what_is_not_known_is_read_and_the_order_is_kept() -> None:
    storage = Counting()
    inputs = Inputs(storage)
    first = inputs.read("r", refs(2, 3))
    assert inputs.read("r", refs(3, 4, 2)) == [first[1], b"r4" * 10, first[0]]
    assert storage.reads == [[2, 3], [4]]


def test_what_is_not_there_is_asked_for_again() -> None:
    storage = Counting()
    inputs = Inputs(storage)
    assert inputs.read("r", refs(0, 2))[0] is None
    inputs.read("r", refs(0, 2))
    assert storage.reads == [[0, 2], [0]]


def test_memory_that_a_task_may_change_is_not_kept() -> None:
    storage = Counting()
    inputs = Inputs(storage)
    first, second = (inputs.read("r", refs(1))[0] for _ in range(2))
    assert first is not second


def test_another_run_begins_with_nothing() -> None:
    inputs = Inputs(Counting())
    assert inputs.read("r", refs(2)) == [b"r2" * 10]
    assert inputs.read("s", refs(2)) == [b"s2" * 10]


def test_the_oldest_is_forgotten_when_it_is_too_much() -> None:
    storage = Counting(size=100)
    inputs = Inputs(storage, most=500)
    for segment in (2, 3, 2, 4, 2, 3):
        inputs.read("r", refs(segment))
    assert storage.reads == [[2], [3], [4], [3]]
