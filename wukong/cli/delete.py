"""`wukong delete`: the stack with all that it made; asks first, and says what it keeps."""

from __future__ import annotations

import sys

import typer

from wukong.cli.output import Output
from wukong.cli.where import stack_of
from wukong.config import load_config
from wukong.errors import WukongError
from wukong.stack.leaving import PACKAGES, Leaving
from wukong.stack.stores import network_used


class ConfirmationError(WukongError):
    """Nobody said yes, so nothing was deleted."""


def delete(out: Output, stack: str | None, *, is_confirmed: bool, purge: bool) -> None:
    """Delete the stack; its packages are kept, as only they cannot be made again, or purged."""
    config = load_config()
    where = stack_of(stack, config)
    where.found()
    bucket = where.bucket_of(PACKAGES)
    network = network_used(where)
    if not is_confirmed:
        _ask(f"Delete stack {where.name} in {where.region}, with its functions and their logs?")
        if bucket is not None and purge:
            packages = where.count_versions(bucket)
            _ask(f"Also delete the {packages} packages and layers, all versions, in {bucket}?")
    out.say(f"Deleting stack {where.name}; this takes a minute.")
    kept = Leaving(where, endpoint_url=config.aws_lambda.endpoint_url).leave(purge=purge)
    out.say(f"Stack {where.name} has gone.")
    for one in kept:
        out.say(f"Kept: {one}.")
    if f"bucket {bucket}" in kept:
        out.say(
            "A new stack needs another BucketPrefix, or this bucket gone: "
            f"wukong delete --bucket {bucket}"
        )
    if network is not None:
        out.say(
            "If no other stack uses the network: "
            f"aws cloudformation delete-stack --stack-name {network}"
        )
    out.give({"stack": where.name, "bucket": bucket, "deleted": True, "kept": list(kept)})


def delete_bucket(out: Output, bucket: str, *, is_confirmed: bool) -> None:
    """Delete the packages that an earlier deletion has kept."""
    config = load_config()
    leaving = Leaving(stack_of(None, config), endpoint_url=config.aws_lambda.endpoint_url)
    if not is_confirmed:
        _ask(f"Delete {bucket} with all packages and layers in it, all versions?")
    leaving.purge(bucket)
    out.say(f"Bucket {bucket} has gone.")
    out.give({"bucket": bucket, "deleted": True})


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise ConfirmationError(
            f"{question} There is nobody to ask; nothing was deleted", "Say it with --yes."
        )
    if not typer.confirm(question, err=True):
        raise ConfirmationError("nothing was deleted", "Nothing was changed either.")
