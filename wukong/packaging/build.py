"""What goes into each zip: our own packages, found by name, and what they need of others.

Our packages are named as strings and never imported: nothing in `wukong` knows function code.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from wukong.errors import WukongError
from wukong.packaging import archive
from wukong.packaging.archive import Archive
from wukong.packaging.bytecode import with_bytecode
from wukong.packaging.target import Target
from wukong.packaging.vendor import BOOTSTRAP, DEPLOYMENT, vendor

KERNEL = ("__init__.py", "errors.py", "messages.py", "graph", "storage", "platform")
"""The parts of `wukong` that Executor and Invoker import; tests/test_layers.py holds them to it."""

_SUFFIXES = frozenset({".py", ".lua"})


class BuildError(WukongError):
    """A package of ours that is not where it should be."""


def build_deployment(target: Target, out: Path) -> Archive:
    """Write deployment.zip: the Executor, the Invoker, and what they run on.

    Raises
    ------
    BuildError, VendorError
        If something that belongs into it cannot be found.
    """
    own = [*_package("executor"), *_package("invoker"), *_package("wukong", KERNEL)]
    return _build(own, DEPLOYMENT, target, out)


def build_bootstrap(target: Target, out: Path) -> Archive:
    """Write bootstrap.zip: the bootstrap, and what it runs on."""
    return _build(_package("bootstrap"), BOOTSTRAP, target, out)


def _build(
    own: Iterable[tuple[str, Path]], others: Sequence[str], target: Target, out: Path
) -> Archive:
    files = {**vendor(others, target), **dict(own)}
    if not target.is_this_interpreter:
        # Bytecode is of one version of Python, and only this one is certain to be here.
        return archive.write(files, out)
    with tempfile.TemporaryDirectory() as scratch:
        return archive.write(with_bytecode(files, Path(scratch)), out)


def _package(name: str, parts: Sequence[str] = ("",)) -> Iterator[tuple[str, Path]]:
    """Give the source files of a package of ours, or of some of its parts."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise BuildError(
            f"package {name!r} is not installed beside wukong",
            "Install the whole project: bootstrap, executor, invoker and wukong belong together.",
        )
    base = Path(next(iter(spec.submodule_search_locations)))
    for part in parts:
        place = base / part
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file() and file.suffix in _SUFFIXES:
                yield f"{name}/{file.relative_to(base).as_posix()}", file
