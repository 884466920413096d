"""What is inside a zip in S3, read from its end by ranged reads: never the whole.

A zip's directory is its last part, so one read of the tail gives the names, sizes and checksums of
everything, and mostly the manifest too. What Lambda would refuse, or unpack to somewhere else, is
refused here, before Lambda is touched.
https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import io
import stat
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from botocore.exceptions import BotoCoreError, ClientError

from bootstrap.errors import PackageError
from bootstrap.package import Package
from bootstrap.retry import mapped

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

UNZIPPED_BYTES = 262_144_000
"""Limit of a package and its layers together, unzipped (250 MB).
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

MANIFEST = "wukong.json"
MANIFEST_BYTES = 65_536

TAIL_BYTES = 262_144
DIRECTORY_BYTES = 33_554_432
"""How much of the end is read at once: the directory of some thousand files."""

SMALLEST_ZIP = 22
"""Bytes of an empty zip; less cannot be one."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a zip holds.

    Attributes
    ----------
    unzipped
        Bytes of all files.
    manifest
        The bytes of `wukong.json`; None if there is none.
    """

    names: frozenset[str]
    unzipped: int
    manifest: bytes | None


def read_contents(client: S3Client, package: Package) -> Contents:
    """Read a zip's directory and manifest, and check that it can be unpacked safely.

    Raises
    ------
    PackageError
        If it is not a zip, too big, damaged, or holds what Lambda cannot unpack or must not.
    """
    where = package.where
    if package.size < SMALLEST_ZIP:
        raise _not_a_zip(where)
    check_size(where, package.size, "")
    try:
        with ZipFile(_Tail(client, package)) as archive:
            entries = archive.infolist()
            _check_entries(where, entries, package.size)
            manifest = _manifest(where, archive)
    # First, as some of them are also an OSError.
    except (ClientError, BotoCoreError) as error:
        raise mapped(error, where) from error
    # A damaged directory can also hold names that are none, or ask for features that zipfile does
    # not have, which it says by NotImplementedError.
    except (BadZipFile, ValueError, NotImplementedError, OSError, EOFError, zlib.error):
        raise _not_a_zip(where) from None
    unzipped = sum(entry.file_size for entry in entries)
    check_size(where, unzipped, " unzipped")
    return Contents(frozenset(entry.filename for entry in entries), unzipped, manifest)


def check_size(where: str, size: int, how: str) -> None:
    """Refuse what is over Lambda's limit."""
    if size > UNZIPPED_BYTES:
        raise PackageError(
            f"{where} is {size:,} bytes{how}; Lambda allows {UNZIPPED_BYTES:,} unzipped.",
            "Leave distributions out, or use smaller or fewer layers: they count too.",
        )


def check_handlers(where: str, contents: Contents, module_files: Iterable[str]) -> None:
    """Refuse a package that lacks the file of a handler."""
    for file in module_files:
        package_file = file.removesuffix(".py") + "/__init__.py"
        if file not in contents.names and package_file not in contents.names:
            raise PackageError(
                f"{where} has no {file}, which a handler needs.",
                "Build the zip so that the handlers' modules are at its root, or set the handler.",
            )


class _Tail(io.RawIOBase):
    """An object in S3 as a file: its end is in memory, other parts are fetched as they are read."""

    def __init__(self, client: S3Client, package: Package) -> None:
        super().__init__()
        self._client = client
        self._package = package
        self._position = 0
        self._fetched = 0
        self._begin = max(0, package.size - TAIL_BYTES)
        self._tail = self._fetch(self._begin, package.size)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._package.size}
        if start[whence] + offset < 0:
            raise ValueError("before the beginning")
        self._position = start[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._package.size)
        if end <= self._position:
            return 0
        if self._position >= self._begin:
            part = self._tail[self._position - self._begin : end - self._begin]
        else:
            part = self._fetch(self._position, end)
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _fetch(self, begin: int, end: int) -> bytes:
        self._fetched += end - begin
        if self._fetched > DIRECTORY_BYTES:
            raise PackageError(
                f"{self._package.where}: its directory is longer than {DIRECTORY_BYTES:,} bytes.",
                "Lambda takes no package with so many files; leave some out.",
            )
        # S3 refuses if the object was replaced, also in a bucket without versions.
        answer = self._client.get_object(
            Bucket=self._package.bucket,
            Key=self._package.key,
            Range=f"bytes={begin}-{end - 1}",
            IfMatch=f'"{self._package.etag}"',
            **self._package.older_version,
        )
        body = answer["Body"].read()
        # A store may send the whole instead of a range.
        return body if len(body) <= end - begin else body[begin:end]


def _manifest(where: str, archive: ZipFile) -> bytes | None:
    try:
        entry = archive.getinfo(MANIFEST)
    except KeyError:
        return None
    if entry.file_size > MANIFEST_BYTES:
        raise PackageError(
            f"{where}: {MANIFEST} is {entry.file_size:,} bytes.",
            f"A manifest has at most {MANIFEST_BYTES:,}.",
        )
    return archive.read(entry)


def _check_entries(where: str, entries: Iterable[ZipInfo], size: int) -> None:
    """Refuse what Lambda would not unpack, and what would be unpacked to another place."""
    seen: set[str] = set()
    stored = 0
    for entry in entries:
        problem = _problem(entry, size)
        if entry.filename in seen:
            problem = "is in the zip twice"
        if problem:
            raise PackageError(
                f"{where}: the path {entry.filename!r:.200} {problem}.",
                "Build the zip anew, from inside the package's directory, with plain files.",
            )
        seen.add(entry.filename)
        stored += entry.compress_size
    if stored > size:
        raise PackageError(
            f"{where}: its files overlap.", "Build the zip anew: its directory is damaged."
        )


def _problem(entry: ZipInfo, size: int) -> str:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or path.parts[:1] == ("~",):
        return "leaves the package"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a symbolic link"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
        return "is compressed in a way that Lambda does not know"
    empty = entry.compress_size == 0 or entry.file_size == 0
    if entry.header_offset + entry.compress_size > size or (entry.CRC and empty):
        return "has sizes or a checksum that cannot be"
    return ""


def _not_a_zip(where: str) -> PackageError:
    return PackageError(f"{where} is not a zip file.", "Upload a zip with the functions' code.")
