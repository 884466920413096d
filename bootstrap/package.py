"""The deployment package in S3: which object it is right now, and whether it can be a release.

Lambda fetches the package itself, by version; here only its facts are read: one HeadObject, and a
few ranged reads of the zip's directory. The bytes are streamed once if S3 does not know their
SHA-256, which is how Lambda names code.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipInfo

from aws_lambda_powertools.utilities.streaming import S3Object
from aws_lambda_powertools.utilities.streaming.transformations import ZipTransform
from botocore.exceptions import ClientError

from bootstrap.errors import PackageError
from bootstrap.events import Upload
from bootstrap.retry import mapped

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

UNZIPPED_BYTES = 262_144_000
"""Limit of a package and its layers, unzipped (250 MB).
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

SMALLEST_ZIP = 22
"""Bytes of an empty zip; less cannot be one."""

CHUNK = 1 << 20

_UNZIP = ZipTransform()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Package:
    """One immutable state of the package's object.

    Attributes
    ----------
    version_id
        None in a bucket without versions.
    sha256
        Base64, as Lambda's CodeSha256; empty until `with_sha256` if S3 does not know it.
    """

    bucket: str
    key: str
    version_id: str | None
    etag: str
    size: int
    sha256: str

    @property
    def id(self) -> str:
        """The name of this state, for records and answers."""
        return self.version_id or self.etag

    def is_one_of(self, uploads: Iterable[Upload]) -> bool:
        """Tell whether one of these uploads made the current object; if not, they are stale."""
        return any(
            upload.version_id == self.version_id
            if upload.version_id and self.version_id
            else upload.etag == self.etag
            for upload in uploads
        )


def resolve(client: S3Client, bucket: str, key: str) -> Package | None:
    """Look the current package up; None if there is none."""
    try:
        head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise mapped(error, f"s3://{bucket}/{key}") from error
    version = head.get("VersionId")
    checksum = head.get("ChecksumSHA256", "")
    return Package(
        bucket=bucket,
        key=key,
        version_id=None if version in {None, "null"} else version,
        etag=head["ETag"].strip('"'),
        size=head["ContentLength"],
        # A checksum of an upload in parts ("...-3") is one of the parts' checksums.
        sha256="" if "-" in checksum else checksum,
    )


def hashed(client: S3Client, package: Package) -> Package:
    """Give the package with its SHA-256, streaming its bytes if S3 does not know it.

    Raises
    ------
    PackageError
        If it is too small or too big to be worth reading.
    """
    if package.size < SMALLEST_ZIP:
        raise _not_a_zip(_where(package))
    _check_size(_where(package), package.size, "")
    if package.sha256:
        return package
    digest = hashlib.sha256()
    try:
        with _opened(client, package) as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    except ClientError as error:
        raise mapped(error, _where(package)) from error
    sha256 = b64encode(digest.digest()).decode()
    return Package(
        package.bucket, package.key, package.version_id, package.etag, package.size, sha256
    )


def validate(client: S3Client, package: Package, module_files: Iterable[str]) -> None:
    """Check that Lambda could run the package, before Lambda is touched.

    Raises
    ------
    PackageError
        If it is not a zip, a handler's file is missing, a path leaves the directory that it is
        unpacked to, or it is too big.
    """
    where = _where(package)
    with _opened(client, package) as stream:
        try:
            with stream.transform(_UNZIP) as archive:
                entries = archive.infolist()
        # A damaged directory can also hold names that are none, or ask for unknown features.
        except (BadZipFile, ValueError, NotImplementedError):
            raise _not_a_zip(where) from None
        except ClientError as error:
            raise mapped(error, where) from error
    _check_paths(where, entries)
    _check_size(where, sum(entry.file_size for entry in entries), " unzipped")
    _check_handlers(where, entries, module_files)


def _where(package: Package) -> str:
    return f"s3://{package.bucket}/{package.key}"


def _opened(client: S3Client, package: Package) -> S3Object:
    """Open the current object, as long as it is this one; S3 refuses if it was replaced.

    Unlike the version, the ETag pins it in a bucket without versions too.
    """
    return S3Object(package.bucket, package.key, boto3_client=client, IfMatch=f'"{package.etag}"')


def _not_a_zip(where: str) -> PackageError:
    return PackageError(f"{where} is not a zip file.", "Upload a zip with the functions' code.")


def _check_paths(where: str, entries: Iterable[ZipInfo]) -> None:
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or path.parts[:1] == ("~",):
            raise PackageError(
                f"{where}: the path {entry.filename!r:.200} leaves the package.",
                "Build the zip from inside the package's directory, with relative paths.",
            )


def _check_size(where: str, size: int, how: str) -> None:
    if size > UNZIPPED_BYTES:
        raise PackageError(
            f"{where} is {size:,} bytes{how}; Lambda allows {UNZIPPED_BYTES:,} unzipped.",
            "Leave distributions out, or move them to layers that are smaller in all.",
        )


def _check_handlers(where: str, entries: Iterable[ZipInfo], module_files: Iterable[str]) -> None:
    names = {entry.filename for entry in entries}
    for file in module_files:
        package_file = file.removesuffix(".py") + "/__init__.py"
        if file not in names and package_file not in names:
            raise PackageError(
                f"{where} has no {file}, which a handler needs.",
                "Build the zip so that the handlers' modules are at its root, or set the handler.",
            )
