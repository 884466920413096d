"""What goes into each zip: our own packages, found by name, and what they need of others.

Our packages are named as strings and never imported: nothing in `wukong` knows function code.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wukong.errors import WukongError
from wukong.packaging import archive
from wukong.packaging.archive import Archive
from wukong.packaging.bytecode import beside, bytecode_of, in_place
from wukong.packaging.target import Target
from wukong.packaging.vendor import BOOTSTRAP, DEPLOYMENT, vendor
from wukong.platform.overflow import MANIFEST, OverflowBundle, storage_mb

KERNEL = ("__init__.py", "errors.py", "messages.py", "graph", "storage", "platform")
"""The parts of `wukong` that Executor and Invoker import; tests/test_layers.py holds them to it."""

LEAST_STORAGE_MB = 512
"""What every function has: https://docs.aws.amazon.com/lambda/latest/dg/configuration-ephemeral-storage.html"""

_SUFFIXES = frozenset({".py", ".lua"})


class BuildError(WukongError):
    """A package of ours that is not where it should be, or is not Python."""


def build_deployment(
    target: Target,
    out: Path,
    layers: Sequence[str] = (),
    bundles: Sequence[OverflowBundle] = (),
) -> Archive:
    """Write deployment.zip: the Executor, the Invoker, and what they run on.

    Parameters
    ----------
    layers
        Names in the bucket, or ARNs, of the layers that the Executor is to have; the zip's manifest
        says so to the bootstrap.
    bundles
        Overflow bundles that belong to it; its manifest names them, and asks for the disk.

    Raises
    ------
    BuildError, VendorError
        If something that belongs into it cannot be found or does not compile.
    """
    own = {**_package("executor"), **_package("invoker"), **_package("wukong", KERNEL)}
    with tempfile.TemporaryDirectory() as scratch:
        described = _manifest(layers, bundles, Path(scratch))
        return _build({**own, **described}, DEPLOYMENT, target, out)


def _manifest(
    layers: Sequence[str], bundles: Sequence[OverflowBundle], scratch: Path
) -> dict[str, Path]:
    """Write down what the release wants besides what the stack says."""
    if not layers and not bundles:
        return {}
    file = scratch / MANIFEST
    file.write_bytes(manifest_of(layers, bundles))
    return {MANIFEST: file}


def manifest_of(layers: Sequence[str], bundles: Sequence[OverflowBundle]) -> bytes:
    """Give the manifest of a package with these layers and bundles."""
    content: dict[str, Any] = {"executor": {"layers": list(layers)} if layers else {}}
    if bundles:
        content["executor"]["ephemeral_storage"] = max(LEAST_STORAGE_MB, storage_mb(bundles))
        content["bundles"] = [bundle.to_manifest() for bundle in bundles]
    return json.dumps(content).encode()


def build_bootstrap(target: Target, out: Path) -> Archive:
    """Write bootstrap.zip: the bootstrap, and what it runs on; raises as `build_deployment`."""
    return _build(_package("bootstrap"), BOOTSTRAP, target, out)


def build_all(
    target: Target,
    folder: Path,
    layers: Sequence[str] = (),
    bundles: Sequence[OverflowBundle] = (),
) -> tuple[Archive, Archive]:
    """Write deployment.zip and bootstrap.zip, in this order, into a folder."""
    return (
        build_deployment(target, folder / "deployment.zip", layers, bundles),
        build_bootstrap(target, folder / "bootstrap.zip"),
    )


def _build(own: Mapping[str, Path], others: Sequence[str], target: Target, out: Path) -> Archive:
    theirs = vendor(others, target)
    if not target.is_this_python:
        # Bytecode is of one version of Python, and only this one is certain to be here.
        return archive.write({**theirs, **own}, out)
    with tempfile.TemporaryDirectory() as scratch:
        bytecode = bytecode_of({**theirs, **own}, Path(scratch))
        _check_compiled(own, bytecode, target)
        return archive.write({**in_place(theirs, bytecode), **_with(own, bytecode)}, out)


def _with(own: Mapping[str, Path], bytecode: Mapping[str, Path]) -> dict[str, Path]:
    """Give our sources, whose lines tracebacks show, and their bytecode."""
    return {**own, **{beside(inside): bytecode[inside] for inside in own if inside in bytecode}}


def _check_compiled(own: Mapping[str, Path], bytecode: Mapping[str, Path], target: Target) -> None:
    for inside, file in own.items():
        if file.suffix == ".py" and inside not in bytecode:
            raise BuildError(
                f"{inside} does not compile with Python {target.python}",
                f"Correct the syntax of {file}; the function could not have started.",
            )


def _package(name: str, parts: Sequence[str] = ("",)) -> dict[str, Path]:
    """Give the source files of a package of ours, or of some of its parts, by name in the zip."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise BuildError(
            f"package {name!r} is not installed beside wukong",
            "Install the whole project: bootstrap, executor, invoker and wukong belong together.",
        )
    base = Path(next(iter(spec.submodule_search_locations)))
    places = [base / part for part in parts]
    if missing := [str(place) for place in places if not place.exists()]:
        raise BuildError(
            f"package {name!r} lacks {', '.join(missing)}", "Install the whole project again."
        )
    return {
        f"{name}/{file.relative_to(base).as_posix()}": file
        for place in places
        for file in _sources(place)
    }


def _sources(place: Path) -> Iterator[Path]:
    found = place.rglob("*") if place.is_dir() else [place]
    return (file for file in found if file.is_file() and file.suffix in _SUFFIXES)
