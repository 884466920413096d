"""Tasks to segments, the units of scheduling, numbered in Dask's order.

A task joins the segments of its inputs when it is the only consumer of each of them and the client
did not ask for any of them itself: linear chains always, fans-in up to a number of tasks that the
caller says. Of a wider fan-in, inputs that consume the same share segments, up to that number. The
interior of a segment costs nothing at run time; between segments an edge costs at most one round
trip. Only keys and dependencies are looked at here.

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
    """A chain of tasks, a tree of tasks that ends in one of them, or several of these.

    Attributes
    ----------
    number
        Its id within the run; also the id of the lineage that starts with it.
    keys
        Its tasks, in an order in which they can run.
    outputs
        Those of them whose values are its output; mostly one, the last.
    inputs
        Segments whose outputs its tasks consume.
    children
        Segments that consume its output, in order of number.
    root
        Whether the client asked for its output.
    """

    number: int
    keys: tuple[Key, ...]
    outputs: tuple[Key, ...]
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
    last: int | None = None,
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
    last
        The same for the last quarter of the tasks, if that is less: then all workers end at nearly
        the same time.
    """
    consumers = _consumers(dependencies)
    limits = most, most if last is None else last
    groups = _groups(dependencies, consumers, roots, order, limits)
    home = {key: number for number, (keys, _) in enumerate(groups) for key in keys}
    return [
        Segment(
            number=number,
            keys=tuple(keys),
            outputs=tuple(outputs),
            inputs=_places(home, number, *(dependencies[key] for key in keys)),
            children=_places(home, number, *(consumers[key] for key in outputs)),
            root=outputs[0] in roots,
        )
        for number, (keys, outputs) in enumerate(groups)
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
    limits: tuple[int, int],
) -> list[tuple[list[Key], list[Key]]]:
    """Give the keys and the outputs of each segment, in the order of the first key."""
    groups: dict[Key, list[Key]] = {}
    outputs: dict[Key, list[Key]] = {}
    keys = sorted(dependencies, key=order.__getitem__)
    most, last = limits
    for place, key in enumerate(keys):
        if place == len(keys) - len(keys) // 4:
            most = last
        inputs = dependencies[key]
        own = [one for one in inputs if len(consumers[one]) == 1 and one not in roots]
        # All or none: else what is small would wait here for what is not.
        joins = len(own) == len(inputs)
        if len(inputs) > 1:
            joins = joins and sum(len(groups[one]) for one in own) < most
        group: list[Key] = []
        if joins:
            parts = [groups.pop(one) for one in inputs]
            # The longest is not copied: a chain may have a million tasks.
            group = max(parts, key=len, default=group)
            for part in parts:
                if part is not group:
                    group.extend(part)
        elif most > 1:
            _share(sorted(own, key=order.__getitem__), dependencies, groups, outputs, most)
        group.append(key)
        groups[key] = group
    return sorted(
        ((group, outputs.get(key, [key])) for key, group in groups.items()),
        key=lambda found: order[found[0][0]],
    )


def _share(
    own: Sequence[Key],
    dependencies: Mapping[Key, Collection[Key]],
    groups: dict[Key, list[Key]],
    outputs: dict[Key, list[Key]],
    most: int,
) -> None:
    """Put groups together that have one consumer and consume the same, up to so many tasks."""
    latest: dict[frozenset[Key], Key] = {}
    for key in own:
        group = groups[key]
        needs = frozenset(one for each in group for one in dependencies[each]).difference(group)
        first = latest.get(needs)
        if first is not None and len(groups[first]) + len(group) <= most:
            groups[first].extend(groups.pop(key))
            outputs.setdefault(first, [first]).append(key)
        else:
            latest[needs] = key


def _places(home: Mapping[Key, int], number: int, *keys: Collection[Key]) -> tuple[int, ...]:
    """Give the segments of keys, without the one that asks."""
    found = {home[key] for some in keys for key in some}
    found.discard(number)
    return tuple(sorted(found))
