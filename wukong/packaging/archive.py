"""A set of files to a zip whose bytes depend on nothing else: not on clock, order or permissions.

Lambda takes a package for changed when the hash of its bytes is another, so rebuilding the same
code must give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that the format knows."""

_MODE = 0o100644 << 16
_UNIX = 3


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip that was written.

    Attributes
    ----------
    path
        Where it is.
    size, unzipped_size
        In bytes.
    sha256
        Of its bytes, in hexadecimal.
    """

    path: Path
    size: int
    unzipped_size: int
    sha256: str


def write(files: Mapping[str, Path], out: Path, level: int = 9) -> Archive:
    """Write files, by their names in the zip, and describe the result.

    The zip appears at `out` complete or not at all.

    Parameters
    ----------
    level
        Of zlib's compression, 1 to 9.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=out.parent, suffix=".part")
    unzipped = 0
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for inside in sorted(files):
                data = files[inside].read_bytes()
                archive.writestr(entry(inside), data, compresslevel=level)
                unzipped += len(data)
        Path(name).replace(out)
    finally:
        # By then it has gone to its place, unless something failed.
        Path(name).unlink(missing_ok=True)
    out.chmod(0o644)
    data = out.read_bytes()
    return Archive(
        path=out,
        size=len(data),
        unzipped_size=unzipped,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def entry(name: str) -> zipfile.ZipInfo:
    """Give what a zip says of a file beside its bytes, the same for all."""
    made = zipfile.ZipInfo(name, _EPOCH)
    made.compress_type = zipfile.ZIP_DEFLATED
    made.create_system = _UNIX
    made.external_attr = _MODE
    return made
