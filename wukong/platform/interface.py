"""What the engine asks of a platform: start Executors, and say which functions a run uses."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from wukong.errors import WukongError
from wukong.messages import ExecutorEvent, InvokerReport, Targets


class PlatformError(WukongError):
    """Functions cannot be started: missing, not allowed, or not reachable."""


class Platform(abc.ABC):
    """Where functions run."""

    handoff_seconds: float = 60.0
    """How long a started Executor may take until it begins, before it is started again."""

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

    def check(self) -> None:
        """Raise `PlatformError` if the platform has come to a stop while a run waits for it."""
        return

    def close(self) -> None:
        """Stop what this object has started."""
        return
