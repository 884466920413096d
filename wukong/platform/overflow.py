"""Overflow bundles: packages that do not fit beside the code, as a release names them.

A function and its layers have 250 MB at most. What is over that lies in the package bucket, in
parts, and the release's manifest (`wukong.json` beside the code) names it:

    wukong package ──> bundles/NAME-DIGEST.zip ... ──upload──> bucket ──> Executor's /tmp
          └──────────> wukong.json in deployment.zip ──────────────────> what to expect of it

https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from wukong.errors import WukongError
from wukong.messages import MessageError, field_of
from wukong.platform.context import settings

FOLDER = "bundles/"
"""Where parts are in the bucket; the Executor's role may read this and nothing else of it."""

MANIFEST = "wukong.json"

PLACE = "WUKONG_BUNDLES"
"""The setting that says where `bundles/` is: `s3://BUCKET`, or `file:` and a folder. There, in the
folder, is the manifest too, where there is no code folder of a function."""

HEADROOM_MB = 256
"""What is left in /tmp beside a bundle: for the user's modules, and for files of tasks."""


class BundleError(WukongError):
    """An overflow bundle that is missing, damaged, of another Python, or that has no room."""


@dataclass(frozen=True, slots=True)
class Part:
    """A zip of its own that holds some of a bundle's files.

    Attributes
    ----------
    key
        Its name below the bucket, or the folder.
    digest
        SHA-256 of its bytes, in hexadecimal.
    size
        In bytes.
    """

    key: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class OverflowBundle:
    """A set of installed packages, as one unpacks them.

    Attributes
    ----------
    name
        What it was made for, such as `dask-ml`.
    python, architecture
        The minor version of Python and the processor that it was built for: `3.13`, `arm64`.
    unpacked
        Bytes of all its files.
    modules
        Top-level modules that it has; neither the code nor its layers have one of these.
    versions
        Of its distributions.
    parts
        What it is made of.
    """

    name: str
    python: str
    architecture: str
    unpacked: int
    modules: frozenset[str]
    versions: Mapping[str, str]
    parts: tuple[Part, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of its parts' digests in their order, in hexadecimal."""
        return hashlib.sha256("".join(part.digest for part in self.parts).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)

    def to_manifest(self) -> dict[str, Any]:
        """Give its entry in the manifest."""
        return {
            "name": self.name,
            "python": self.python,
            "architecture": self.architecture,
            "unpacked": self.unpacked,
            "modules": sorted(self.modules),
            "versions": dict(sorted(self.versions.items())),
            "parts": [
                {"key": part.key, "digest": part.digest, "size": part.size} for part in self.parts
            ],
        }

    @classmethod
    def from_manifest(cls, entry: Mapping[str, Any]) -> Self:
        """Read an entry; raises `MessageError` that names the field."""
        return cls(
            name=field_of(entry, "name", str),
            python=field_of(entry, "python", str),
            architecture=field_of(entry, "architecture", str),
            unpacked=field_of(entry, "unpacked", int),
            modules=frozenset(field_of(entry, "modules", list)),
            versions=field_of(entry, "versions", dict),
            parts=tuple(map(_part, field_of(entry, "parts", list))),
        )


def _part(entry: Mapping[str, Any]) -> Part:
    return Part(
        key=field_of(entry, "key", str),
        digest=field_of(entry, "digest", str),
        size=field_of(entry, "size", int),
    )


def storage_mb(bundles: Iterable[OverflowBundle]) -> int:
    """Give the ephemeral storage that a function needs for bundles, in MB as Lambda counts them."""
    unpacked = sum(bundle.unpacked for bundle in bundles)
    return -(-unpacked // (1 << 20)) + HEADROOM_MB if unpacked else 0


def bundles_here() -> tuple[OverflowBundle, ...]:
    """Give the bundles of the release that runs here; none where nothing says so.

    Raises
    ------
    BundleError
        If the manifest cannot be read.
    """
    here = settings()
    place = here.get(PLACE, "")
    if not place:
        return ()
    folder = here.get("LAMBDA_TASK_ROOT") or place.removeprefix("file:")
    return _read(Path(folder) / MANIFEST)


@lru_cache(maxsize=4)
def _read(manifest: Path) -> tuple[OverflowBundle, ...]:
    """Read a manifest; code folders do not change."""
    try:
        return bundles_in(manifest.read_bytes(), str(manifest))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _unreadable(str(manifest), error) from error


def bundles_in(manifest: bytes, where: str) -> tuple[OverflowBundle, ...]:
    """Read the bundles that a manifest names; raises `BundleError` if it is none."""
    try:
        entries = json.loads(manifest).get("bundles", [])
        return tuple(map(OverflowBundle.from_manifest, entries))
    except (ValueError, AttributeError, TypeError, MessageError) as error:
        raise _unreadable(where, error) from error


def _unreadable(where: str, error: Exception) -> BundleError:
    return BundleError(
        f"the bundles in {where} cannot be read: {error}",
        "Build the package again with `wukong package`, and deploy it.",
    )


def check_target(bundle: OverflowBundle) -> None:
    """Refuse a bundle for another Python or processor than this; raises `BundleError`."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    # As Lambda calls them; `platform` would take some milliseconds to be imported.
    machine = os.uname().machine
    architecture = {"aarch64": "arm64", "amd64": "x86_64"}.get(machine, machine)
    if (bundle.python, bundle.architecture) != (python, architecture):
        raise BundleError(
            f"bundle {bundle.name} was built for Python {bundle.python} on {bundle.architecture}, "
            f"and this is {python} on {architecture}",
            f"Build it again: `wukong package --runtime python{python} --arch {architecture}`, and "
            "deploy.",
        )
