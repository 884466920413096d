"""A run in words: how many edges went which way and why, and who started each Executor and why."""

from __future__ import annotations

from collections import Counter

from wukong.record import RunRecord
from wukong.report.facts import WAYS, edges, why_started

SHOWN = 40


def explain(record: RunRecord) -> str:
    """Explain a run: a paragraph for its outcome, its edges and its Executors."""
    return "\n".join([*_outcome(record), "", *_edges(record), "", *_executors(record)])


def _outcome(record: RunRecord) -> list[str]:
    one = record.summary
    lines = [
        f"run {one.run}: {one.title or 'unknown graph'}, {one.outcome} "
        f"after {one.seconds:.3g} s on {one.platform}",
        f"{one.tasks:,} tasks in {one.segments:,} segments, run by {one.executors:,} Executors",
    ]
    if one.error:
        lines.append(one.error)
    if record.unpacking:
        count = sum(1 for other in record.executors if other.place.unpacking)
        lines.append(
            f"{count:,} Executors waited {record.unpacking:.2f} s for overflow bundles, of which "
            f"{record.unpacked:,} bytes were read"
        )
    if one.missing:
        lines.append(
            f"of {one.missing:,} of {one.begun:,} lineages nothing is known: their Executors were "
            "lost, or wrote after the end"
        )
    return lines


def _edges(record: RunRecord) -> list[str]:
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for edge in edges(record):
        counts[WAYS[edge.way], edge.why] += 1
        sizes[WAYS[edge.way], edge.why] += edge.size
    lines = [f"{sum(counts.values()):,} edges"]
    for (way, why), count in counts.most_common():
        lines.append(f"  {count:>7,} {way} ({sizes[way, why]:,} bytes): {why}")
    return lines


def _executors(record: RunRecord) -> list[str]:
    lines = ["Executors, and who had them started"]
    lines += [
        f"  {one.token[:6]} by {why_started(record, one)}" for one in record.executors[:SHOWN]
    ]
    if len(record.executors) > SHOWN:
        reasons = Counter(one.reason for one in record.executors[SHOWN:])
        rest = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        lines.append(f"  and {len(record.executors) - SHOWN:,} more: {rest}")
    return lines
