"""What was found on Lambda, as values: a function, its versions, and where `live` points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bootstrap import claim
from bootstrap.configuration import Configuration
from bootstrap.record import Record


@dataclass(frozen=True, slots=True)
class Deployed:
    """A version of a function, or `$LATEST`, as Lambda describes it.

    Attributes
    ----------
    broken
        Lambda's reason if its last write could not be finished; empty if all is well.
    stillborn
        Whether that write was the creation: such a function can only be created again.
    description
        What was written about a version when it was published.
    """

    version: str
    arn: str
    configuration: Configuration
    code_sha256: str
    revision_id: str
    broken: str = ""
    stillborn: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Alias:
    """Where `live` points.

    Attributes
    ----------
    record
        What was written when it was switched there; None if somebody else switched it.
    """

    version: str
    revision_id: str
    description: str = ""
    weighted: bool = False
    record: Record | None = None


@dataclass(frozen=True, slots=True)
class Asynchronous:
    """How Lambda treats asynchronous invocations that fail; None where Lambda's default holds.

    Attributes
    ----------
    retries
        How often they are repeated.
    destination
        ARN of who is told in the end.
    """

    retries: int | None = None
    destination: str | None = None

    def __str__(self) -> str:
        retries = "default" if self.retries is None else self.retries
        return f"{retries} retries, then {self.destination or 'nobody'}"


@dataclass(frozen=True, slots=True)
class Found:
    """Everything about one existing function that a plan looks at.

    Attributes
    ----------
    marks
        Its tags that say whose it is.
    live
        The version that the alias points at; None without an alias.
    asynchronous
        Of `live`.
    tags
        All others, but those of AWS.
    """

    latest: Deployed
    marks: Mapping[str, str]
    reserved_concurrency: int | None
    recursive_loop: str
    alias: Alias | None = None
    live: Deployed | None = None
    asynchronous: Asynchronous = Asynchronous()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def owner(self) -> str | None:
        """Who manages it; None if no tag says so."""
        return self.marks.get(claim.OWNER)

    @property
    def record(self) -> Record | None:
        """What was written when `live` was switched."""
        return self.alias.record if self.alias else None
