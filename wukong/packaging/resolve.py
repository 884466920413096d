"""Which distributions layers need, in which versions: one resolution for all of them together.

    requirements ─┐
    versions here ┴─> pip (dry run) ─> wheels ─> what is reached on the target ─┬─> Resolution
                       ^──────────── what is missing there ─────────────────────┘

Values and functions travel between client and Executors as pickles, so what is installed here is
wanted there in the same version.

pip compares markers (`; python_version < "3.12"`) with the interpreter that it runs on, also when
it is asked for another. So the requirements are followed here once more, with the target's markers:
what pip did not see is asked for by name, and what the target does not need is dropped.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from wukong.errors import WukongError
from wukong.packaging import pip
from wukong.packaging.complaint import explained
from wukong.packaging.requirements import Wanted
from wukong.packaging.target import Target
from wukong.packaging.vendor import BROUGHT, DEPLOYMENT
from wukong.platform.probe import COMPARED

ELSEWHERE = frozenset({*BROUGHT, *DEPLOYMENT, "wukong"})
"""Never in a layer: Lambda's runtime or the deployment package has it."""

_ROUNDS = 8
_LATE = 99
"""Lambda's Pythons are late patch releases; no marker asks for one that is later."""


class ResolveError(WukongError):
    """Requirements that no set of wheels fulfils."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A wheel that was chosen.

    Attributes
    ----------
    name, version
        Of the distribution; the name as PyPI normalises it.
    sha256
        Of the wheel, in hexadecimal.
    requires
        What its metadata requires, with markers.
    """

    name: str
    version: str
    sha256: str
    requires: tuple[Requirement, ...]


@dataclass(frozen=True)
class Resolution:
    """What was chosen for a target, by name."""

    target: Target
    chosen: Mapping[str, Chosen]

    def reached(self, requirements: Iterable[Requirement]) -> frozenset[str]:
        """Name the distributions that some requirements lead to on the target."""
        return frozenset(self._walk(requirements)[0])

    def without(self, names: Collection[str]) -> Resolution:
        """Give the rest when some distributions are had from elsewhere."""
        kept = {name: one for name, one in self.chosen.items() if name not in names}
        return Resolution(self.target, kept)

    def unmet(self, requirements: Iterable[Requirement]) -> list[Requirement]:
        """Give what is required on the target, and is missing or of a version that does not do."""
        return self._walk(requirements)[1]

    def _walk(self, requirements: Iterable[Requirement]) -> tuple[set[str], list[Requirement]]:
        todo = [(one, "") for one in requirements]
        seen: set[tuple[str, str]] = set()
        unmet: dict[str, Requirement] = {}
        while todo:
            requirement, extra = todo.pop()
            name = canonicalize_name(requirement.name)
            if name in ELSEWHERE or not self._applies(requirement, extra):
                continue
            one = self.chosen.get(name)
            if one is None or not requirement.specifier.contains(one.version, prereleases=True):
                unmet.setdefault(name, bare(requirement))
                continue
            for inner in ({""} | requirement.extras) - {e for n, e in seen if n == name}:
                seen.add((name, inner))
                todo += [(needed, inner) for needed in one.requires]
        return {name for name, _ in seen}, list(unmet.values())

    def _applies(self, requirement: Requirement, extra: str) -> bool:
        marker = requirement.marker
        return marker is None or marker.evaluate({**self._environment, "extra": extra})

    @cached_property
    def _environment(self) -> dict[str, str]:
        return environment(self.target)


def environment(target: Target) -> dict[str, str]:
    """Give what markers see on a target."""
    here = {name: str(value) for name, value in default_environment().items()}
    if target.is_local:
        return here
    return {
        **here,
        "implementation_name": "cpython",
        "implementation_version": f"{target.python}.{_LATE}",
        "os_name": "posix",
        "platform_machine": target.machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{target.python}.{_LATE}",
        "python_version": target.python,
        "sys_platform": "linux",
    }


def resolve(layers: Sequence[Wanted], target: Target) -> Resolution:
    """Choose wheels for all that some layers need.

    Raises
    ------
    ResolveError
        That names what has no wheel, or what does not fit together and who wants it.
    PipError
        If there is no pip, or it did not end in time.
    """
    roots = _roots(layers, target)
    pins = _pins(layers)
    asked = [bare(one) for one in roots]
    for _ in range(_ROUNDS):
        resolution = Resolution(target, _choose(asked, pins, layers, target))
        missing = [one for one in resolution.unmet(roots) if one not in asked]
        if not missing:
            needed = resolution.reached(roots)
            kept = {name: one for name, one in resolution.chosen.items() if name in needed}
            return Resolution(target, dict(sorted(kept.items())))
        asked += missing
    raise ResolveError(
        f"requirements for {target} lead to ever more: {', '.join(map(str, asked))}",
        "Ask for fewer layers at once, or give versions in a requirements file.",
    )


def bare(requirement: Requirement) -> Requirement:
    """Give a requirement without its marker, which pip would compare with this interpreter."""
    copy = Requirement(str(requirement))
    copy.marker = None
    return copy


def _roots(layers: Iterable[Wanted], target: Target) -> list[Requirement]:
    """Give what layers ask for and the target needs, each once."""
    nothing = Resolution(target, {})
    asked = (one for layer in layers for one in layer.requirements)
    return list({str(one): one for one in asked if nothing._applies(one, "")}.values())


def _pins(layers: Iterable[Wanted]) -> dict[str, str]:
    """Give the versions here, by name, that the target is to have too.

    What a requirements file gives a version of its own is left to it, but for what both sides must
    have alike.
    """
    said = {
        canonicalize_name(one.name)
        for layer in layers
        for one in layer.requirements
        if one.specifier
    }
    return {
        name: version
        for name, version in _installed()
        if name not in ELSEWHERE and (name not in said or name in COMPARED)
    }


def _installed() -> Iterator[tuple[str, str]]:
    """Give what is installed here, as far as the package index has it too."""
    for one in distributions():
        from_elsewhere = one.read_text("direct_url.json") is not None
        if one.metadata["Name"] and not from_elsewhere and "+" not in one.version:
            yield canonicalize_name(one.metadata["Name"]), one.version


def _choose(
    asked: Sequence[Requirement], pins: Mapping[str, str], layers: Sequence[Wanted], target: Target
) -> dict[str, Chosen]:
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
        constraints.write_text("".join(lines), encoding="utf-8")
        try:
            items = pip.choose(list(map(str, asked)), constraints, target)
        except pip.PipRefusedError as error:
            raise ResolveError(*explained(error, layers, pins, target)) from error
    return {one.name: one for one in map(_chosen, items)}


def _chosen(item: Any) -> Chosen:
    metadata = item["metadata"]
    return Chosen(
        name=canonicalize_name(metadata["name"]),
        version=str(metadata["version"]),
        sha256=str(item["download_info"]["archive_info"]["hashes"]["sha256"]),
        requires=tuple(map(Requirement, metadata.get("requires_dist", ()))),
    )
