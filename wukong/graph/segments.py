"""Tasks to segments: linear chains become one unit of scheduling, numbered in Dask's order.

A task joins its only input's segment when it is also that input's only consumer and the client did
not ask for the input itself. The interior of a segment then costs nothing at run time; between
segments an edge costs at most one round trip. Only keys and dependencies are looked at here.

    a ─ b ─┬─ c ─ d          segments: 0 = (a, b), 1 = (c, d), 2 = (e,), 3 = (f,)
           └─ e ─┐           edges:    0 -> 1, 0 -> 2, 1 -> 3, 2 -> 3
      d ─────────┴─ f

The numbers follow `dask.order.order`, which visits a graph so that few outputs are alive at once:
where an Executor may become one of several children, the smallest number is the best one.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

Key = Hashable


@dataclass(frozen=True, slots=True)
class Segment:
    """A linear chain of tasks.

    Attributes
    ----------
    number
        Its id within the run; also the id of the lineage that starts with it.
    keys
        Its tasks, first to last; the last one's value is the segment's output.
    inputs
        Segments whose outputs its first task consumes.
    children
        Segments that consume its output, in order of number.
    root
        Whether the client asked for its output.
    """

    number: int
    keys: tuple[Key, ...]
    inputs: tuple[int, ...]
    children: tuple[int, ...]
    root: bool

    @property
    def references(self) -> int:
        """How many consumers the output has, the client included."""
        return len(self.children) + self.root


def collapse(
    dependencies: Mapping[Key, Collection[Key]],
    roots: Collection[Key],
    order: Mapping[Key, int],
) -> list[Segment]:
    """Collapse linear chains of a graph into segments, in time linear in its edges.

    Parameters
    ----------
    dependencies
        For each task, the tasks that it consumes.
    roots
        Tasks whose values the client needs.
    order
        For each task its place in `dask.order.order`.
    """
    consumers = _consumers(dependencies)
    chains = [
        _chain(key, dependencies, consumers, roots)
        for key in sorted(dependencies, key=order.__getitem__)
        if not _continues(key, dependencies, consumers, roots)
    ]
    home = {chain[-1]: number for number, chain in enumerate(chains)}
    first = {chain[0]: number for number, chain in enumerate(chains)}
    return [
        Segment(
            number=number,
            keys=chain,
            inputs=tuple(sorted(home[key] for key in dependencies[chain[0]])),
            children=tuple(sorted(first[key] for key in consumers[chain[-1]])),
            root=chain[-1] in roots,
        )
        for number, chain in enumerate(chains)
    ]


def leaves(segments: Sequence[Segment]) -> list[int]:
    """Give the segments without inputs; each starts a static schedule."""
    return [segment.number for segment in segments if not segment.inputs]


def _consumers(dependencies: Mapping[Key, Collection[Key]]) -> dict[Key, list[Key]]:
    consumers: dict[Key, list[Key]] = {key: [] for key in dependencies}
    for key, inputs in dependencies.items():
        for name in inputs:
            consumers[name].append(key)
    return consumers


def _continues(
    key: Key,
    dependencies: Mapping[Key, Collection[Key]],
    consumers: Mapping[Key, Collection[Key]],
    roots: Collection[Key],
) -> bool:
    """Tell whether a task belongs to the segment of its only input."""
    if len(dependencies[key]) != 1:
        return False
    (before,) = dependencies[key]
    return len(consumers[before]) == 1 and before not in roots


def _chain(
    key: Key,
    dependencies: Mapping[Key, Collection[Key]],
    consumers: Mapping[Key, Sequence[Key]],
    roots: Collection[Key],
) -> tuple[Key, ...]:
    chain = [key]
    while len(consumers[chain[-1]]) == 1:
        following = consumers[chain[-1]][0]
        if not _continues(following, dependencies, consumers, roots):
            break
        chain.append(following)
    return tuple(chain)
