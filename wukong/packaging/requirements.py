"""What layers are asked for: known names, or requirements files of the user's own.

    "numpy,dask"            two known layers
    "ml=requirements.txt"   a layer named ml with what the file lists

A file may list distributions of the package index, with versions, extras and markers. What needs a
build, or names a place on somebody's disk, is refused: a layer holds wheels for another machine.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from wukong.errors import WukongError

KNOWN: Mapping[str, tuple[str, ...]] = {
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    # Bags and delayed functions need nothing more.
    "dask": ("dask[array]",),
    "dataframe": ("dask[dataframe]",),
    "scikit-learn": ("scikit-learn",),
    "dask-ml": ("dask-ml",),
}
"""Layers that one can ask for by name, and what is in them, with all that it requires."""

ARN = re.compile(r"arn:[^:]+:lambda:[^:]+:\d{12}:layer:[a-zA-Z0-9_-]+:\d+")
"""A layer version that somebody has published already."""

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OPTIONS = {
    "-e": "an editable installation",
    "--editable": "an editable installation",
    "-r": "another file",
    "-c": "another file",
}
_PLAIN = "Write one NAME, NAME==VERSION or NAME[EXTRA]>=VERSION on each line."


class RequirementsError(WukongError):
    """A layer, or a requirements file, that cannot be understood; names the file and the line."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A layer that is to be built.

    Attributes
    ----------
    name
        Of the layer.
    requirements
        What it is for; what these require comes by itself.
    source
        The file that says so; empty for a known layer.
    """

    name: str
    requirements: tuple[Requirement, ...]
    source: str = ""


def split(texts: Iterable[str]) -> tuple[str, ...]:
    """Take lists apart that are separated by commas; each reference once, in order."""
    references = (one.strip() for text in texts for one in text.split(","))
    return tuple(dict.fromkeys(one for one in references if one))


def name_of(reference: str) -> str:
    """Give a layer's name, or the ARN of a layer that is published already."""
    return reference if ARN.fullmatch(reference) else reference.partition("=")[0]


def wanted(references: Iterable[str]) -> tuple[Wanted, ...]:
    """Read what each layer is for; ARNs are left out, as there is nothing to build.

    Raises
    ------
    RequirementsError
        For a name that is not known (with those that are near), or a file that cannot be used.
    """
    found: dict[str, Wanted] = {}
    for reference in references:
        if ARN.fullmatch(reference):
            continue
        one = _wanted(reference)
        if one.name in found:
            raise RequirementsError(
                f"layer {one.name!r} is asked for twice", "Give each layer a name of its own."
            )
        found[one.name] = one
    return tuple(found.values())


def _wanted(reference: str) -> Wanted:
    name, equals, file = reference.partition("=")
    if not _NAME.fullmatch(name):
        raise RequirementsError(
            f"layer {name!r}: a name has 1 to 64 letters, digits, - and _",
            "Write NAME for a known layer, NAME=FILE for a requirements file, or an ARN.",
        )
    if equals:
        return Wanted(name, read(Path(file)), file)
    if name not in KNOWN:
        near = difflib.get_close_matches(name, KNOWN, n=2)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise RequirementsError(
            f"there is no layer {name!r}{meant}",
            f"Known are {', '.join(KNOWN)}; or give a requirements file: {name}=FILE.",
        )
    return Wanted(name, tuple(map(Requirement, KNOWN[name])))


def read(file: Path) -> tuple[Requirement, ...]:
    """Read a requirements file.

    Raises
    ------
    RequirementsError
        That names the file, the line and what cannot be in a layer.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise RequirementsError(
            f"{file}: cannot be read: {error.strerror}", "Name a requirements file: NAME=FILE."
        ) from error
    found = tuple(_requirement(f"{file}:{number}", line) for number, line in _lines(text))
    if not found:
        raise RequirementsError(f"{file}: lists nothing", _PLAIN)
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Give each line with its number, without comments; lines that end with a backslash go on."""
    begun, pending = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        begun = begun if pending else number
        pending += re.sub(r"(^|\s)#.*", "", line).strip()
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
        elif pending:
            yield begun, pending
            pending = ""


def _requirement(where: str, line: str) -> Requirement:
    if "--hash" in line:
        raise RequirementsError(
            f"{where}: hashes of files cannot be kept to: they are those of this machine's wheels",
            "Leave them out; layers.json says which wheels were taken, with their hashes.",
        )
    if line.startswith("-"):
        option = re.split(r"[\s=]", line, maxsplit=1)[0]
        what = _OPTIONS.get(option, f"the option {option}")
        raise RequirementsError(f"{where}: {what} cannot be in a layer: {line!r:.100}", _PLAIN)
    if re.search(r"(^|[\s@])(git|hg|svn|bzr)\+|://|^[./~]|\.whl$|\.tar\.gz$|\.zip$", line):
        raise RequirementsError(
            f"{where}: what is not in the package index cannot be in a layer: {line!r:.100}",
            f"{_PLAIN} Your own modules travel with each run (docs/surroundings.md).",
        )
    try:
        return Requirement(line)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise RequirementsError(f"{where}: {line!r:.100}: {reason}", _PLAIN) from error
