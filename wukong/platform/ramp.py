"""How fast Lambda lets a function grow, and how far.

A function may have 1,000 environments more every 10 seconds, until all functions of the account and
region together have as many as its concurrency quota (1,000 unless raised; new accounts 10).
https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html#scaling-rate
"""

from __future__ import annotations

import math
from dataclasses import dataclass

STEP_ENVIRONMENTS = 1_000
STEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Ramp:
    """What becomes of Executors that are started at once.

    Attributes
    ----------
    executors
        How many are started.
    at_once
        How many of them run together at most.
    seconds
        Until these run. The others wait until some have ended.
    """

    executors: int
    at_once: int
    seconds: float

    def __str__(self) -> str:
        if not self.executors:
            return "no Executor is started"
        waiting = self.executors - self.at_once
        text = f"{self.at_once:,} of {self.executors:,} Executors run at once"
        if self.seconds:
            text += f", after {self.seconds:.0f} s, as Lambda adds 1,000 every 10 s"
        if waiting:
            text += f"; {waiting:,} wait for the account's concurrency"
        return text


def ramp(executors: int, concurrency: int | None) -> Ramp:
    """Say how long it takes until Executors that are started at once run.

    Parameters
    ----------
    concurrency
        The account's quota; None if it is not known.
    """
    at_once = executors if concurrency is None else min(executors, concurrency)
    steps = max(0, math.ceil(at_once / STEP_ENVIRONMENTS) - 1)
    return Ramp(executors, at_once, steps * STEP_SECONDS)
