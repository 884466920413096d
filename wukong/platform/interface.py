"""What the engine asks of a platform: start Executors, and say which functions a run uses."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wukong.errors import WukongError
from wukong.messages import ExecutorEvent, InvokerReport, Start, Targets

if TYPE_CHECKING:
    from concurrent.futures import Future

    from wukong.platform.environment import Environment, Probe

SHARES = 4
"""A group is at most one of so many shares of what is left for each Executor."""


class PlatformError(WukongError):
    """Functions cannot be started: missing, not allowed, or not reachable."""


@dataclass(frozen=True, slots=True)
class Provision:
    """What an Executor on Lambda is given: megabytes of memory, its processor, and its region."""

    memory_mb: int
    architecture: Literal["x86_64", "arm64"]
    region: str


@dataclass(frozen=True, slots=True)
class Death:
    """What an Executor was to do that has died, and what it died of."""

    event: ExecutorEvent
    cause: str


def guided(starts: Sequence[Start], parallelism: int) -> list[tuple[Start, ...]]:
    """Share lineages among so many Executors at once, in groups that get smaller to the end."""
    groups: list[tuple[Start, ...]] = []
    taken = 0
    while taken < len(starts):
        size = max(1, (len(starts) - taken) // (SHARES * parallelism))
        groups.append(tuple(starts[taken : taken + size]))
        taken += size
    return groups


class Platform(abc.ABC):
    """Where functions run."""

    handoff_seconds: float = 60.0
    """How long a started Executor may take until it begins, before it is started again."""

    parallelism: int | None = None
    """How many Executors can run at once; None where there is no end to them."""

    carried: frozenset[str] = frozenset()
    """The user's own modules that runs took with them: values of these may be inputs of others."""

    def grouped(self, starts: Sequence[Start]) -> list[tuple[Start, ...]]:
        """Share lineages that can begin now among Executors: each its own, if there are enough.

        Where there are few, neighbours go together, as starting one costs more than a short
        segment: groups get smaller and smaller, so that all end at nearly the same time (guided
        self-scheduling: Polychronopoulos and Kuck, IEEE Transactions on Computers, 1987).
        """
        if self.parallelism is None:
            return [(start,) for start in starts]
        return guided(starts, self.parallelism)

    @property
    def throttled(self) -> int:
        """How often a start was refused so far because too many functions ran, or were started."""
        return 0

    @abc.abstractmethod
    def targets(self) -> Targets:
        """Resolve the functions that a new run uses, pinned to one release where there are any.

        Raises
        ------
        PlatformError
            If a function is not there.
        """

    @abc.abstractmethod
    def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
        """Start Executors and report which were not accepted; never raises for a single one."""

    def probe(self, targets: Targets) -> Future[Environment] | None:  # noqa: ARG002
        """Begin to ask what Executors of these functions run on; what was asked before is known.

        None where they run on the same as this process. The future raises `PlatformError` if they
        do not answer.
        """
        return None

    def ask(self, targets: Targets, probe: Probe) -> Environment:  # noqa: ARG002 - for those that do
        """Have an Executor answer a probe, and wait for it; only where `probe` gives a future.

        Raises
        ------
        PlatformError
            If it does not answer, or Executors here are not asked.
        """
        raise PlatformError(
            f"{type(self).__name__} has no Executors that can be asked what they have",
            "Its Executors have what this process has; ask only where `probe` gives a future.",
        )

    def explain(self) -> Sequence[str]:
        """Say how Executors are started here and why so, a line for each."""
        return ()

    def provision(self) -> Provision | None:
        """Say what Executors are given; None on this machine, or if that may not be asked."""
        return None

    def check(self) -> Sequence[Death]:
        """Give the Executors of which the platform knows that they died since the last look.

        Raises
        ------
        PlatformError
            If the platform has come to a stop while a run waits for it.
        """
        return ()

    def close(self) -> None:
        """Stop what this object has started."""
        return
