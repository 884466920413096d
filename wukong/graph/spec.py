"""One segment as the bytes that travel through storage, and back into something that runs.

A specification holds the tasks of the segment as Dask made them (callable with a mapping of their
inputs), and what `arrive` needs to know: inputs, children, and how many inputs each child has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from dask._task_spec import GraphNode

from wukong.graph.normalise import Key
from wukong.graph.segments import Segment
from wukong.graph.shared import Shared, Sharing
from wukong.storage.serialisation import Packed, dumps

OnTask = Callable[[Key, Collection[Key]], None]


class SpecError(Exception):
    """A task cannot be pickled; names the task and chains what pickling raised."""

    def __init__(self, task: str) -> None:
        super().__init__(task)
        self.task = task


@dataclass(frozen=True, slots=True)
class Spec:
    """A segment ready to run.

    Attributes
    ----------
    tasks
        Pairs of key and task, first to last.
    inputs
        For each input, its segment and the keys under which tasks know its output.
    children
        Pairs (child segment, number of the child's inputs).
    root
        Whether the client asked for the output.
    outputs
        The keys whose values are the output: of one key its value, of several a tuple.
    """

    tasks: tuple[tuple[Key, GraphNode], ...]
    inputs: tuple[tuple[int, tuple[Key, ...]], ...]
    children: tuple[tuple[int, int], ...]
    root: bool
    outputs: tuple[Key, ...]

    def to_bytes(self, sharing: Sharing) -> bytes:
        """Serialise; raises `SpecError` that names the first task that cannot be pickled.

        What the task has in common with others is taken out.
        """
        try:
            return sharing.dumps((self.tasks, self.inputs, self.children, self.root, self.outputs))
        except Exception as error:
            raise SpecError(_culprit(self.tasks)) from error

    @classmethod
    def from_bytes(cls, data: bytes, shared: Shared) -> Spec:
        """Read what `to_bytes` wrote; raises whatever importing the tasks' modules raises."""
        return cls(*shared.loads(data))

    def run(self, values: Mapping[int, Any], on_task: OnTask, retries: int = 0) -> Any:
        """Run the tasks and give the output.

        Parameters
        ----------
        values
            Outputs of the input segments, by segment.
        on_task
            Told the key of each task, and the keys that it is given, before it runs, so that a
            failure can be blamed; and again before it is run again.
        retries
            How often a task that raises is run again, on the same inputs.
        """
        known: dict[Key, Any] = {}
        for segment, keys in self.inputs:
            value = values[segment]
            known.update(zip(keys, value if len(keys) > 1 else (value,), strict=True))
        inside = {key for key, _ in self.tasks}
        for key, task in self.tasks:
            known[key] = _attempted(key, task, known, on_task, retries)
            # Inside a segment every value has one consumer.
            for name in inside.intersection(task.dependencies):
                del known[name]
        if len(self.outputs) == 1:
            return known[self.outputs[0]]
        return tuple(known[key] for key in self.outputs)


def _attempted(
    key: Key,
    task: GraphNode,
    known: Mapping[Key, Any],
    on_task: OnTask,
    retries: int,
) -> Any:
    for _ in range(retries):
        on_task(key, task.dependencies)
        with suppress(Exception):
            return task(known)
    on_task(key, task.dependencies)
    return task(known)


def make_specs(segments: Sequence[Segment], tasks: Mapping[Key, GraphNode]) -> list[Spec]:
    """Give the specification of every segment of a graph."""
    needs = [len(segment.inputs) for segment in segments]
    return [
        Spec(
            tasks=tuple((key, tasks[key]) for key in segment.keys),
            inputs=tuple((number, segments[number].outputs) for number in segment.inputs),
            children=tuple((child, needs[child]) for child in segment.children),
            root=segment.root,
            outputs=segment.outputs,
        )
        for segment in segments
    ]


def encode(
    specs: Iterable[Spec], sharing: Sharing | None = None
) -> tuple[list[bytes], list[Packed]]:
    """Give the bytes of each specification, and the blobs of what they share.

    Parameters
    ----------
    sharing
        Pickles them, and knows afterwards which modules they refer to.

    Raises
    ------
    SpecError
        If a task cannot be pickled.
    """
    sharing = sharing or Sharing()
    return [spec.to_bytes(sharing) for spec in specs], sharing.blobs()


def _culprit(tasks: Sequence[tuple[Key, GraphNode]]) -> str:
    for key, task in tasks:
        try:
            dumps(task)
        except Exception:  # noqa: BLE001 - any task that fails to pickle is the one to name
            return str(key)
    return str(tasks[-1][0])
