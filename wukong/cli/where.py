"""Which stack, store or run a verb means: by its option, else by the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from wukong.config import Config, load_config
from wukong.errors import WukongError
from wukong.opening import located
from wukong.stack.cloudformation import Stack, StackError
from wukong.stack.releases import Releases

if TYPE_CHECKING:
    from wukong.storage import Storage


class NoSuchRunError(WukongError):
    """A run that is nowhere to be found, or an id that is too short to tell."""


def stack_of(name: str | None, config: Config | None = None) -> Stack:
    """Give the stack; nothing is asked of AWS yet."""
    config = config or load_config()
    return Stack(
        name or config.aws_lambda.aws_sam_app_name,
        region=config.aws_lambda.region,
        endpoint_url=config.aws_lambda.endpoint_url,
    )


def releases_of(name: str | None) -> Releases:
    """Give the releases of a stack; raises `StackError` if there is no such stack."""
    config = load_config()
    return Releases(stack_of(name, config), endpoint_url=config.aws_lambda.endpoint_url)


def store_of(config: Config) -> Storage | None:
    """Open the store of the configuration or its stack; None if each client starts its own.

    For the states of runs: it has no key, so nothing that is signed may be read with it.
    """
    from wukong.storage import open_storage

    # What is asked about runs may be asked before there is a stack, or after it has gone.
    with suppress(StackError):
        config = located(config)
    return open_storage(config.store.url) if config.store.url else None


def full_id(run: str, known: Iterable[str], where: str) -> str:
    """Give the id of the run that begins so.

    Raises
    ------
    NoSuchRunError
        If none does, or more than one.
    """
    found = sorted(one for one in set(known) if one.startswith(run))
    if run in found:
        return run
    if len(found) == 1:
        return found[0]
    few = ", ".join(found[:3])
    raise NoSuchRunError(
        f"{len(found)} runs begin with {run!r}: {few}" if found else f"no run {run!r} in {where}",
        "`wukong runs` lists them.",
    )
