"""What `engines.py` prints: a table for each workload, then ratios, then targets."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from workloads import CHAIN, TREE_DELAY

TREE_TASKS, WORKERS = 1_023, 2
STORED = ("wukong", "wukong_style", "numpywren_style")
"""Engines that use the store."""

SLEEPS = 100


@dataclass
class Measured:
    """What one engine took for one workload, each round."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    traffic: list[tuple[int, int, int]] = field(default_factory=list)
    inner: list[float] = field(default_factory=list)

    def add(
        self, seconds: float, processor: float, traffic: tuple[int, int, int], inner: float
    ) -> None:
        """Add a round."""
        self.seconds.append(seconds)
        self.processor.append(processor)
        self.traffic.append(traffic)
        self.inner.append(inner)

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)

    @property
    def inside(self) -> float:
        """Seconds between the first and the last task, for workloads that tell."""
        return statistics.median(self.inner)

    def moved(self, which: int) -> float:
        """Bytes written (0) or read (1), or round trips (2)."""
        return statistics.median(one[which] for one in self.traffic)


Found = Mapping[str, Mapping[str, Measured]]
"""By workload, then by engine."""


def table(name: str, tasks: int, measured: Mapping[str, Measured]) -> str:
    """Give the rows of one workload, in Markdown."""
    lines = [
        f"\n{name}: {tasks:,} tasks\n",
        "| engine | median | spread | processor | MB written | MB read | round trips a task |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for engine, one in measured.items():
        spread = f"{_time(min(one.seconds))} to {_time(max(one.seconds))}"
        processor = _time(statistics.median(one.processor))
        moved = " | | |"
        if engine in STORED:
            written, read = (f"{one.moved(which) / 1e6:.3g}" for which in (0, 1))
            moved = f" {written} | {read} | {one.moved(2) / tasks:.3g} |"
        lines.append(f"| {engine} | {_time(one.median)} | {spread} | {processor} |{moved}")
    return "\n".join(lines)


def ratios(found: Found) -> str:
    """Give how many times Wukong's time every engine takes, for all workloads."""
    names = [engine for engine in next(iter(found.values())) if engine != "wukong"]
    lines = [
        "\nTimes as long as Wukong takes (more than 1: Wukong is faster)\n",
        f"| workload | Wukong | {' | '.join(names)} |",
        f"|---|--:|{'--:|' * len(names)}",
    ]
    for workload, measured in found.items():
        base = measured["wukong"].median
        others = " | ".join(f"{measured[name].median / base:.2f}" for name in names)
        lines.append(f"| {workload} | {_time(base)} | {others} |")
    return "\n".join(lines)


def verdicts(found: Found) -> str:
    """Give for every target that was measured whether it is met."""
    lines = ["\nTargets\n"]
    for workload, measured in found.items():
        for what, value, limit, met in _targets(workload, measured):
            lines.append(f"{'met   ' if met else 'MISSED'} {workload}: {what}: {value} ({limit})")
    return "\n".join(lines)


FASTER = {
    "tree_1024": {"distributed": 4.0},
    "tree_16384": {"distributed": 4.0},
    "fan_5000": {"distributed": 4.0},
    "chain_2000": {"distributed": 40.0},
    "gemm": {"distributed": 1.0, "wukong_style": 2.0},
    "svd_compressed": {"distributed": 1.0, "wukong_style": 2.0},
    "tsqr": {"distributed": 1.0, "threads": 1 / 1.1},
    "svd": {"distributed": 1.0, "threads": 1 / 1.1},
    "svc": {"distributed": 1.0, "threads": 1 / 1.1},
}
"""How many times Wukong's time an engine must take at least."""

CHAIN_MICROSECONDS, TREE_SHARE, TSQR_WRITES = 20.0, 1.05, 100.0

Verdict = tuple[str, str, str, bool]


def _targets(workload: str, measured: Mapping[str, Measured]) -> Iterator[Verdict]:
    ours = measured["wukong"]
    wanted = {"wukong_style": 1.0, **FASTER.get(workload, {})}
    for engine, least in wanted.items():
        if engine in measured:
            ratio = measured[engine].median / ours.median
            yield f"{engine} / Wukong", f"{ratio:.2f}", f">= {least:.2f}", ratio >= least
    if workload in SPECIAL:
        yield from SPECIAL[workload](measured)


def _chain(measured: Mapping[str, Measured]) -> Iterator[Verdict]:
    each = measured["wukong"].inside / (CHAIN - 2) * 1e6
    yield (
        "interior, us a task",
        f"{each:.1f}",
        f"< {CHAIN_MICROSECONDS:g}",
        each < CHAIN_MICROSECONDS,
    )


def _slow_tree(measured: Mapping[str, Measured]) -> Iterator[Verdict]:
    share = measured["wukong"].median / (TREE_TASKS * _slept(TREE_DELAY) / WORKERS)
    yield "times sleep / workers", f"{share:.3f}", f"<= {TREE_SHARE}", share <= TREE_SHARE


def _slept(seconds: float) -> float:
    """Give how long this system's sleep of so many seconds lasts, which is always a bit longer."""
    begun = time.perf_counter()
    for _ in range(SLEEPS):
        time.sleep(seconds)
    return (time.perf_counter() - begun) / SLEEPS


def _tsqr(measured: Mapping[str, Measured]) -> Iterator[Verdict]:
    if "numpywren_style" in measured:
        fewer = measured["numpywren_style"].moved(0) / measured["wukong"].moved(0)
        yield (
            "times fewer bytes written than numpywren_style",
            f"{fewer:.0f}",
            f">= {TSQR_WRITES:g}",
            fewer >= TSQR_WRITES,
        )


SPECIAL: dict[str, Callable[[Mapping[str, Measured]], Iterator[Verdict]]] = {
    "chain_2000": _chain,
    "tree_1024_10ms": _slow_tree,
    "tsqr": _tsqr,
}


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"
