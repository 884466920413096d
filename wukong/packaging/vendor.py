"""Third-party distributions for a target, as files: what a zip holds beside our own code.

For this machine's own interpreter the installed files are taken as they are. For any other target
pip fetches wheels of the very same versions, and keeps them in a cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from wukong.errors import WukongError
from wukong.packaging.target import Target

# What boto3 brings into Lambda's Python runtime (botocore, jmespath, python-dateutil, s3transfer,
# six, urllib3) is left out: a second copy would come first on the path, and boto3 would use it.
DEPLOYMENT = ("cloudpickle", "valkey")
BOOTSTRAP = (
    "annotated-types",
    "aws-lambda-powertools",
    "certifi",
    "charset-normalizer",
    "idna",
    "pydantic",
    "pydantic-core",
    "requests",
    "typing-extensions",
    "typing-inspection",
)

_LEFT_OUT = frozenset({"__pycache__", "tests", "testing", "bin"})
_KEPT_OF_METADATA = ("METADATA", "licenses", "LICENSE", "LICENCE", "COPYING", "NOTICE")
_SECONDS = 300


class VendorError(WukongError):
    """A distribution that is not installed, or has no wheel for the target."""


def vendor(names: Sequence[str], target: Target) -> dict[str, Path]:
    """Give the files of some distributions for a target, by their names in a zip.

    Raises
    ------
    VendorError
        That names the distribution, its version and the target.
    """
    found = [_installed(name) for name in names]
    if target.is_this_interpreter:
        return {inside: file for one in found for inside, file in _own_files(one)}
    pins = [f"{one.metadata['Name']}=={one.version}" for one in found]
    tree = _fetched(pins, target)
    return {
        inside: file
        for file in sorted(tree.rglob("*"))
        if file.is_file() and _wanted(inside := file.relative_to(tree).as_posix())
    }


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError as error:
        raise VendorError(
            f"distribution {name} is not installed, so it cannot be packaged",
            "Install Wukong with its dependencies: pip install wukong.",
        ) from error


def _own_files(one: Distribution) -> Iterator[tuple[str, Path]]:
    for file in one.files or ():
        inside = file.as_posix()
        path = Path(str(file.locate()))
        if _wanted(inside) and path.is_file():
            yield inside, path


def _wanted(inside: str) -> bool:
    """Tell what a run needs, and what a licence asks to be kept, from the rest."""
    path = PurePosixPath(inside)
    if path.is_absolute() or ".." in path.parts or path.suffix in {".pyc", ".pyi"}:
        return False
    if path.parts[0].endswith(".dist-info"):
        return len(path.parts) > 1 and path.parts[1].startswith(_KEPT_OF_METADATA)
    return not _LEFT_OUT & set(path.parts[:-1])


def _fetched(pins: Sequence[str], target: Target) -> Path:
    """Give the folder into which pip has put the wheels; from the cache if they are there."""
    known = hashlib.sha256("\n".join([*pins, str(target)]).encode()).hexdigest()[:24]
    cached = _cache() / known
    if cached.is_dir():
        return cached
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
        tree = Path(folder) / "tree"
        _pip(pins, target, tree)
        try:
            tree.rename(cached)
        except OSError:
            # Somebody else has put the same files there meanwhile.
            if not cached.is_dir():
                raise
    return cached


def _pip(pins: Sequence[str], target: Target, tree: Path) -> None:
    platforms = [word for tag in target.platforms for word in ("--platform", tag)]
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--target", str(tree), "--no-deps", "--no-compile", "--only-binary=:all:"),
        *("--implementation", "cp", "--python-version", target.python),
        *platforms,
        *pins,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS, env=_plain(), check=False
    )
    if done.returncode:
        shutil.rmtree(tree, ignore_errors=True)
        said = "\n".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))
        raise VendorError(
            f"no wheels for {target}: {said or done.stderr[-2000:]}",
            f"Wanted were {', '.join(pins)}; choose another runtime or processor, or versions "
            "that have wheels for it.",
        )


def _plain() -> Mapping[str, str]:
    """Give pip our environment, without what would make it install somewhere else."""
    return {k: v for k, v in os.environ.items() if k not in {"PIP_TARGET", "PIP_USER"}}


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "wukong" / "wheels"
