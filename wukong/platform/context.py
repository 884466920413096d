"""What an invocation is given: the context that Lambda passes, and the settings that hold for it.

On Lambda and in worker processes settings are environment variables. Threads share one environment
with the user's program, so there they are set for the thread only (`use`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

_settings: ContextVar[Mapping[str, str] | None] = ContextVar("wukong_settings", default=None)


class Context(Protocol):
    """The part of Lambda's context object that functions use.

    https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
    """

    @property
    def aws_request_id(self) -> str:
        """Id of the invocation; a retry of it by Lambda has the same one."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation is stopped."""


@dataclass(frozen=True, slots=True)
class LocalContext:
    """The context of an invocation on this machine, which nothing stops."""

    aws_request_id: str
    seconds: float = 1e9
    started: float = 0.0

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds left of the seconds that it was given: years, unless somebody says."""
        return int((self.started + self.seconds - time.monotonic()) * 1000)


@contextmanager
def use(settings: Mapping[str, str]) -> Iterator[None]:
    """Give this thread settings of its own instead of the process's environment."""
    before = _settings.set(settings)
    try:
        yield
    finally:
        _settings.reset(before)


def settings() -> Mapping[str, str]:
    """Give the settings that hold here."""
    own = _settings.get()
    return os.environ if own is None else own


def inside_function() -> bool:
    """Tell whether this thread is one of the threads platform's, which runs a function."""
    return _settings.get() is not None
