"""Wheels of a resolution, fetched once and kept by their hash, and what is in them.

https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from wukong.errors import WukongError
from wukong.packaging import pip
from wukong.packaging.resolve import Chosen
from wukong.packaging.strip import left_out
from wukong.packaging.target import Target
from wukong.packaging.vendor import cache


class WheelError(WukongError):
    """A wheel that could not be fetched, or is not what was chosen."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a run needs of a wheel.

    Attributes
    ----------
    files
        By their names when installed.
    left_out
        Bytes that were left out, by the reason why.
    """

    files: Mapping[str, Path]
    left_out: Mapping[str, int]


def fetch(chosen: Iterable[Chosen], target: Target) -> dict[str, Path]:
    """Give the wheel of each distribution, by its name; from the cache if it is there.

    Raises
    ------
    WheelError
        If the index gives another file than a moment ago.
    PipError, PipRefusedError
    """
    kept = {one.name: cache() / f"{one.sha256}.whl" for one in chosen}
    missing = [one for one in chosen if not kept[one.name].is_file()]
    if missing:
        _download(missing, target)
    return kept


def _download(missing: Iterable[Chosen], target: Target) -> None:
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as scratch:
        folder = Path(scratch)
        listed = folder / "requirements.txt"
        lines = [f"{one.name}=={one.version} --hash=sha256:{one.sha256}\n" for one in missing]
        listed.write_text("".join(lines), encoding="utf-8")
        pip.download(listed, target, folder)
        found = {_sha256(wheel): wheel for wheel in folder.glob("*.whl")}
        for one in missing:
            if one.sha256 not in found:
                raise WheelError(
                    f"{one.name} {one.version}: its wheel was not fetched",
                    "Try again; if that does not help, look at the package index that pip uses.",
                )
            # Complete or not at all, also when two builds fetch the same.
            found[one.sha256].replace(cache() / f"{one.sha256}.whl")


def unpack(wheel: Path, chosen: Chosen, folder: Path) -> Unpacked:
    """Unpack what a run needs of a wheel into a folder."""
    with zipfile.ZipFile(wheel) as archive:
        entries = {
            name: entry
            for entry in archive.infolist()
            if not entry.is_dir() and (name := _installed(entry.filename))
        }
        omitted = left_out(entries, reads_stubs=_reads_stubs(chosen))
        files = {}
        for name in sorted(entries.keys() - omitted.keys()):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(archive.read(entries[name]))
            files[name] = file
    sizes: dict[str, int] = {}
    for name, reason in omitted.items():
        sizes[reason] = sizes.get(reason, 0) + entries[name].file_size
    return Unpacked(files, dict(sorted(sizes.items())))


def _reads_stubs(chosen: Chosen) -> bool:
    """Tell whether a package takes its submodules' names from its stubs (lazy-loader).

    https://scientific-python.org/specs/spec-0001/
    """
    return any(canonicalize_name(one.name) == "lazy-loader" for one in chosen.requires)


def _installed(name: str) -> str:
    """Say where a file of a wheel is installed, beside the packages; empty if somewhere else.

    Scripts, headers and data for other folders have no place in a layer.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or (os.sep != "/" and os.sep in name):
        return ""
    if not path.parts[0].endswith(".data"):
        return name
    kind, rest = path.parts[1], path.parts[2:]
    return "/".join(rest) if kind in {"purelib", "platlib"} else ""


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
