"""What one simulated Executor is and sees: its turns, store, platform, heartbeat and time.

Each is a thread, of which only one runs at a time. Its heartbeat and its timer have no threads: the
world lets them act while time passes, as those of an Executor that is not frozen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from executor.clock import Clock
from executor.heartbeat import Heartbeat
from tests.simulation.graphs import turn
from wukong.messages import ExecutorEvent, InvokerReport, Targets
from wukong.platform.interface import Platform
from wukong.storage import StorageError

if TYPE_CHECKING:
    from tests.simulation.world import World

TARGETS = Targets("executor", "invoker")


class Killed(BaseException):
    """The process of an Executor ends here."""


@dataclass(eq=False)
class Executor:
    """One invocation: a thread that waits for its turn before each call to the store.

    It is frozen until `wakes`, in a task until `works`, and ended by its platform at `deadline`.
    """

    event: ExecutorEvent
    wakes: float
    deadline: float
    mute: bool = False
    works: float = 0.0
    looks: float = 0.0
    heartbeat: Heartbeat | None = None
    timers: list[Later] = field(default_factory=list)
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    parked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    killed: bool = False
    over: bool = False

    @property
    def is_here(self) -> bool:
        """Tell whether it is this Executor's own thread that asks, and not the world's."""
        return getattr(turn, "executor", None) is self

    def park(self) -> None:
        """Wait for the next turn, in its own thread; it may be the last."""
        if not self.is_here:
            return
        if not self.killed:
            self.parked.release()
            self.go.acquire()
        if self.killed:
            raise Killed


class Gate:
    """The store, as one Executor sees it: each call waits for its turn, and may go wrong."""

    def __init__(self, world: World, executor: Executor) -> None:
        self._world = world
        self._executor = executor

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._world.store, name)

        def call(*arguments: Any) -> Any:
            self._executor.park()
            self._world.lose_beat(self._executor)
            answer = method(*arguments)
            if self._world.happens(self._world.odds.lost_reply):
                raise StorageError("the connection was lost", "")
            if self._world.happens(self._world.odds.repeated):
                answer = method(*arguments)
            return answer

        return call


class Starter(Platform):
    """The platform, as an Executor sees it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.parallelism = world.parallelism

    def targets(self) -> Targets:
        return TARGETS

    def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
        return self._world.start(events)


class Beating(Heartbeat):
    """The heartbeat, without a thread: the world has it look while time passes."""

    def __enter__(self) -> Beating:
        turn.executor.heartbeat = self
        return self

    def __exit__(self, *_: object) -> None:
        turn.executor.heartbeat = None


@dataclass(eq=False)
class Later:
    """What an Executor does later."""

    due: float
    act: Callable[[], None]
    timers: list[Later]

    def cancel(self) -> None:
        if self in self.timers:
            self.timers.remove(self)


class WorldClock(Clock):
    """The world's time, for one Executor."""

    def __init__(self, world: World, executor: Executor) -> None:
        self._world = world
        self._executor = executor

    def now(self) -> float:
        return self._world.now

    def later(self, seconds: float, act: Callable[[], None]) -> Later:
        timers = self._executor.timers
        timers.append(Later(self._world.now + seconds, act, timers))
        return timers[-1]
