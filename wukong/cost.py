"""What a run has cost: lines of a bill, with the date of the prices."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CostLine:
    """One line: what was used, how much of it in which unit, and what that costs."""

    what: str
    quantity: float
    unit: str
    dollars: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run has cost, and of which day the prices are."""

    lines: tuple[CostLine, ...]
    prices_dated: str

    @property
    def dollars(self) -> float:
        """The sum."""
        return sum(line.dollars for line in self.lines)
