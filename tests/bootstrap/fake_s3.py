"""S3 in memory: buckets with versions, delete markers, ranges and preconditions.

`put` and `delete` are for tests that arrange something; they are no calls and cannot fail.
"""

# ruff: noqa: N803 - arguments are spelled as boto3 spells them

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from typing import ClassVar

from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from tests.bootstrap.fake_aws import Answer, FakeAws, FakeClient, Fault, Refused, operation

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class _Object:
    """One version of an object, or a delete marker without a body."""

    version: str
    body: bytes | None
    checksum: str | None
    modified: datetime

    @cached_property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body or b"").hexdigest()}"'


class FakeS3(FakeClient):
    """An S3 client.

    Attributes
    ----------
    unversioned
        Buckets without versioning.
    """

    refusals: ClassVar = {
        Fault.THROTTLE: Refused(503, "SlowDown", "Please reduce your request rate."),
        Fault.CONFLICT: Refused(
            409,
            "OperationAborted",
            "A conflicting conditional operation is currently in progress against this resource. "
            "Please try again.",
        ),
        Fault.PRECONDITION: Refused(
            412,
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold",
        ),
        Fault.SERVER_ERROR: Refused(
            500, "InternalError", "We encountered an internal error. Please try again."
        ),
    }

    def __init__(self, aws: FakeAws) -> None:
        super().__init__(aws)
        self.unversioned: set[str] = set()
        self._buckets: dict[str, dict[str, list[_Object]]] = {}

    def create(self, bucket: str) -> None:
        """Create a bucket, if there is none."""
        self._buckets.setdefault(bucket, {})

    def put(self, bucket: str, key: str, body: bytes, *, checksum: str | None = "") -> str:
        """Put an object into a bucket, which is created, and give its version.

        S3 knows its SHA-256 unless `checksum` is None; that of an upload in parts may be given.
        """
        if checksum == "":
            checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
        return self._add(bucket, key, body, checksum)

    def delete(self, bucket: str, key: str, version: str | None = None) -> str:
        """Put a delete marker on an object and give its version, or remove one version."""
        if version is None:
            return self._add(bucket, key, None, None)
        states = self._buckets[bucket][key]
        states[:] = [state for state in states if state.version != version]
        return version

    def _add(self, bucket: str, key: str, body: bytes | None, checksum: str | None) -> str:
        self.create(bucket)
        states = self._buckets[bucket].setdefault(key, [])
        version = self.aws.new_id()
        if bucket in self.unversioned:
            version = "null"
            states.clear()
            if body is None:
                return version
        states.append(_Object(version, body, checksum, self.aws.time()))
        return version

    def fetch(self, bucket: str, key: str, version: str | None = None) -> bytes:
        """Read an object as Lambda does for its caller."""
        return self._find(bucket, key, version).body or b""

    @operation()
    def head_object(
        self,
        *,
        Bucket: str,
        Key: str,
        VersionId: str | None = None,
        ChecksumMode: str | None = None,
        IfMatch: str | None = None,
    ) -> Answer:
        """Describe an object."""
        found = self._find(Bucket, Key, VersionId, IfMatch)
        return self._facts(Bucket, found, ChecksumMode)

    @operation()
    def get_object(
        self,
        *,
        Bucket: str,
        Key: str,
        VersionId: str | None = None,
        ChecksumMode: str | None = None,
        IfMatch: str | None = None,
        Range: str | None = None,
    ) -> Answer:
        """Read an object, or a part of it."""
        found = self._find(Bucket, Key, VersionId, IfMatch)
        body = found.body or b""
        facts = self._facts(Bucket, found, ChecksumMode)
        if part := _part(Range, len(body)):
            facts.pop("ChecksumSHA256", None)  # it is of the whole
            facts.pop("ChecksumType", None)
            facts["ContentRange"] = f"bytes {part.start}-{part.stop - 1}/{len(body)}"
            body = body[part.start : part.stop]
        stream = StreamingBody(io.BytesIO(body), len(body))
        return {**facts, "ContentLength": len(body), "Body": stream}

    def error(self, operation: str, refused: Refused) -> ClientError:
        """Give boto3's exception; the answer to a HEAD has no body, so only the status is known."""
        if operation.startswith("Head"):
            status = HTTPStatus(refused.status)
            refused = Refused(refused.status, str(refused.status), status.phrase)
        return super().error(operation, refused)

    def _find(
        self, bucket: str, key: str, version: str | None, if_match: str | None = None
    ) -> _Object:
        if bucket not in self._buckets:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist")
        states = self._buckets[bucket].get(key, [])
        if version:
            states = [state for state in states if state.version == version]
            if not states:
                raise Refused(404, "NoSuchVersion", "The specified version does not exist.")
            if states[0].body is None:
                message = "The specified method is not allowed against this resource."
                raise Refused(405, "MethodNotAllowed", message)
        if not states or states[-1].body is None:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        found = states[-1]
        if if_match not in {None, "*", found.etag, found.etag.strip('"')}:
            raise self.refusals[Fault.PRECONDITION]
        return found

    def _facts(self, bucket: str, found: _Object, checksum_mode: str | None) -> Answer:
        facts: Answer = {
            "AcceptRanges": "bytes",
            "LastModified": found.modified,
            "ContentLength": len(found.body or b""),
            "ETag": found.etag,
            "ContentType": "binary/octet-stream",
            "Metadata": {},
        }
        if bucket not in self.unversioned:
            facts["VersionId"] = found.version
        if checksum_mode == "ENABLED" and found.checksum:
            facts["ChecksumSHA256"] = found.checksum
            facts["ChecksumType"] = "COMPOSITE" if "-" in found.checksum else "FULL_OBJECT"
        return facts


def _part(text: str | None, size: int) -> range | None:
    """Give which bytes a range means; None for the whole, also if it says nothing that S3 knows."""
    match = _RANGE.fullmatch(text or "")
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if first and last and int(first) > int(last):
        return None
    part = range(int(first), min(int(last or size), size - 1) + 1) if first else None
    part = part if part is not None else range(max(0, size - int(last)), size)
    if not part:
        raise Refused(416, "InvalidRange", "The requested range is not satisfiable")
    return part
