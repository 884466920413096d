"""Whether a batch is started by one Invoker or shared among further ones, and how it is shared.

One Invoker that starts r Executors a second takes N / r for N of them. With b further Invokers it
takes one round of calls (C until the last of them runs and has been heard of), one connection and
one call for each, and N / (b r) in each of them. The best b makes the two last parts equal. What r
is, this environment has measured; at first it is a guess on the low side (docs/fanout.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from invoker.pace import CONNECTION_SECONDS
from wukong.messages import ExecutorEvent
from wukong.platform.batches import invoker_payload, sent_again

if TYPE_CHECKING:
    from wukong.storage import Storage

ROUND_SECONDS = 0.4
"""Until an Invoker runs that was not there before, and its answer is back."""

WORTH = 2.0
"""Further Invokers must make it so many times faster, as they cost and take up concurrency."""

MOST_BRANCHES = 100
MOST_DEPTH = 3
"""A batch that has been passed on so often is started where it is: nothing may run away."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A part of a batch, for an Invoker of its own."""

    function: str
    payload: bytes
    size: int

    def again(self) -> Branch:
        """Give what is sent after an answer was lost."""
        return replace(self, payload=sent_again(self.payload))


def branches(events: int, rate: float) -> int:
    """Give how many further Invokers a batch is worth; 0 if it is best started here.

    Parameters
    ----------
    rate
        Executors that one Invoker starts in a second.
    """
    each = CONNECTION_SECONDS + 1 / rate
    number = min(MOST_BRANCHES, round(math.sqrt(events / rate / each)))
    if number < 2:
        return 0
    alone, shared = events / rate, ROUND_SECONDS + number * each + events / number / rate
    return number if shared * WORTH < alone else 0


def split(
    events: Sequence[ExecutorEvent],
    number: int,
    depth: int,
    store: Callable[[], Storage],
    until: float = 0.0,
) -> list[Branch]:
    """Share a batch among so many Invokers, in order, which are waited for until then."""
    bounds = [len(events) * i // number for i in range(number + 1)]
    parts = [events[first:last] for first, last in pairwise(bounds)]
    return [
        Branch(part[0].targets.invoker, invoker_payload(part, store, depth + 1, until), len(part))
        for part in parts
        if part
    ]
