"""What the page shows of a run, as numbers and texts that go into JSON.

Times are whole ticks since the client began; a tick is a microsecond, or a millionth of the run if
that is more; of very many steps, a 200,000th, which nobody sees. So a step takes some 30 bytes,
whatever the run's length.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from wukong.cost import Cost
from wukong.record import ExecutorRecord, RunRecord
from wukong.report.facts import WAYS, edges, group_of, why_started
from wukong.report.graph import graph_of
from wukong.storage.notes import Place, Way

ROWS = 300
"""So many edges and Executors are listed one by one; of more, kinds are counted."""

SLOWEST = 20

MANY = 20_000
FINE, COARSE = 1_000_000, 200_000
"""So many ticks a run has at most, with fewer and with more edges and Executors than `MANY`."""


def view_of(record: RunRecord, cost: Cost | None = None) -> dict[str, Any]:
    """Give all that the page shows."""
    summary = record.summary
    ends = [one.began + one.ended for one in record.executors]
    span = max([summary.ended, *ends]) - summary.started
    tick = max(1e-6, span / (FINE if len(record.ways) + len(ends) < MANY else COARSE))
    return {
        "summary": {
            "run": summary.run,
            "title": summary.title,
            "outcome": summary.outcome,
            "error": summary.error,
            "started": summary.started,
            "seconds": summary.seconds,
            "platform": summary.platform,
            "workers": summary.workers,
            "where": summary.where,
            "tasks": summary.tasks,
            "segments": summary.segments,
            "executors": summary.executors,
            "begun": summary.begun,
            "missing": summary.missing,
            "written": record.written,
            "unpacking": record.unpacking,
            "unpacked": record.unpacked,
            "options": summary.options,
            "version": summary.version,
        },
        "tick": tick,
        "span": _ticks(span, tick),
        "submitted": _ticks(summary.submitted - summary.started, tick),
        "ended": _ticks(summary.seconds, tick),
        "lanes": _lanes(record, tick),
        "steps": _steps(record, tick),
        "labels": _labels(record),
        "graph": graph_of(record),
        "slowest": _slowest(record),
        "kinds": _kinds(record),
        "traffic": [[WAYS[way], size] for way, size in record.traffic.items() if way],
        "edges": _edge_rows(record),
        "executors": _executor_rows(record),
        "cost": _cost(cost),
    }


def _ticks(seconds: float, tick: float) -> int:
    return max(0, round(seconds / tick))


def _lanes(record: RunRecord, tick: float) -> Mapping[str, Sequence[Any]]:
    """Give for each Executor: when it was asked for, began and ended, its process and name."""
    start = record.summary.started
    processes: dict[str, int] = {}
    asked = _asked(record)
    lanes = [
        (
            _ticks(min(asked[place], one.began) - start, tick),
            _ticks(one.began - start, tick),
            _ticks(one.began + one.ended - start, tick),
            processes.setdefault(one.place.process, len(processes)),
            one.token[:6],
        )
        for place, one in enumerate(record.executors)
    ]
    names = ("asked", "began", "ended", "process", "token")
    return {name: [lane[i] for lane in lanes] for i, name in enumerate(names)} | {
        "processes": [str(name) for name in processes]
    }


def _asked(record: RunRecord) -> list[float]:
    """Give the wall clock at which the latest input of each Executor's first segment was official.

    Leaves, and what is driven again, are asked for by the client.
    """
    arrived: dict[int, float] = {}
    steps = record.steps
    for row, segment in enumerate(steps["segment"]):
        if steps["arrived"][row] >= 0:
            who = record.executors[int(steps["executor"][row])]
            arrived[int(segment)] = who.began + steps["arrived"][row]
    latest: dict[int, float] = {}
    for producer, consumer in record.outline.edges():
        if producer in arrived:
            latest[consumer] = max(latest.get(consumer, 0.0), arrived[producer])
    return [_asked_of(one, latest, record.summary.submitted) for one in record.executors]


def _asked_of(one: ExecutorRecord, latest: Mapping[int, float], submitted: float) -> float:
    if one.reason == "leaf":
        return submitted
    if one.reason == "fan-out" and one.lineages:
        return latest.get(one.lineages[0].segment, one.began)
    return one.began


def _steps(record: RunRecord, tick: float) -> Mapping[str, Sequence[int]]:
    """Give for each step its lane, segment, begin, and how long each part took, in ticks."""
    steps, start = record.steps, record.summary.started
    offsets = [one.began - start for one in record.executors]
    lanes = [int(one) for one in steps["executor"]]
    found: dict[str, list[int]] = {
        "lane": lanes,
        "segment": [int(one) for one in steps["segment"]],
        "written": [int(one) for one in steps["written"]],
    }
    for name in ("began", "computing", "arrived"):
        column = steps[name]
        found[name] = [
            _ticks(offsets[lane] + at, tick) if at >= 0 else -1
            for lane, at in zip(lanes, column, strict=True)
        ]
    for name in ("fetch", "compute", "pack", "arrive"):
        found[name] = [_ticks(seconds, tick) for seconds in steps[name]]
    return found


def _labels(record: RunRecord) -> Mapping[str, Any]:
    outline = record.outline
    return {
        "names": outline.names,
        "name": list(outline.name),
        "index": outline.index,
        "kinds": outline.kinds,
        "kind": list(outline.kind),
    }


def _slowest(record: RunRecord) -> list[list[Any]]:
    steps = record.steps
    rows = sorted(range(len(steps["compute"])), key=lambda row: -steps["compute"][row])
    return [
        [
            record.outline.label(int(steps["segment"][row])),
            steps["compute"][row],
            int(steps["written"][row]),
            record.executors[int(steps["executor"][row])].token[:6],
        ]
        for row in rows[:SLOWEST]
    ]


def _kinds(record: RunRecord) -> list[list[Any]]:
    """Give for each kind of segment: how many, seconds in all, the longest, bytes written."""
    found: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0, 0])
    steps, outline = record.steps, record.outline
    for row, number in enumerate(steps["segment"]):
        segment = int(number)
        known = segment < len(outline)
        kind = outline.kinds[int(outline.kind[segment])] if known else "(unknown)"
        one, seconds = found[kind], steps["compute"][row]
        one[0] += 1
        one[1] += seconds
        one[2] = max(one[2], seconds)
        one[3] += steps["written"][row]
    return [
        [kind, *values] for kind, values in sorted(found.items(), key=lambda item: -item[1][1])
    ][:SLOWEST]


def _edge_rows(record: RunRecord) -> Mapping[str, Any]:
    found = list(edges(record))
    if len(found) <= ROWS:
        label = record.outline.label
        rows = [
            [label(one.producer), label(one.consumer), 1, WAYS[one.way], one.size, one.why]
            for one in found
        ]
        return {"count": len(found), "single": True, "rows": rows}
    counts: Counter[tuple[str, str, Way, str]] = Counter()
    sizes: Counter[tuple[str, str, Way, str]] = Counter()
    for one in found:
        pair = (group_of(record.outline, one.producer), group_of(record.outline, one.consumer))
        counts[(*pair, one.way, one.why)] += 1
        sizes[(*pair, one.way, one.why)] += one.size
    groups = [
        [group[0], group[1], count, WAYS[group[2]], sizes[group], group[3]]
        for group, count in counts.most_common(ROWS)
    ]
    return {"count": len(found), "single": False, "rows": groups}


def _executor_rows(record: RunRecord) -> Mapping[str, Any]:
    ran = Counter(int(one) for one in record.steps["executor"])
    rows = [
        [
            one.token[:6],
            ran[place],
            one.ended,
            _where(one),
            why_started(record, one),
        ]
        for place, one in enumerate(record.executors[:ROWS])
    ]
    reasons = Counter(one.reason for one in record.executors).most_common()
    return {"count": len(record.executors), "rows": rows, "reasons": reasons}


def _where(one: ExecutorRecord) -> str:
    place = one.place
    if not place.function:
        return f"process {place.process}{_bundle(place)}"
    cold = f", cold start {place.born:.2f} s" if not place.earlier else ""
    return f"{place.function}, {place.memory_mb} MB{cold}{_bundle(place)}"


def _bundle(place: Place) -> str:
    if not place.unpacking:
        return ""
    return f", bundle in {place.unpacking:.2f} s ({place.unpacked / 1e6:.0f} MB read)"


def _cost(cost: Cost | None) -> Mapping[str, Any] | None:
    if cost is None:
        return None
    lines = [[line.what, line.quantity, line.unit, line.dollars] for line in cost.lines]
    return {
        "lines": lines,
        "dollars": cost.dollars,
        "dated": cost.prices_dated,
        "billed": cost.billed,
    }
