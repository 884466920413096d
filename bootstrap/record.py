"""What is written down about a release, where it cannot get lost: in descriptions on Lambda itself.

    alias `live`         Record     which release this is, and how it came to be: one write with
                                    the switch, so neither is ever without the other
    published version    Origin     which package it is from, and which version it is to go with

A release is named by its pair of versions, `8.7`: version 8 of the Executor with 7 of the Invoker.
So a crash and a retry give the same name, and the name alone says what a rollback has to do.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime

DESCRIPTION_CHARACTERS = 256
"""https://docs.aws.amazon.com/lambda/latest/api/API_UpdateAlias.html"""

PACKAGE_CHARACTERS = 64
"""S3's versions are 32 characters today; a longer id is written as its digest."""

HELD = 4
"""How many uploads a record can hold back; a rollback adds one or two, a new upload ends them."""

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Record:
    """Why `live` points where it does.

    Attributes
    ----------
    release, previous
        Name of this release and of the one before; "-" if there was none.
    package
        Id of the deployment package, as `short` gives it.
    sha
        The first 12 characters of CodeSha256.
    configuration
        Fingerprint of the version's configuration.
    at
        When, UTC, to the millisecond: the later of two records is the one that counts.
    request
        The first 8 characters of the Lambda request that wrote it.
    by
        Who asked: the trigger, and a name if there is one.
    rollback
        Whether a rollback wrote it.
    held
        Digests of uploads that were rolled back and are not deployed again by their own events.
    """

    release: str
    previous: str
    package: str
    sha: str
    configuration: str
    at: str
    request: str
    by: str
    rollback: bool = False
    held: tuple[str, ...] = ()

    @classmethod
    def parse(cls, description: str) -> Record | None:
        """Read a description; None if it is not a record, such as one written by hand."""
        parts = _parts(description)
        try:
            return cls(
                release=parts["rel"],
                previous=parts["prev"],
                package=parts["pkg"],
                sha=parts["sha"],
                configuration=parts["cfg"],
                at=parts["at"],
                request=parts["req"],
                by=parts["by"],
                rollback=parts.get("act") == "rollback",
                held=tuple(filter(None, parts.get("held", "").split(","))),
            )
        except KeyError:
            return None

    def names(self, component: str, version: str) -> bool:
        """Tell whether its release is made of this version of the Executor or of the Invoker.

        It is not if somebody else switched the alias: a description outlives that.
        """
        return self.release.split(".")[0 if component == "executor" else -1] == version

    def holds(self, upload: str) -> bool:
        """Tell whether an upload, by its id, was rolled back."""
        return digest(upload) in self.held

    def __str__(self) -> str:
        parts = {
            "rel": self.release,
            "prev": self.previous,
            "pkg": short(self.package),
            "sha": self.sha[:12],
            "cfg": self.configuration[:12],
            "at": self.at,
            "req": self.request[:8] or NOTHING,
            "by": _plain(self.by)[:24],
            **({"act": "rollback"} if self.rollback else {}),
            **({"held": ",".join(self.held[-HELD:])} if self.held else {}),
        }
        return " ".join(f"{key}={value}" for key, value in parts.items())


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a published version comes from; prints as `pkg=<id> with=<version> at=<UTC> by=<who>`.

    Attributes
    ----------
    partner
        The version of the other function that it was published to go with; "-" for the first of a
        pair, which does not know it yet.
    """

    package: str
    partner: str
    at: str
    by: str

    @classmethod
    def parse(cls, description: str) -> Origin | None:
        """Read a description; None if somebody else published the version."""
        parts = _parts(description)
        try:
            return cls(parts["pkg"], parts["with"], parts["at"], parts["by"])
        except KeyError:
            return None

    def __str__(self) -> str:
        by = _plain(self.by)[:24]
        return f"pkg={short(self.package)} with={self.partner} at={self.at} by={by}"


def release_name(executor: str, invoker: str) -> str:
    """Name the release that is made of these two versions."""
    return f"{executor}.{invoker}"


def later(one: Record | None, other: Record | None) -> Record | None:
    """Give the record that was written last: the one that tells of the pair."""
    written = [record for record in (one, other) if record is not None]
    return max(written, key=lambda record: record.at, default=None)


def timestamp(now: datetime) -> str:
    """Write a time so that later ones sort behind earlier ones."""
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"


def readable(at: str) -> str:
    """Give a record's time as ISO 8601, or as it is if it is not one of ours."""
    try:
        return datetime.strptime(at, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).isoformat()
    except ValueError:
        return at


def short(package: str) -> str:
    """Give a package's id as records hold it: itself, or its digest if it is long."""
    if len(package) <= PACKAGE_CHARACTERS and not re.search(r"[\s=]", package):
        return package or NOTHING
    return hashlib.sha256(package.encode()).hexdigest()


def digest(upload: str) -> str:
    """Give the short digest by which a record holds an upload back."""
    return hashlib.sha256(short(upload).encode()).hexdigest()[:8]


def _parts(description: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in description.split() if "=" in word)


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.@:/+-]", "_", text) or NOTHING
