"""How far a deployment has come, so that one which must stop says what is done and what is left."""

from __future__ import annotations

from collections.abc import Iterable


class Progress:
    """The steps of one event: those that are done, and those still expected."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._left: list[str] = []

    @property
    def done(self) -> tuple[str, ...]:
        """What has been done, in order."""
        return tuple(self._done)

    @property
    def left(self) -> tuple[str, ...]:
        """What was planned and has not been done."""
        return tuple(self._left)

    def expect(self, steps: Iterable[str]) -> None:
        """Say what is planned; a new plan replaces what was left of an older one."""
        self._left = list(steps)

    def tick(self, step: str) -> None:
        """Say that a step is done."""
        self._done.append(step)
        if step in self._left:
            self._left.remove(step)
