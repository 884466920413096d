"""What a function reaches from where it runs: its store and its platform, kept while it is warm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wukong.platform.context import settings

if TYPE_CHECKING:
    from wukong.platform.interface import Platform
    from wukong.storage import Storage

# What an environment keeps while it is warm: connections, by what they lead to.
_stores: dict[tuple[str, str, str], Storage] = {}
_platforms: dict[tuple[str, str], Platform] = {}


def store() -> Storage:
    """Open the store that the settings name; an environment keeps its connection while warm."""
    here = settings()
    url = here.get("WUKONG_STORE_URL", "")
    if not url:
        from wukong.platform.interface import PlatformError

        raise PlatformError(
            "WUKONG_STORE_URL is not set, so this function has no store",
            "Give the stack parameter StoreUrl (or the function's environment) the URL of a "
            "Valkey server, such as valkeys://HOST:6379, or dynamodb+s3://TABLE/BUCKET.",
        )
    which = (url, here.get("WUKONG_STORE_SIGNING_KEY", ""), here.get("WUKONG_QUEUE", ""))
    if which not in _stores:
        # An Invoker starts Executors before it needs any storage.
        from wukong.storage import open_storage

        _stores[which] = open_storage(*which[:2])
    return _stores[which]


def platform() -> Platform:
    """Give the platform that the settings name: `aws` unless they say otherwise."""
    here = settings()
    which = (here.get("WUKONG_PLATFORM", "aws"), here.get("WUKONG_QUEUE", ""))
    if which not in _platforms:
        _platforms[which] = _open_platform(*which)
    return _platforms[which]


def forget(queue: str) -> None:
    """Close what environments with this queue have kept, as they have ended."""
    for of_store in [which for which in _stores if which[2] == queue]:
        _stores.pop(of_store).close()
    for of_platform in [which for which in _platforms if which[1] == queue]:
        del _platforms[of_platform]


START_SECONDS = 0.05
"""What Lambda takes to start an Executor in a warm environment (docs/fanout.md)."""


def start_seconds() -> float:
    """Give what starting an Executor costs here, without opening the platform.

    On this machine it costs nothing worth counting, and who runs what follows from the number of
    workers.
    """
    return START_SECONDS if settings().get("WUKONG_PLATFORM", "aws") == "aws" else 0.0


def _open_platform(name: str, queue: str) -> Platform:
    if name == "aws":
        from wukong.platform.aws import AwsPlatform

        return AwsPlatform.of_function()
    if name == "local":
        from wukong.platform.local import QueuePlatform

        here = settings()
        return QueuePlatform(here["WUKONG_QUEUE_URL"], queue, int(here["WUKONG_WORKERS"]))
    if name == "threads":
        from wukong.platform.threads import ThreadsPlatform

        return ThreadsPlatform.named(queue)
    from wukong.platform.interface import PlatformError

    raise PlatformError(
        f"WUKONG_PLATFORM: {name!r} is no platform", "Set it to aws, local or threads."
    )
