"""The graph as it is drawn: nodes in layers by depth, coloured by the time that they took.

Up to some hundred segments each is a node. Of more, those of one key prefix and depth are one; if
these are too many, those of one prefix.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from wukong.record import RunRecord
from wukong.report.facts import group_of

NODES = 500


def graph_of(record: RunRecord) -> Mapping[str, Any]:
    """Give nodes as [label, layer, place in the layer, segments, seconds, bytes], and edges."""
    outline = record.outline
    if not len(outline):
        return {"nodes": [], "edges": [], "by": ""}
    pairs = list(outline.edges())
    depth = _depths(len(outline), pairs)
    groups = [group_of(outline, segment) for segment in range(len(outline))]
    choices: list[tuple[str, Callable[[int], Hashable]]] = [
        ("segment", lambda x: x),
        ("key prefix and depth", lambda x: (groups[x], depth[x])),
        ("key prefix", lambda x: groups[x]),
    ]
    for by, node_of in choices:
        if by == "key prefix" or len({node_of(x) for x in range(len(outline))}) <= NODES:
            break
    single = by == "segment"
    return _drawn(record, pairs, depth, [node_of(x) for x in range(len(outline))], groups) | {
        "by": by,
        "single": single,
    }


def _depths(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Give for each segment how many edges the longest way to it has."""
    consumers: list[list[int]] = [[] for _ in range(count)]
    missing = [0] * count
    for producer, consumer in pairs:
        consumers[producer].append(consumer)
        missing[consumer] += 1
    depth = [0] * count
    ready = [segment for segment in range(count) if not missing[segment]]
    while ready:
        segment = ready.pop()
        for consumer in consumers[segment]:
            depth[consumer] = max(depth[consumer], depth[segment] + 1)
            missing[consumer] -= 1
            if not missing[consumer]:
                ready.append(consumer)
    return depth


def _drawn(
    record: RunRecord,
    pairs: list[tuple[int, int]],
    depth: list[int],
    node_of: list[Hashable],
    groups: list[str],
) -> dict[str, Any]:
    seconds, sizes = _measured(record)
    numbers: dict[Hashable, int] = {}
    for name in node_of:
        numbers.setdefault(name, len(numbers))
    home = [numbers[name] for name in node_of]
    nodes: list[list[Any]] = [["", 10**9, 0, 0, 0.0, 0] for _ in numbers]
    for segment, number in enumerate(home):
        node = nodes[number]
        single = len(numbers) == len(home)
        node[0] = record.outline.label(segment) if single else groups[segment]
        node[1] = min(node[1], depth[segment])
        node[3] += 1
        node[4] += seconds.get(segment, 0.0)
        node[5] += sizes.get(segment, 0)
    places: Counter[int] = Counter()
    for node in nodes:
        node[2] = places[node[1]]
        places[node[1]] += 1
    edges: dict[tuple[int, int], int] = defaultdict(int)
    for producer, consumer in pairs:
        if home[producer] != home[consumer]:
            edges[home[producer], home[consumer]] += 1
    return {"nodes": nodes, "edges": [[a, b, count] for (a, b), count in edges.items()]}


def _measured(record: RunRecord) -> tuple[dict[int, float], dict[int, int]]:
    steps = record.steps
    seconds: dict[int, float] = {}
    sizes: dict[int, int] = {}
    for row, segment in enumerate(steps["segment"]):
        seconds[int(segment)] = seconds.get(int(segment), 0.0) + steps["compute"][row]
        sizes[int(segment)] = int(steps["written"][row])
    return seconds, sizes
