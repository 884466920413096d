"""Bundles of what is installed here: nothing has to be fetched for them, as `wukong package` would.

Installed bytecode stands in place of the sources: it is not compared with their times then.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from wukong.packaging.overflow import build_bundle
from wukong.packaging.target import Target
from wukong.packaging.vendor import BROUGHT, DEPLOYMENT
from wukong.platform.overflow import OverflowBundle

ELSEWHERE = frozenset({*BROUGHT, *DEPLOYMENT})
TAG = f".{sys.implementation.cache_tag}.pyc"


def needed(*names: str) -> set[str]:
    """Name some installed distributions and all that they require here."""
    todo = [(Requirement(name), "") for name in names]
    seen: set[tuple[str, str]] = set()
    while todo:
        one, extra = todo.pop()
        name = canonicalize_name(one.name)
        applies = one.marker is None or one.marker.evaluate({"extra": extra})
        if name in ELSEWHERE or not applies:
            continue
        for inner in {"", *one.extras} - {e for n, e in seen if n == name}:
            seen.add((name, inner))
            required = distribution(name).requires or []
            todo += [(Requirement(text), inner) for text in required]
    return {name for name, _ in seen}


def installed_bundle(name: str, names: set[str], folder: Path) -> OverflowBundle:
    """Build a bundle of installed distributions."""
    found = [distribution(one) for one in sorted(names)]
    files = {inside: file for one in found for inside, file in _files(one)}
    versions = {canonicalize_name(one.metadata["Name"]): one.version for one in found}
    return build_bundle(name, files, versions, Target.this_machine(), folder, level=1)


def linked(names: set[str], folder: Path) -> str:
    """Make a folder of `sys.path` that has these installed distributions and nothing else."""
    folder.mkdir()
    for one in map(distribution, names):
        listed = csv.reader((one.read_text("RECORD") or "").splitlines())
        for top in {PurePosixPath(row[0]).parts[0] for row in listed if row} - {
            "..",
            "__pycache__",
        }:
            link = folder / top
            if not link.exists():
                link.symlink_to(Path(str(one.locate_file(top))))
    return str(folder)


def _files(one: Distribution) -> Iterator[tuple[str, Path]]:
    listed = [row[0] for row in csv.reader((one.read_text("RECORD") or "").splitlines()) if row]
    compiled = {_source(inside): inside for inside in listed if inside.endswith(TAG)}
    for inside in listed:
        path = PurePosixPath(inside)
        if ".." in path.parts or path.suffix in {".pyc", ".pyi", ".h", ".pxd", ".pyx"}:
            continue
        if {"tests", "include"} & set(path.parts):
            continue
        if inside in compiled:
            yield f"{inside}c", Path(str(one.locate_file(compiled[inside])))
        else:
            yield inside, Path(str(one.locate_file(inside)))


def _source(compiled: str) -> str:
    path = PurePosixPath(compiled)
    return (path.parent.parent / path.name.removesuffix(TAG)).as_posix() + ".py"
