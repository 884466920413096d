"""What is in a zip and how large: a plain table, for a command line to print."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import PurePosixPath

from wukong.packaging.archive import Archive

UNZIPPED_BYTES = 262_144_000
"""What code and layers may have together, unzipped (250 MB).
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

_METADATA = re.compile(r"(?P<name>[^/]+)-(?P<version>[^-/]+)\.dist-info")


@dataclass(frozen=True, slots=True)
class Size:
    """One row: a top-level package, or a top-level module, with its metadata.

    Attributes
    ----------
    part
        Its name, as one imports it.
    version
        That of its distribution; empty for our own code.
    zipped, files, bytecode
        In bytes: in the zip; unzipped but for bytecode; bytecode alone.
    """

    part: str
    version: str
    zipped: int
    files: int
    bytecode: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """The table of one zip, largest part first.

    Attributes
    ----------
    rows
        One for each part.
    note
        What a reader should know about the whole; empty if nothing.
    """

    rows: tuple[Size, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Part:
    """What one distribution has of a layer.

    Attributes
    ----------
    name, version
        Of the distribution.
    zipped, unzipped
        In bytes.
    """

    name: str
    version: str
    zipped: int
    unzipped: int


def parts_of(
    archive: Archive, owners: Mapping[str, str], versions: Mapping[str, str]
) -> tuple[Part, ...]:
    """Say how large each distribution in a zip is, the largest first.

    Parameters
    ----------
    owners
        The distribution that a file in the zip is from.
    versions
        Of these distributions.
    """
    zipped, unzipped = Counter[str](), Counter[str]()
    with zipfile.ZipFile(archive.path) as file:
        for entry in file.infolist():
            if owner := owners.get(entry.filename):
                zipped[owner] += entry.compress_size
                unzipped[owner] += entry.file_size
    parts = (Part(name, versions[name], zipped[name], unzipped[name]) for name in versions)
    return tuple(sorted(parts, key=lambda part: (-part.unzipped, part.name)))


def sizes_of(archive: Archive) -> Sizes:
    """Read the table from the zip itself."""
    with zipfile.ZipFile(archive.path) as file:
        entries = file.infolist()
    parts: dict[str, list[zipfile.ZipInfo]] = {}
    for entry in entries:
        parts.setdefault(_part(entry.filename), []).append(entry)
    rows = sorted((_row(part, found) for part, found in parts.items()), key=attrgetter("part"))
    rows.sort(key=attrgetter("zipped"), reverse=True)
    return Sizes(tuple(rows), _note(rows))


def _row(part: str, entries: list[zipfile.ZipInfo]) -> Size:
    found = (_METADATA.match(entry.filename) for entry in entries)
    unzipped = sum(entry.file_size for entry in entries)
    bytecode = sum(entry.file_size for entry in entries if entry.filename.endswith(".pyc"))
    return Size(
        part=part,
        version=next((match["version"] for match in found if match), ""),
        zipped=sum(entry.compress_size for entry in entries),
        files=unzipped - bytecode,
        bytecode=bytecode,
    )


def _part(name: str) -> str:
    """Give the part that an entry belongs to; metadata and bytecode go with their package."""
    if match := _METADATA.match(name):
        return match["name"]
    path = PurePosixPath(name)
    module = path.name if path.parts[0] == "__pycache__" else path.parts[0]
    return module.partition(".")[0]


def _note(rows: list[Size]) -> str:
    if any(row.bytecode for row in rows):
        return ""
    return (
        "Without bytecode, because this interpreter is of another version than the target: "
        "each cold start compiles what it imports."
    )
