"""What pip says when it cannot choose, in our words: which package, and who wants what of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from wukong.packaging.pip import PipRefusedError
from wukong.packaging.requirements import Wanted
from wukong.packaging.target import Target

_CONFLICT = re.compile(r"The conflict is caused by:\n(?P<lines>(?: {4}.+\n?)+)")
# Since pip 24.
_NOT_THERE = re.compile(
    r"no matching distributions available for your environment:\n(?P<lines>(?: {4}.+\n?)+)"
)
_NO_VERSION = re.compile(
    r"Could not find a version that satisfies the requirement (?P<what>[^(\n]+?)"
    r"(?: \(from (?!versions)(?P<who>[^)]+)\))?(?: \(from versions: (?P<versions>.*)\))?\n"
)
_CONSTRAINT = "The user requested (constraint) "
_REQUEST = "The user requested "


def explained(
    error: PipRefusedError, layers: Sequence[Wanted], pins: Mapping[str, str], target: Target
) -> tuple[str, str]:
    """Give message and hint for why pip could not choose wheels.

    Parameters
    ----------
    layers
        What was asked for, by whom.
    pins
        Versions that were asked for because they are installed here.
    """
    if found := _NOT_THERE.search(error.said):
        names = [line.strip() for line in found["lines"].splitlines()]
        return _no_wheel([_with_version(name, pins) for name in names], target)
    if found := _CONFLICT.search(error.said):
        lines = [line.strip() for line in found["lines"].splitlines()]
        if names := _agreed(lines, pins):
            return _no_wheel([_with_version(name, pins) for name in names], target)
        wants = list(dict.fromkeys(_who(line, layers) for line in lines))
        return (
            f"requirements of the layers do not fit together: {'; '.join(wants)}",
            "Change one of them, or install here what the others want: Executors get the versions "
            "that this machine has.",
        )
    if found := _NO_VERSION.search(error.said):
        what = _with_version(found["what"].strip(), pins)
        return _no_wheel([f"{what} (for {found['who']})" if found["who"] else what], target)
    return error.message, error.hint


def _agreed(lines: Iterable[str], pins: Mapping[str, str]) -> list[str]:
    """Name what everybody would take in the version that is installed here: it has no wheel.

    pip calls that a conflict too, and says so since its version 24 only.
    """
    wanted: dict[str, SpecifierSet] = {}
    for line in lines:
        text = line.removeprefix(_CONSTRAINT).removeprefix(_REQUEST).rpartition(" depends on ")[2]
        try:
            one = Requirement(text)
        except InvalidRequirement:
            return []
        name = canonicalize_name(one.name)
        wanted[name] = wanted.get(name, SpecifierSet()) & one.specifier
    is_taken = all(
        name in pins and specifiers.contains(pins[name], prereleases=True)
        for name, specifiers in wanted.items()
    )
    return sorted(wanted) if is_taken else []


def _no_wheel(what: Iterable[str], target: Target) -> tuple[str, str]:
    old = " python3.11 has an older C library than later runtimes." * (target.python == "3.11")
    return (
        f"there is no wheel for {target} of {', '.join(what)}",
        "Choose another version (install it here too, as Executors get the versions that this "
        f"machine has), another runtime or processor; a layer is never built from sources.{old}",
    )


def _with_version(text: str, pins: Mapping[str, str]) -> str:
    """Name a distribution with the version that was wanted of it."""
    try:
        one = Requirement(text)
    except InvalidRequirement:
        return text
    pinned = pins.get(canonicalize_name(one.name))
    if pinned and "==" not in str(one.specifier):
        return f"{one.name} {pinned} (as it is installed here)"
    return f"{one.name} {one.specifier}".replace("==", "").strip()


def _who(line: str, layers: Sequence[Wanted]) -> str:
    """Say who wants something, from a line such as `dask 2026.3.0 depends on click>=8.1`."""
    if line.startswith(_CONSTRAINT):
        return f"this machine has {line.removeprefix(_CONSTRAINT).replace('==', ' ')}"
    if line.startswith(_REQUEST):
        what = line.removeprefix(_REQUEST)
        return f"{_asking(what, layers)} wants {what}"
    return line.replace(" depends on ", " wants ").partition(";")[0]


def _asking(what: str, layers: Sequence[Wanted]) -> str:
    name = canonicalize_name(re.split(r"[\[<>=!~; ]", what, maxsplit=1)[0])
    for layer in layers:
        if any(canonicalize_name(one.name) == name for one in layer.requirements):
            return f"layer {layer.name}" + (f" ({layer.source})" if layer.source else "")
    return "the target's Python"
