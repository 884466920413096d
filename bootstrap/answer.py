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
    only one function is live, or the two are with different code.
    """

    CREATED = "CREATED"
    CODE_CHANGED = "CODE_CHANGED"
    CONFIGURATION_CHANGED = "CONFIGURATION_CHANGED"
    UNCHANGED = "UNCHANGED"
    DELETED = "DELETED"
    AWAITING_PACKAGE = "AWAITING_PACKAGE"
    STALE = "STALE"
    IGNORED = "IGNORED"
    FAILED = "FAILED"
    LIVE = "LIVE"
    ABSENT = "ABSENT"
    INCOMPLETE = "INCOMPLETE"


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
            "smoke": dict(self.smoke),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one event.

    Attributes
    ----------
    message
        One sentence for a person.
    package
        Id of the deployment package: its S3 version, or its ETag in a bucket without versions.
    """

    status: Status
    message: str
    package: str | None = None
    code_sha256: str | None = None
    functions: tuple[FunctionAnswer, ...] = ()
    error: BootstrapError | None = None

    @classmethod
    def failed(cls, error: BootstrapError) -> Answer:
        """Give the answer for an error."""
        return cls(Status.FAILED, error.message, error=error)

    def to_event(self) -> dict[str, Any]:
        """Give the JSON object that manual callers get and that is logged; holds no secrets."""
        answer: dict[str, Any] = {
            "status": self.status.value,
            "message": self.message,
            "release": {"package": self.package, "code_sha256": self.code_sha256},
            "functions": {f.component: f.to_event() for f in self.functions},
        }
        if self.error is not None:
            answer["error"] = {
                "code": self.error.code,
                "message": self.error.message,
                "hint": self.error.hint,
                "retryable": self.error.retryable,
            }
        return answer
