"""`wukong delete`: the stack with all that it made; asks first, unless told not to."""

from __future__ import annotations

import sys

import typer

from wukong.cli.output import Output
from wukong.cli.where import stack_of
from wukong.errors import WukongError


class ConfirmationError(WukongError):
    """Nobody said yes, so nothing was deleted."""


def delete(out: Output, stack: str | None, *, is_confirmed: bool) -> None:
    """Delete the stack; CloudFormation deletes a bucket only if it is empty, so it is emptied."""
    where = stack_of(stack)
    bucket = where.outputs().get("PackageBucketName")
    if not is_confirmed:
        _ask(f"Delete stack {where.name} in {where.region}, with its functions and their logs?")
        if bucket is not None:
            packages = where.count_versions(bucket)
            _ask(f"Also delete the {packages} packages and layers, all versions, in {bucket}?")
    out.say(f"Deleting stack {where.name}; this takes a minute.")
    where.delete()
    out.say(f"Stack {where.name} has gone.")
    out.give({"stack": where.name, "bucket": bucket, "deleted": True})


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise ConfirmationError(
            f"{question} There is nobody to ask; nothing was deleted", "Say it with --yes."
        )
    if not typer.confirm(question, err=True):
        raise ConfirmationError("nothing was deleted", "CloudFormation deletes all of it or none.")
