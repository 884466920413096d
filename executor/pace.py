"""How long segments take in this Executor, by kind, and what follows from it: nothing is to be set.

A kind is the name of a segment's first task, as Dask names operations. Two questions are asked:
whether a segment is so short that outputs may wait for it (executor/batch.py), and how many are
worth less than starting one more Executor.
"""

from __future__ import annotations

from wukong.graph.normalise import kind_of
from wukong.graph.spec import Spec

SHORT_SECONDS = 0.002
"""A segment is short if its kind takes less on average: about ten round trips of a network."""

NEWEST = 0.2
"""How much the newest segment counts in the average of its kind: one stall is soon forgotten."""


class Pace:
    """How long segments have taken."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._average: dict[str, float] = {}

    def took(self, spec: Spec, seconds: float) -> None:
        """Remember a segment."""
        kind = _kind(spec)
        before = self._average.get(kind, seconds)
        self._average[kind] = before + NEWEST * (seconds - before)
        self.longest = max(self.longest, seconds)

    def is_short(self, spec: Spec) -> bool:
        """Tell whether a segment can be expected to be short."""
        return self._average.get(_kind(spec), SHORT_SECONDS) < SHORT_SECONDS

    def room(self, spec: Spec, seconds: float) -> int | None:
        """Give how many segments like this one take so long together; None if nobody knows yet."""
        average = self._average.get(_kind(spec))
        return None if average is None else int(seconds / max(average, 1e-6))


def _kind(spec: Spec) -> str:
    return kind_of(spec.tasks[0][0])
