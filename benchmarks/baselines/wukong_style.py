"""An engine as the published Wukong is: workers run paths from leaves to sinks.

The graph is cut into paths by a depth-first walk: the first dependent continues a path, others
begin new ones. A worker runs a path and holds what it has computed. At a fan-out it becomes one
child and leaves the others to other workers; at a fan-in it counts, and the last one carries on.
Outputs that somebody else may read are in the store before they are counted. Calls of the store
come one after another, as in the original; unlike it, inputs of a linear chain are never stored,
handing off any number of children is one call, and there are no metrics. (Carver et al., SoCC 2020)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from baselines.common import Baseline, Plan, Store, consumers_of, serve
from wukong.graph.normalise import Key, Normalised
from wukong.storage.serialisation import dumps


class Child(NamedTuple):
    """A dependent: its number, how many inputs it has, and the path that it is on."""

    number: int
    needs: int
    path: int


class Node(NamedTuple):
    """A task of a path, and what its worker has to know."""

    task: Any
    inputs: list[tuple[int, Key]]
    children: list[Child]
    root: bool


class WukongStyle(Baseline):
    """The client's side."""

    module = "baselines.wukong_style"

    def plan(self, run: str, graph: Normalised, numbers: Mapping[Key, int]) -> Plan:
        """Give a record for each path, and begin with those that begin with a leaf."""
        consumers = consumers_of(graph)
        leaves = [key for key, task in graph.tasks.items() if not task.dependencies]
        paths = _paths(leaves, consumers)
        home = {key: number for number, path in enumerate(paths) for key in path}

        def node(key: Key) -> Node:
            children = [
                Child(numbers[name], len(graph.tasks[name].dependencies), home[name])
                for name in consumers[key]
            ]
            inputs = [(numbers[name], name) for name in graph.tasks[key].dependencies]
            return Node(graph.tasks[key], inputs, children, key in graph.roots)

        records = {
            f"p{number}": dumps({numbers[key]: node(key) for key in path})
            for number, path in enumerate(paths)
        }
        work = [f"{run} {home[leaf]} {numbers[leaf]}".encode() for leaf in leaves]
        return Plan(records, work)


def _paths(leaves: list[Key], consumers: Mapping[Key, list[Key]]) -> list[list[Key]]:
    paths: list[list[Key]] = []
    seen: set[Key] = set()
    waiting = leaves[::-1]
    while waiting:
        current: Key | None = waiting.pop()
        path = []
        while current is not None and current not in seen:
            seen.add(current)
            path.append(current)
            fresh = [name for name in consumers[current] if name not in seen]
            waiting.extend(reversed(fresh[1:]))
            current = fresh[0] if fresh else None
        if path:
            paths.append(path)
    return paths


def run_path(store: Store, run: str, numbers: tuple[int, ...]) -> None:
    """Run from one task to where another worker carries on, or to a sink."""
    path, number = numbers
    nodes: dict[int, Node] = store.record(run, f"p{path}")
    values: dict[int, Any] = {}
    following: Child | None = Child(number, 0, path)
    while following is not None:
        number = following.number
        if number not in nodes:
            nodes |= store.record(run, f"p{following.path}")
        values[number] = _run_node(store, run, number, nodes[number], values)
        following = _follow(store, run, nodes[number].children)


def _run_node(store: Store, run: str, number: int, node: Node, values: Mapping[int, Any]) -> Any:
    inputs = {
        name: values[one] if one in values else store.value(run, one) for one, name in node.inputs
    }
    value = node.task(inputs)
    shared = len(node.children) > 1 or any(child.needs > 1 for child in node.children)
    if node.root or shared:
        store.put(run, number, value)
    if node.root:
        store.done(run)
    return value


def _follow(store: Store, run: str, children: list[Child]) -> Child | None:
    """Become the first child that has all its inputs, and leave the other ones to others."""
    ready = [
        child
        for child in children
        if child.needs == 1 or store.count(run, child.number) == child.needs
    ]
    store.enqueue([f"{run} {child.path} {child.number}".encode() for child in ready[1:]])
    return ready[0] if ready else None


if __name__ == "__main__":
    serve(run_path)
