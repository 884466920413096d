"""Random graphs whose values tell of every execution that has had a part in them.

Tasks are not deterministic: each execution gives a value that no other gives, together with the
values that it was given. So if any two consumers had seen different executions of one task, the
results would show it.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from wukong.graph.segments import Segment
from wukong.graph.spec import Spec

if TYPE_CHECKING:
    from dask._task_spec import GraphNode

KINDS = ("load", "add", "sum", "solve")


class TaskFailedError(Exception):
    """What a failing task raises."""


turn = threading.local()
"""The `world` and the `executor` of the thread whose turn it is."""


def key_of(segment: int) -> str:
    """Name a segment's task, as Dask does: tasks of a kind take about the same time."""
    return f"{KINDS[segment % len(KINDS)]}-{segment}"


@dataclass(frozen=True)
class Work:
    """A task. Its value says which execution of each segment before it has had a part in it."""

    segment: int
    dependencies: frozenset[str] = frozenset()

    def __call__(self, known: Mapping[str, Mapping[int, int]]) -> dict[int, int]:
        execution = turn.world.execute(turn.executor, self.segment)
        return merged([*known.values(), {self.segment: execution}])


def merged(histories: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Put histories together; raises `AssertionError` if they tell of different executions."""
    whole: dict[int, int] = {}
    for history in histories:
        for segment, execution in history.items():
            if whole.setdefault(segment, execution) != execution:
                raise AssertionError(f"two executions of segment {segment} were taken for one")
    return whole


def graph(rng: random.Random) -> list[Segment]:
    """Draw a graph: of a few segments, each with inputs among those before it."""
    size = rng.choice([rng.randint(2, 14), rng.randint(20, 40)])
    inputs = [
        tuple(sorted(rng.sample(range(i), min(i, rng.choice([0, 1, 1, 1, 2, 2, 3])))))
        for i in range(size)
    ]
    children = [tuple(c for c in range(size) if d in inputs[c]) for d in range(size)]
    return [
        Segment(
            i, (key_of(i),), (key_of(i),), inputs[i], children[i],
            root=not children[i] or rng.random() < 0.1,
        )
        for i in range(size)
    ]  # fmt: skip


def specs_of(segments: Sequence[Segment]) -> list[Spec]:
    """Give the specifications of a graph."""
    needs = [len(one.inputs) for one in segments]
    return [
        Spec(
            tasks=((one.keys[0], cast("GraphNode", Work(one.number))),),
            inputs=tuple((number, (key_of(number),)) for number in one.inputs),
            children=tuple((child, needs[child]) for child in one.children),
            root=one.root,
            outputs=one.outputs,
        )
        for one in segments
    ]


def ancestors(segments: Sequence[Segment], number: int) -> set[int]:
    """Give the segments that a segment needs, itself included."""
    return {number}.union(*(ancestors(segments, one) for one in segments[number].inputs))


def checked_values(segments: Sequence[Segment], values: Mapping[int, Any]) -> None:
    """Check that results tell of one execution of each task that they needed."""
    for root, history in values.items():
        assert set(history) == ancestors(segments, root)
    merged(values.values())
