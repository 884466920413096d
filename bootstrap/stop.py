"""The sign by which a deletion stops the deployments that still run: a tag on the bootstrap itself.

    Delete:      leave the sign ─> read both ─> delete what is there
    deployment:  create both ─> look for the sign ─> delete them again if it came meanwhile

Whichever of the two writes last sees what the other wrote, so nothing that a stack created is left
behind when the stack is gone: there is nobody then who could delete it. The sign is of the last
deletion only; two pairs deleted within the minutes of one creation are not told apart in time.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from aws_lambda_powertools import Logger

from bootstrap import claim, layers
from bootstrap.errors import BootstrapError, DeletedMeanwhileError
from bootstrap.events import Request
from bootstrap.surroundings import Surroundings

SIGN = "wukong:deleted"

logger = Logger(service="bootstrap", child=True)


def leave(request: Request, around: Surroundings) -> None:
    """Say that the pair is being deleted; a deletion goes on if that cannot be said."""
    value = f"{around.now().isoformat()} {request.spec.executor.function_name}"
    try:
        around.api.tag(around.function_arn, {SIGN: value})
    except BootstrapError as error:
        logger.warning("no sign left", problem=error.message)


def heed(request: Request, around: Surroundings) -> None:
    """Look whether the pair was deleted since the event began.

    Raises
    ------
    DeletedMeanwhileError
        If it was.
    """
    tags = around.api.read_tags(around.function_arn)
    at, _, pair = tags.get(SIGN, "").partition(" ")
    if pair != request.spec.executor.function_name or datetime.fromisoformat(at) < around.began:
        return
    raise DeletedMeanwhileError(
        f"The pair was deleted at {at}, while it was being deployed; what was created went too.",
        "To have it again, deploy it again.",
    )


def clean_up(request: Request, around: Surroundings, layer_arns: Iterable[str]) -> None:
    """Delete what this event created or may have created, if the pair was deleted meanwhile.

    The answer to a creation may have been lost, so a function's tag decides whose it is: somebody
    may have deployed anew after the deletion.

    Raises
    ------
    DeletedMeanwhileError
        If it was deleted.
    """
    try:
        heed(request, around)
    except DeletedMeanwhileError:
        # A list, so that both are looked at in any case.
        gone = [_is_gone(around, spec.function_name) for spec in request.spec.functions]
        if all(gone):
            layers.delete(around, layer_arns)
        raise


def _is_gone(around: Surroundings, name: str) -> bool:
    """Delete a function if this event created it, and tell whether there is none now."""
    found = around.api.read_holding(name)
    if found and found.marks.get(claim.CREATED) == around.request_id:
        around.api.delete(name)
        return True
    return found is None
