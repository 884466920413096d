"""What a deployment answers, whatever triggered it: one JSON-serialisable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bootstrap.errors import BootstrapError


class Status(StrEnum):
    """The outcome, for the pair of functions and for each of them.

    Of a deployment: what changed about `live`, the strongest of the two functions (CREATED, then
    CODE_CHANGED, then CONFIGURATION_CHANGED). Of a status request: LIVE, ABSENT, or INCOMPLETE if
    only one function is live, or the two are with different code. HELD is an upload that was rolled
    back, or is not the one that the stack pins.
    """

    CREATED = "CREATED"
    CODE_CHANGED = "CODE_CHANGED"
    CONFIGURATION_CHANGED = "CONFIGURATION_CHANGED"
    UNCHANGED = "UNCHANGED"
    PLANNED = "PLANNED"
    ROLLED_BACK = "ROLLED_BACK"
    DELETED = "DELETED"
    AWAITING_PACKAGE = "AWAITING_PACKAGE"
    STALE = "STALE"
    HELD = "HELD"
    IGNORED = "IGNORED"
    FAILED = "FAILED"
    LIVE = "LIVE"
    ABSENT = "ABSENT"
    INCOMPLETE = "INCOMPLETE"
    LISTED = "LISTED"


@dataclass(frozen=True, slots=True)
class FunctionAnswer:
    """What became of one function.

    Attributes
    ----------
    component
        "executor" or "invoker".
    name
        The function's name, without a qualifier.
    invoke
        The name to invoke it by, `name:live`.
    version, previous
        The version that `live` points at now, and before; None if there is or was none.
    changes
        What is different from the previous live version, one readable line each.
    smoke
        What the new version answered to the ping; empty if none was published.
    drift
        How what is live differs from what is wanted, one readable line each.
    """

    component: str
    name: str
    invoke: str
    status: Status
    version: str | None = None
    previous: str | None = None
    code_sha256: str | None = None
    package: str | None = None
    changes: tuple[str, ...] = ()
    smoke: Mapping[str, Any] = field(default_factory=dict)
    drift: tuple[str, ...] = ()

    def to_event(self) -> dict[str, Any]:
        """Give the JSON object of the answer."""
        return {
            "name": self.name,
            "invoke": self.invoke,
            "status": self.status.value,
            "version": self.version,
            "previous": self.previous,
            "code_sha256": self.code_sha256,
            "package": self.package,
            "changes": list(self.changes),
            "drift": list(self.drift),
            "smoke": dict(self.smoke),
        }


@dataclass(frozen=True, slots=True)
class Release:
    """One release, live or in the history.

    Attributes
    ----------
    name
        Its pair of versions, `8.7`; what a rollback takes.
    package
        Id of the deployment package: its S3 version, or its ETag in a bucket without versions.
    at, by
        When it was made, ISO 8601, and who asked for it.
    """

    name: str
    package: str = ""
    code_sha256: str = ""
    at: str = ""
    by: str = ""
    live: bool = False

    def to_event(self) -> dict[str, Any]:
        """Give the JSON object of the answer."""
        return {
            "name": self.name,
            "package": self.package,
            "code_sha256": self.code_sha256,
            "at": self.at,
            "by": self.by,
            "live": self.live,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one event.

    Attributes
    ----------
    message
        One sentence for a person.
    release
        The one that is live now; None if that is not known, or none is.
    plan
        What would be done, as a readable diff.
    releases
        The history, the newest first.
    done, left
        Of a deployment that failed: the steps before, and those that were still to come.
    """

    status: Status
    message: str
    release: Release | None = None
    functions: tuple[FunctionAnswer, ...] = ()
    plan: tuple[str, ...] = ()
    releases: tuple[Release, ...] = ()
    error: BootstrapError | None = None
    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @classmethod
    def failed(
        cls, error: BootstrapError, done: tuple[str, ...] = (), left: tuple[str, ...] = ()
    ) -> Answer:
        """Give the answer for an error, and how far it came."""
        return cls(Status.FAILED, error.message, error=error, done=done, left=left)

    @property
    def package(self) -> str | None:
        """Id of the package that is live."""
        return self.release.package if self.release else None

    @property
    def code_sha256(self) -> str | None:
        """CodeSha256 of the package that is live."""
        return self.release.code_sha256 if self.release else None

    def to_event(self) -> dict[str, Any]:
        """Give the JSON object that manual callers get and that is logged; holds no secrets."""
        answer: dict[str, Any] = {
            "status": self.status.value,
            "message": self.message,
            "release": self.release.to_event() if self.release else None,
            "functions": {f.component: f.to_event() for f in self.functions},
        }
        if self.status is Status.PLANNED:
            answer["plan"] = list(self.plan)
        if self.status is Status.LISTED:
            answer["releases"] = [release.to_event() for release in self.releases]
        if self.error is not None:
            answer["error"] = {
                "code": self.error.code,
                "message": self.error.message,
                "hint": self.error.hint,
                "retryable": self.error.retryable,
            }
            answer["done"], answer["left"] = list(self.done), list(self.left)
        return answer
