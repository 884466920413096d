"""One segment as the bytes that travel through storage, and back into something that runs.

A specification holds the tasks of the segment as Dask made them (callable with a mapping of their
inputs), and what `arrive` needs to know: inputs, children, and how many inputs each child has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, overload

from dask._task_spec import GraphNode

from wukong.graph.normalise import Key
from wukong.graph.references import References
from wukong.graph.segments import Segment
from wukong.graph.shared import Shared, Sharing, common_parts
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
        # A task may raise anything; what its last attempt raises is told.
        with suppress(Exception):
            return task(known)
    on_task(key, task.dependencies)
    return task(known)


class Specs(Sequence[Spec]):
    """The specifications of a graph, each made when it is asked for: a graph may have millions.

    Parameters
    ----------
    segments
        All segments, by number.
    tasks
        Key to task.
    """

    def __init__(self, segments: Sequence[Segment], tasks: Mapping[Key, GraphNode]) -> None:
        self._segments = segments
        self._tasks = tasks

    def __len__(self) -> int:
        return len(self._segments)

    @overload
    def __getitem__(self, number: int) -> Spec: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Spec]: ...

    def __getitem__(self, number: int | slice) -> Spec | Sequence[Spec]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        segment, segments = self._segments[number], self._segments
        return Spec(
            tasks=tuple((key, self._tasks[key]) for key in segment.keys),
            inputs=tuple((one, segments[one].outputs) for one in segment.inputs),
            children=tuple((child, len(segments[child].inputs)) for child in segment.children),
            root=segment.root,
            outputs=segment.outputs,
        )


class Encoded:
    """Specifications as bytes, made while they are taken; then `shared`, what they have in common.

    Taking them raises `SpecError` if a task cannot be pickled.
    """

    def __init__(self, specs: Sequence[Spec], tasks: Iterable[GraphNode]) -> None:
        self._specs = specs
        self._common = common_parts(tasks)
        self._sharing = Sharing()

    def __iter__(self) -> Iterator[bytes]:
        self._sharing = Sharing(self._common)
        return (spec.to_bytes(self._sharing) for spec in self._specs)

    @property
    def shared(self) -> Iterable[Packed]:
        """Blobs of what all specifications that were taken share."""
        return _Blobs(self)

    @property
    def references(self) -> References:
        """The modules that Executors will import for all specifications that were taken."""
        return self._sharing.references

    def blobs(self) -> list[Packed]:
        """Give them as they are now."""
        return self._sharing.blobs()


@dataclass(frozen=True, slots=True)
class _Blobs:
    encoded: Encoded

    def __iter__(self) -> Iterator[Packed]:
        return iter(self.encoded.blobs())


def encode(specs: Sequence[Spec], tasks: Iterable[GraphNode] = ()) -> Encoded:
    """Give the bytes of specifications, one after another, and then the blobs of what they share.

    Parameters
    ----------
    tasks
        The tasks among which to look for what Dask has given to several of them.
    """
    return Encoded(specs, tasks)


def _culprit(tasks: Sequence[tuple[Key, GraphNode]]) -> str:
    for key, task in tasks:
        try:
            dumps(task)
        except Exception:  # noqa: BLE001 - any task that fails to pickle is the one to name
            return str(key)
    return str(tasks[-1][0])
