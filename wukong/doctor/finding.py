"""What was found: fine, to be watched, or broken; and what to do about it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from wukong.compatibility import Difference
from wukong.errors import WukongError

Found = TypeVar("Found")


class Level(StrEnum):
    """How it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    check
        What was looked at.
    message
        How it is, in a sentence.
    remedy
        What to do; empty if it is fine.
    """

    check: str
    level: Level
    message: str
    remedy: str = ""


Check = Generator[Finding, None, Found]
"""Yields findings, and returns what later checks need."""


def ok(check: str, message: str) -> Finding:
    """Say that something is fine."""
    return Finding(check, Level.OK, message)


def warning(check: str, message: str, remedy: str) -> Finding:
    """Say that something works, but not as it should."""
    return Finding(check, Level.WARNING, message, remedy)


def problem(check: str, message: str, remedy: str) -> Finding:
    """Say that something does not work."""
    return Finding(check, Level.PROBLEM, message, remedy)


def failed(check: str, error: WukongError) -> Finding:
    """Say what an error says."""
    return problem(check, error.message, error.hint)


def version_findings(check: str, found: list[Difference], alike: str) -> list[Finding]:
    """Say which versions differ; `alike` if none does."""
    if not found:
        return [ok(check, alike)]
    return [
        (problem if one.matters else warning)(check, str(one), one.remedy)
        for one in sorted(found, key=lambda one: not one.matters)
    ]
