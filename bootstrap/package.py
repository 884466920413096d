"""A zip in the package's bucket, the deployment package or a layer: which object it is right now.

Lambda fetches the zip itself, by version; here only its facts are read, by HeadObject. The bytes
are streamed once if S3 does not know their SHA-256, which is how Lambda names code.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict

from botocore.exceptions import BotoCoreError, ClientError

from bootstrap.events import Upload
from bootstrap.retry import mapped

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

CHUNK = 1 << 20


class _Version(TypedDict, total=False):
    VersionId: str


@dataclass(frozen=True, slots=True)
class Package:
    """One immutable state of the package's object.

    Attributes
    ----------
    version_id
        None in a bucket without versions.
    sha256
        Base64, as Lambda's CodeSha256; empty until `hashed` if S3 does not know it.
    is_current
        Whether it is what the key names now, not a version that was asked for.
    """

    bucket: str
    key: str
    version_id: str | None
    etag: str
    size: int
    sha256: str
    is_current: bool = True

    @property
    def id(self) -> str:
        """The name of this state, for records and answers."""
        return self.version_id or self.etag

    @property
    def where(self) -> str:
        """The object's address, for messages."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def older_version(self) -> _Version:
        """The argument that reads this version, if it is not the current one."""
        return {} if self.is_current or not self.version_id else {"VersionId": self.version_id}

    def is_one_of(self, uploads: Iterable[Upload]) -> bool:
        """Tell whether one of these uploads made the current object; if not, they are stale."""
        return any(
            upload.version_id == self.version_id
            if upload.version_id and self.version_id
            else upload.etag == self.etag
            for upload in uploads
        )


def resolve(client: S3Client, bucket: str, key: str, version_id: str = "") -> Package | None:
    """Look an object up, as it is now or by version; None if there is none."""
    version: _Version = {"VersionId": version_id} if version_id else {}
    try:
        head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED", **version)
    except ClientError as error:
        # S3 answers a version that was never one with 400, and one that marks a deletion with 405.
        absent = {400, 404, 405} if version_id else {404}
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in absent:
            return None
        raise mapped(error, f"s3://{bucket}/{key}") from error
    except BotoCoreError as error:
        raise mapped(error, f"s3://{bucket}/{key}") from error
    found = head.get("VersionId")
    checksum = head.get("ChecksumSHA256", "")
    return Package(
        bucket=bucket,
        key=key,
        version_id=None if found in {None, "null"} else found,
        etag=head["ETag"].strip('"'),
        size=head["ContentLength"],
        # A checksum of an upload in parts ("...-3") is one of the parts' checksums.
        sha256="" if "-" in checksum else checksum,
        is_current=not version_id,
    )


def hashed(client: S3Client, package: Package) -> Package:
    """Give the package with its SHA-256, streaming its bytes if S3 does not know it.

    How many there are is not checked: whoever asks has read the contents, which refuses too many.
    """
    if package.sha256:
        return package
    digest = hashlib.sha256()
    try:
        answer = client.get_object(
            Bucket=package.bucket,
            Key=package.key,
            IfMatch=f'"{package.etag}"',
            **package.older_version,
        )
        with closing(answer["Body"]) as stream:
            for chunk in stream.iter_chunks(CHUNK):
                digest.update(chunk)
    except (ClientError, BotoCoreError) as error:
        raise mapped(error, package.where) from error
    return replace(package, sha256=b64encode(digest.digest()).decode())
