"""Tasks to segments, the units of scheduling, numbered in Dask's order.

A task joins the segments of its inputs when it is the only consumer of each of them and the client
did not ask for any of them itself: linear chains always, fans-in up to a number of tasks that the
caller says. The interior of a segment costs nothing at run time; between segments an edge costs at
most one round trip. Only keys and dependencies are looked at here.

    a ─ b ─┬─ c ─ d          segments: 0 = (a, b), 1 = (c, d), 2 = (e,), 3 = (f,)
           └─ e ─┐           edges:    0 -> 1, 0 -> 2, 1 -> 3, 2 -> 3
      d ─────────┴─ f        up to four tasks: 0 = (a, b), 1 = (c, d, e, f)

The numbers follow `dask.order.order`, which visits a graph so that few outputs are alive at once:
where an Executor may become one of several children, the smallest number is the best one.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

Key = Hashable


@dataclass(frozen=True, slots=True)
class Segment:
    """A chain of tasks, or a tree of tasks that ends in one of them.

    Attributes
    ----------
    number
        Its id within the run; also the id of the lineage that starts with it.
    keys
        Its tasks, in an order in which they can run; the last one's value is its output.
    inputs
        Segments whose outputs its tasks consume.
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
    most: int = 1,
) -> list[Segment]:
    """Put the tasks of a graph into segments, in time linear in its edges.

    Parameters
    ----------
    dependencies
        For each task, the tasks that it consumes.
    roots
        Tasks whose values the client needs.
    order
        For each task its place in `dask.order.order`.
    most
        So many tasks a segment with a fan-in may have.
    """
    consumers = _consumers(dependencies)
    groups = _groups(dependencies, consumers, roots, order, most)
    home = {key: number for number, keys in enumerate(groups) for key in keys}
    return [
        Segment(
            number=number,
            keys=tuple(keys),
            inputs=_places(home, number, *(dependencies[key] for key in keys)),
            children=_places(home, number, consumers[keys[-1]]),
            root=keys[-1] in roots,
        )
        for number, keys in enumerate(groups)
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


def _groups(
    dependencies: Mapping[Key, Collection[Key]],
    consumers: Mapping[Key, Sequence[Key]],
    roots: Collection[Key],
    order: Mapping[Key, int],
    most: int,
) -> list[list[Key]]:
    """Give the keys of each segment, in the order of the first one."""
    groups: dict[Key, list[Key]] = {}
    for key in sorted(dependencies, key=order.__getitem__):
        inputs = dependencies[key]
        joins = all(len(consumers[one]) == 1 and one not in roots for one in inputs)
        if len(inputs) > 1:
            # All or none: else what is small would wait here for what is not.
            joins = joins and sum(len(groups[one]) for one in inputs) < most
        group: list[Key] = []
        if joins:
            parts = [groups.pop(one) for one in inputs]
            # The longest is not copied: a chain may have a million tasks.
            group = max(parts, key=len, default=group)
            for part in parts:
                if part is not group:
                    group.extend(part)
        group.append(key)
        groups[key] = group
    return sorted(groups.values(), key=lambda group: order[group[0]])


def _places(home: Mapping[Key, int], number: int, *keys: Collection[Key]) -> tuple[int, ...]:
    """Give the segments of keys, without the one that asks."""
    found = {home[key] for some in keys for key in some}
    found.discard(number)
    return tuple(sorted(found))
