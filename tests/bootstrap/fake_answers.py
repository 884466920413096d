"""How Lambda says no, and what its answers have in common; for all `fake_*` modules of Lambda."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

from tests.bootstrap.fake_aws import Answer, Refused

T = TypeVar("T")

BUSY = "The operation cannot be performed at this time. "
STALE = Refused(
    412,
    "PreconditionFailedException",
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
)


def conflict(message: str) -> Refused:
    """Give the error for what cannot be done now, or is there already."""
    return Refused(409, "ResourceConflictException", message)


def invalid(message: str) -> Refused:
    """Give the error for what can never be done."""
    return Refused(400, "InvalidParameterValueException", message)


def missing(message: str) -> Refused:
    """Give the error for what is not there."""
    return Refused(404, "ResourceNotFoundException", message)


def code_facts(code: bytes) -> Answer:
    """Give what Lambda says about a zip."""
    sha256 = base64.b64encode(hashlib.sha256(code).digest()).decode()
    return {"CodeSha256": sha256, "CodeSize": len(code)}


def without(answer: Answer, names: Iterable[str]) -> Answer:
    """Give an answer without some of its fields."""
    return {name: value for name, value in answer.items() if name not in set(names)}


def paged(items: Sequence[T], marker: str | None, most: int) -> tuple[Sequence[T], Answer]:
    """Give a page of a list, and the marker of the next if there is one."""
    first = int(marker or 0)
    more = {"NextMarker": str(first + most)} if first + most < len(items) else {}
    return items[first : first + most], more
