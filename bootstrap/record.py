"""The record of a release, kept in the description of the alias that makes it live.

So the switch and its record are one write, and a rollback finds its target without a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

DESCRIPTION_CHARACTERS = 256
"""https://docs.aws.amazon.com/lambda/latest/api/API_UpdateAlias.html"""


@dataclass(frozen=True, slots=True)
class Record:
    """Prints as `pkg=<id> sha=<12> prev=<version> at=<UTC> req=<8>`, and reads that back.

    Attributes
    ----------
    package
        Id of the package, at most 120 characters of it.
    sha
        The first 12 characters of CodeSha256.
    previous
        The version that was live before; "-" if none was.
    """

    package: str
    sha: str
    previous: str
    at: str
    request: str

    @classmethod
    def now(cls, package: str, code_sha256: str, previous: str | None, request: str) -> Record:
        """Make the record of a switch that happens now."""
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return cls(package[:120], code_sha256[:12], previous or "-", at, request[:8] or "-")

    @classmethod
    def parse(cls, description: str) -> Record | None:
        """Read a description; None if it is not a record, such as one written by hand."""
        parts = dict(word.split("=", 1) for word in description.split() if "=" in word)
        try:
            return cls(parts["pkg"], parts["sha"], parts["prev"], parts["at"], parts["req"])
        except KeyError:
            return None

    def __str__(self) -> str:
        text = (
            f"pkg={self.package} sha={self.sha} prev={self.previous} at={self.at} "
            f"req={self.request}"
        )
        return text[:DESCRIPTION_CHARACTERS]
