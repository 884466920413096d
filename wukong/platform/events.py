"""Events of Executors that fit into a payload: groups of lineages that are too large are cut."""

from __future__ import annotations

from dataclasses import replace

from wukong.messages import ExecutorEvent, Start

LONGEST_START = 24
"""Bytes of a start and its comma in an event, where both of its numbers have ten digits."""


def cut(event: ExecutorEvent, most: int) -> list[ExecutorEvent]:
    """Give events for all lineages of one that have at most so many bytes, each with some.

    Neighbours stay together; what fits is one event.
    """
    room = most - len(replace(event, starts=()).to_bytes())
    if len(event.starts) * LONGEST_START <= room:
        return [event]
    pieces: list[list[Start]] = []
    left = 0
    for start in event.starts:
        size = len(f"[{start.segment},{start.epoch}],")
        if size > left:
            pieces.append([])
            left = room
        pieces[-1].append(start)
        left -= size
    return [replace(event, starts=tuple(piece)) for piece in pieces]
