"""Counting without counters: arrivals at a child, and marks of consumers at an input.

Each arrival and each mark has a place of its own, so that a repeated one counts nothing. What has
more than FAN of them has a tree of nodes: whoever completes a node arrives at the node above it.

The arrival that completes a child claims it in the same write. A repeated arrival completes nothing
and so claims nothing: an Executor that comes back from the dead cannot take a child that its
successor does not know of. Which arrival has completed a node is written into the node (`last`), so
that a repetition of that one, and of no other, goes on upwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from wukong.storage.dynamo.access import Access, RunInfo
from wukong.storage.dynamo.items import Output, arrived_as, steps
from wukong.storage.dynamo.table import Change, Condition, Item
from wukong.storage.terms import (
    StorageError,
)

MOST_TRIES = 100
"""Somebody else gets on each time that a condition does not hold, so it never takes so many."""


@dataclass(frozen=True, slots=True)
class Landed:
    """A child after an arrival: its item, and whether this arrival has claimed it."""

    item: Item
    claimed: bool


def arrive_at(
    access: Access,
    info: RunInfo,
    child: tuple[int, int, int],
    segment: int,
    output: Output,
    claim: str,
) -> Landed | None:
    """Count an input at a child, and claim the child if that was the last.

    Parameters
    ----------
    child
        Its number, how many inputs it has, and this input's place among them.
    claim
        What to claim it with.

    Returns
    -------
    None if the child's item has not been looked at, as a node below it waits for others.
    """
    number, need, place = child
    *below, top = steps("a", need, place)
    label, value = arrived_as(segment), str(output)
    for step in below:
        if not _fill(access, info, (number, step.part), label, value, step.size):
            return None
        # Above, it is the node that arrives.
        label, value = arrived_as(int(step.part.rpartition(".")[2])), "1"
    return _land(access, info, number, (label, value), top.size, claim)


def _fill(
    access: Access, info: RunInfo, node: tuple[int, str], label: str, value: str, size: int
) -> bool:
    """Arrive at a node; tell whether this arrival has completed it, now or earlier."""
    key = info.layout.segment(*node)
    for _ in range(MOST_TRIES):
        if size > 1:
            early: tuple[Condition, ...] = (("missing", label), ("lt", "n", size - 1))
            made, item = access.change(Change(key, {label: value}, {"n": 1}, when=early), info)
            if made:
                return False
            if label in item:
                return item.get("last") == label
        late: tuple[Condition, ...] = (("missing", label), ("eq", "n", size - 1))
        filled = {label: value, "last": label}
        made, item = access.change(Change(key, filled, {"n": 1}, when=late), info)
        if made or label in item:
            return item.get("last") == label
    raise _restless(f"node {node}")


def _land(
    access: Access, info: RunInfo, number: int, entry: tuple[str, str], size: int, claim: str
) -> Landed:
    """Arrive at the item of a child."""
    key = info.layout.segment(number)
    label, value = entry
    item: Item = {"n": 0}
    for tried in range(MOST_TRIES):
        put = {label: value}
        when: tuple[Condition, ...] = (("missing", label), ("lt", "n", size - 1))
        claims = False
        if item.get("n") == size - 1 and "claim" in item:
            # Whoever held this input has claimed the child with it already.
            when = (("missing", label), ("eq", "n", size - 1), ("eq", "claim", item["claim"]))
        elif size == 1 or tried:
            claims = True
            put["claim"] = claim
            when = (("missing", label), ("eq", "n", size - 1), ("missing", "claim"))
        made, item = access.change(Change(key, put, {"n": 1}, when=when), info)
        if made:
            return Landed(item, claims)
        if label in item:
            return Landed(item, False)
    raise _restless(f"segment {number}")


def mark(access: Access, info: RunInfo, one: tuple[int, int, int]) -> bool:
    """Mark at an input that a consumer has arrived; tell whether all have.

    Parameters
    ----------
    one
        The input's number, how many consumers it has, and this consumer's place among them.
    """
    number, consumers, place = one
    if not consumers:
        return False
    for step in steps("r", consumers, place):
        exists: tuple[Condition, ...] = (("exists", "n"),) if not step.part else ()
        put = {"expires": info.expires} if step.part else {}
        key = info.layout.segment(number, step.part)
        change = Change(key, put, {"r": frozenset({step.place})}, when=exists)
        outcome = access.table.change(change)
        if not outcome.made or outcome.item is None or not is_full(outcome.item, step.size):
            return False
    return True


def is_full(item: Item, size: int) -> bool:
    """Tell whether all marks of a node are there."""
    marks = item.get("r")
    return isinstance(marks, frozenset) and len(marks) == size


def is_idle(item: Item, consumers: int) -> bool:
    """Tell whether nobody waits for the output of a segment any more."""
    return bool(consumers) and is_full(item, steps("r", consumers, 0)[-1].size)


def _restless(what: str) -> Exception:
    return StorageError(
        f"{what} changed {MOST_TRIES} times while it was to be changed",
        "This points to a fault of the back-end; please report it.",
    )
