"""An engine as numpywren is: workers pop ready tasks from one queue, and keep nothing.

Every input is read from the store, every output is written to it, and whoever brings the last
input of a task puts that task into the queue. (Shankar et al., SoCC 2020. Theirs has leases, flags
of edges and status records besides; this one has a counter for each task, which is less.)
"""

from __future__ import annotations

from collections.abc import Mapping

from baselines.common import Baseline, Plan, Store, consumers_of, serve
from wukong.graph.normalise import Key, Normalised
from wukong.storage.serialisation import dumps


class NumpywrenStyle(Baseline):
    """The client's side."""

    module = "baselines.numpywren_style"

    def plan(self, run: str, graph: Normalised, numbers: Mapping[Key, int]) -> Plan:
        """Give a record for each task, and begin with those without inputs."""
        consumers = consumers_of(graph)
        records = {}
        for key, task in graph.tasks.items():
            inputs = [(numbers[name], name) for name in task.dependencies]
            children = [
                (numbers[name], len(graph.tasks[name].dependencies)) for name in consumers[key]
            ]
            records[f"t{numbers[key]}"] = dumps((task, inputs, children, key in graph.roots))
        work = [
            f"{run} {numbers[key]}".encode()
            for key, task in graph.tasks.items()
            if not task.dependencies
        ]
        return Plan(records, work)


def run_task(store: Store, run: str, numbers: tuple[int, ...]) -> None:
    """Run one task."""
    (number,) = numbers
    task, inputs, children, root = store.record(run, f"t{number}")
    store.put(run, number, task({name: store.value(run, one) for one, name in inputs}))
    if root:
        store.done(run)
    ready = [child for child, needs in children if store.count(run, child) == needs]
    store.enqueue([f"{run} {child}".encode() for child in ready])


if __name__ == "__main__":
    serve(run_task)
