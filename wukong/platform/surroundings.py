"""What a function finds around it: its settings and the time it has left.

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

from wukong.platform.interface import Platform, PlatformError
from wukong.storage import Storage, open_storage

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
    seconds: float = 900.0
    started: float = 0.0

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds left of as many seconds as Lambda gives at most."""
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


# What an environment keeps while it is warm: connections, by what they lead to.
_stores: dict[str, Storage] = {}
_platforms: dict[tuple[str, str], Platform] = {}


def store() -> Storage:
    """Open the store that the settings name; an environment keeps its connection while warm."""
    url = settings().get("WUKONG_STORE_URL", "")
    if not url:
        raise PlatformError(
            "WUKONG_STORE_URL is not set, so this function has no store",
            "Give the stack parameter StoreUrl (or the function's environment) the URL of a "
            "Valkey server, such as valkeys://HOST:6379.",
        )
    if url not in _stores:
        _stores[url] = open_storage(url)
    return _stores[url]


def platform() -> Platform:
    """Give the platform that the settings name: `aws` unless they say otherwise."""
    here = settings()
    which = (here.get("WUKONG_PLATFORM", "aws"), here.get("WUKONG_QUEUE", ""))
    if which not in _platforms:
        _platforms[which] = _open_platform(*which)
    return _platforms[which]


def _open_platform(name: str, queue: str) -> Platform:
    if name == "aws":
        from wukong.platform.aws import AwsPlatform

        return AwsPlatform.of_function()
    if name == "local":
        from wukong.platform.local import QueuePlatform

        return QueuePlatform(settings()["WUKONG_STORE_URL"], queue)
    if name == "threads":
        from wukong.platform.threads import ThreadsPlatform

        return ThreadsPlatform.named(queue)
    raise PlatformError(
        f"WUKONG_PLATFORM: {name!r} is no platform", "Set it to aws, local or threads."
    )
