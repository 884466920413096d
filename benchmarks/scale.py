"""How long it takes to start up to 100,000 Executors, by a discrete-event model.

The model has one processor for each starter (a function of 512 MB has 0.29 of a core), connections
that are opened as the engine opens them, and a latency of 50 ms; what each step costs is measured
(benchmarks/fanout.py). On top is Lambda's own limit: 1,000 environments at once, then 1,000 more
every 10 seconds. It says when the last event is accepted, and when the last Executor runs, with an
account that may run all of them; both from when the first Invoker runs, which starts them all.

    python benchmarks/scale.py [docs/images/fanout-scale.svg]
"""

from __future__ import annotations

import heapq
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invoker.engine import CONNECTIONS, RATE
from invoker.pace import CONNECTION_SECONDS, LEAST_WINDOW
from invoker.tree import branches
from wukong.platform.ramp import STEP_ENVIRONMENTS, STEP_SECONDS

SIZES = (100, 1_000, 10_000, 100_000)
LATENCY = 0.05
"""Until Lambda has answered an asynchronous call."""

ROUND_TRIP = 0.002
"""Of the network, inside a region; opening a connection takes two."""

SHARE = 512 / 1769
"""Of a core, for a function of 512 MB.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""

COLD_SECONDS = 0.3
"""Until a function runs whose environment is new: its import and AWS's own part."""

EXECUTOR_SECONDS = 1.2
"""The same for an Executor, which has Dask to import."""


@dataclass(frozen=True)
class Starter:
    """What one way of starting costs, in seconds of a whole core."""

    name: str
    call: float
    handshake: float
    connections: int
    first: int
    """Connections that it opens at once; then one more for each answer."""
    keeps: bool = True
    """Whether a connection is used again."""


LOOP = Starter("the original's loop", 0.0084, 0.0, 1, 1, keeps=False)
"""Its 8.4 ms are those of a call with its handshake."""
# Of a quiet core, where boto3 takes 0.87 ms; a call of the engine takes a 12.6th of that.
THREADS = Starter("boto3 in 64 threads", 870e-6, 0.004, 64, 64)
ENGINE = Starter("one Invoker", 70e-6, 0.0012, CONNECTIONS, int(LEAST_WINDOW))
TREE = "a tree of Invokers"

LEAST_SECONDS, MOST_SECONDS = 0.05, 100_000
"""Of the plot."""


def accepted(starter: Starter, events: int) -> float:
    """Give the seconds until the last of so many events is accepted."""
    processor = 0.0
    answers: list[float] = []
    opened, left, last = 0, events, 0.0

    def send(ready: float, *, opens: bool) -> None:
        nonlocal processor, last
        cost = starter.call + (starter.handshake if opens else 0.0)
        processor = max(processor, ready) + cost / SHARE
        trips = 2 if opens or not starter.keeps else 0
        last = processor + LATENCY + trips * ROUND_TRIP
        heapq.heappush(answers, last)

    while left or answers:
        while left and opened < min(starter.first, starter.connections, events):
            opened, left = opened + 1, left - 1
            send(0.0, opens=True)
        now = heapq.heappop(answers)
        if left:
            left -= 1
            send(now, opens=False)
        if left > opened and opened < starter.connections and is_worth_opening(opened, left):
            opened, left = opened + 1, left - 1
            send(now, opens=True)
    return last


def is_worth_opening(opened: int, left: int) -> bool:
    """Tell what the engine decides by a latency that it has measured (`Pace`)."""
    return left * LATENCY > CONNECTION_SECONDS * opened * opened


def by_tree(events: int) -> float:
    """Give the same for an Invoker that shares the batch, which all of them do that get enough."""
    number = branches(events, RATE)
    if not number:
        return accepted(ENGINE, events)
    each = (ENGINE.call + ENGINE.handshake) / SHARE
    return number * each + LATENCY + COLD_SECONDS + by_tree(-(-events // number))


def running(accepted_after: float, events: int) -> float:
    """Give the seconds until the last Executor runs."""
    steps = -(-events // STEP_ENVIRONMENTS) - 1
    return max(accepted_after, steps * STEP_SECONDS) + EXECUTOR_SECONDS


WAYS: dict[str, Callable[[int], float]] = {
    **{one.name: lambda n, one=one: accepted(one, n) for one in (LOOP, THREADS, ENGINE)},  # type: ignore[misc]
    TREE: by_tree,
}


def table(found: dict[str, list[float]]) -> Iterable[str]:
    yield f"| way | {' | '.join(f'{size:,}' for size in SIZES)} |"
    yield f"|---|{'--:|' * len(SIZES)}"
    for name, seconds in found.items():
        cells = (
            f"{took:,.{1 if took < 100 else 0}f} s, {running(took, size):,.0f} s"
            for size, took in zip(SIZES, seconds, strict=True)
        )
        yield f"| {name} | {' | '.join(cells)} |"


def draw(found: dict[str, list[float]], path: Path) -> None:
    try:
        import matplotlib
    except ImportError:
        sys.exit("matplotlib is not installed: pip install 'wukong[benchmarks]'")
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "wukong"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.5, 4.5))
    plot: Any = axes.loglog
    for (name, seconds), marker in zip(found.items(), "os^D", strict=True):
        plot(SIZES, seconds, marker=marker, label=name)
    steps = range(STEP_ENVIRONMENTS, SIZES[-1] + 1, STEP_ENVIRONMENTS)
    # A logarithmic scale has no 0, which the first step takes.
    ramp = [max(LEAST_SECONDS, running(0.0, size) - EXECUTOR_SECONDS) for size in steps]
    plot(
        steps,
        ramp,
        color="grey",
        linestyle="--",
        drawstyle="steps-pre",
        label="until Lambda runs the last (its own ramp)",
    )
    axes.set(
        xlabel="Executors",
        ylabel="seconds until the last is accepted",
        ylim=(LEAST_SECONDS, MOST_SECONDS),
    )
    axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
    seconds_marked = [0.1, 1, 10, 100, 1_000, 10_000]
    axes.set_yticks(seconds_marked, [f"{second:,}" for second in seconds_marked])
    axes.grid(visible=True, which="major", alpha=0.4)
    axes.legend(loc="upper left")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    found = {name: [way(size) for size in SIZES] for name, way in WAYS.items()}
    print("Until the last event is accepted, and until the last Executor runs:\n")
    print("\n".join(table(found)))
    if len(sys.argv) > 1:
        draw(found, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
