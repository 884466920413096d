"""Third-party distributions for a target, as files: what a zip holds beside our own code.

For this machine's own interpreter the installed files are taken as they are, unless they came from
a wheel that Lambda cannot load. For any other target pip fetches wheels of the very same versions,
and keeps them in a cache.
"""

from __future__ import annotations

import csv
import hashlib
import os
import tempfile
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from wukong.errors import WukongError
from wukong.packaging import pip
from wukong.packaging.target import Target

BROUGHT = (
    "boto3",
    "botocore",
    "jmespath",
    "python-dateutil",
    "s3transfer",
    "six",
    "urllib3",
)
"""What Lambda's Python runtime has; a second copy would come first on the path, and boto3 use it.
https://docs.aws.amazon.com/lambda/latest/dg/lambda-python.html"""

# Kept by hand, and by a test that follows the installed metadata and compares.
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

# Large parts that nothing imports which runs here; a test looks for imports of them in the rest.
_UNUSED = (
    "aws_lambda_powertools/event_handler",
    "aws_lambda_powertools/utilities/auth_alpha",
    "aws_lambda_powertools/utilities/batch",
    "aws_lambda_powertools/utilities/circuit_breaker",
    "aws_lambda_powertools/utilities/data_classes",
    "aws_lambda_powertools/utilities/feature_flags",
    "aws_lambda_powertools/utilities/idempotency",
    "aws_lambda_powertools/utilities/kafka",
    "aws_lambda_powertools/utilities/parameters",
    "aws_lambda_powertools/utilities/parser",
    "pydantic/v1",
)
_LEFT_OUT = frozenset({"__pycache__", "tests", "testing", "bin"})
_KEPT_OF_METADATA = ("METADATA", "licenses", "LICENSE", "LICENCE", "COPYING", "NOTICE")


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
    if target.is_this_interpreter and all(_runs_on(one, target) for one in found):
        return {inside: file for one in found for inside, file in _own_files(one).items()}
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


def _runs_on(one: Distribution, target: Target) -> bool:
    """Tell whether the wheel of an installed distribution is one that the target can load.

    What was compiled on this machine, or for a newer glibc than Lambda's, runs here only. A
    distribution that does not tell, and any system but Lambda's, get the benefit of the doubt.
    """
    lines = (one.read_text("WHEEL") or "").splitlines()
    platforms = {line.rpartition("-")[2] for line in lines if line.startswith("Tag:")}
    if target.system != "linux" or not platforms:
        return True
    return bool(platforms & {"any", *target.platforms})


def _own_files(one: Distribution) -> dict[str, Path]:
    """Give what RECORD lists; raises `VendorError` if that is not all there."""
    # Not one.files: since Python 3.12 that leaves out what is missing, instead of telling.
    listed = (row[0] for row in csv.reader((one.read_text("RECORD") or "").splitlines()) if row)
    wanted = {inside: Path(str(one.locate_file(inside))) for inside in listed if _wanted(inside)}
    missing = [inside for inside, path in wanted.items() if not path.is_file()]
    code = [inside for inside in wanted if not _is_metadata(PurePosixPath(inside))]
    if missing or not code:
        name = one.metadata["Name"]
        raise VendorError(
            f"the installation of {name} {one.version} is not complete: "
            f"{missing[0] + ' is missing' if missing else 'it lists no code'}",
            f"Install it again, not editable: pip install --force-reinstall {name}.",
        )
    return wanted


def _wanted(inside: str) -> bool:
    """Tell what a run needs, and what a licence asks to be kept, from the rest."""
    path = PurePosixPath(inside)
    if path.is_absolute() or ".." in path.parts or path.suffix in {".pyc", ".pyi", ".pth"}:
        return False
    if _is_metadata(path):
        return len(path.parts) > 1 and path.parts[1].startswith(_KEPT_OF_METADATA)
    if any(path.is_relative_to(unused) for unused in _UNUSED):
        return False
    return not _LEFT_OUT & set(path.parts[:-1])


def _is_metadata(path: PurePosixPath) -> bool:
    return path.parts[0].endswith(".dist-info")


def _fetched(pins: Sequence[str], target: Target) -> Path:
    """Give the folder into which pip has put the wheels; from the cache if they are there."""
    what = "\n".join([*pins, str(target), *target.platforms])
    known = hashlib.sha256(what.encode()).hexdigest()[:24]
    cached = cache() / known
    if cached.is_dir():
        return cached
    cached.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
        tree = Path(folder) / "tree"
        _install(pins, target, tree)
        try:
            tree.rename(cached)
        except OSError:
            # Somebody else has put the same files there meanwhile.
            if not cached.is_dir():
                raise
    return cached


def _install(pins: Sequence[str], target: Target, tree: Path) -> None:
    try:
        pip.install(pins, target, tree)
    except WukongError as error:
        raise VendorError(error.message, f"Wanted were {', '.join(pins)}. {error.hint}") from error


def cache() -> Path:
    """Name the folder that keeps what was fetched."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "wukong" / "wheels"
