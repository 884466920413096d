"""The gateway to S3: values that are too large for an item, as objects under one prefix.

An object is written once: its name is used by one invocation only, and `If-None-Match` keeps a
repeated call from writing again, as the value's memory may have changed since. Large objects go in
parts and are read in ranges, several at once.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Protocol

from wukong.storage.dynamo.table import client_for, reached
from wukong.storage.dynamo.together import Together, chunks
from wukong.storage.serialisation import Packed, cut
from wukong.storage.terms import (
    StorageError,
)

PART_BYTES = 16 * 1024 * 1024
"""Parts of large objects; S3 takes none below 5 MB but the last, and at most 10,000.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

LARGE_BYTES = 2 * PART_BYTES
"""From this size on, an object goes in parts."""

MOST_PARTS = 10_000

CONFLICT = "ConditionalRequestConflict"
CONFLICT_PAUSES = (0.1, 0.5, 2.0, 5.0)
"""Seconds to wait for an earlier call that boto3 has given up, and that S3 is still busy with."""

READS = 3
"""So often an object is read before a lost connection is an error."""

DELETE_KEYS = 1000


class Objects(Protocol):
    """What the back-end needs of a bucket; names are below its prefix."""

    def put(self, name: str, value: Packed) -> None:
        """Write an object, unless there is one of this name."""

    def get(self, name: str, size: int) -> bytes | bytearray | None:
        """Read an object; None if it is not there."""

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; no error if they are not there."""

    def names(self, start: str) -> list[str]:
        """Name the objects whose names start so."""

    def ping(self) -> None:
        """Raise `StorageError` unless the bucket answers."""

    def close(self) -> None:
        """Give back the connections."""


class BucketObjects(Objects):
    """Objects of a bucket under a prefix; connects when it is used first."""

    def __init__(self, bucket: str, prefix: str, together: Together) -> None:
        self._bucket = bucket
        self._prefix = prefix + "/"
        self._together = together
        self._client: Any = None
        self._opening = threading.Lock()

    def put(self, name: str, value: Packed) -> None:
        write = self._put_parts if len(value) >= LARGE_BYTES else self._put_whole
        with or_existing():
            self._settled(name, lambda: write(name, value))

    def _settled(self, name: str, write: Callable[[], None]) -> None:
        """Write; a call that meets another of the same name waits for how that ends.

        After a conflict a whole upload is to be repeated, and one in parts to be begun anew.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
        """
        from botocore.exceptions import ClientError

        for pause in (0.0, *CONFLICT_PAUSES):
            time.sleep(pause)
            try:
                return write()
            except ClientError as error:
                if error.response["Error"]["Code"] != CONFLICT:
                    raise
        raise StorageError(
            f"bucket {self._bucket}: {name} is still being written by an earlier call",
            "S3 is disturbed: the run goes on when the lease of this Executor is over.",
        )

    def _put_whole(self, name: str, value: Packed) -> None:
        self._call("put_object", name, Body=bytes(value), IfNoneMatch="*")

    def _put_parts(self, name: str, value: Packed) -> None:
        upload = self._call("create_multipart_upload", name)["UploadId"]
        size = max(PART_BYTES, -(-len(value) // MOST_PARTS))
        try:
            sends = [
                self._sending(name, upload, number, part)
                for number, part in enumerate(cut(value, size), 1)
            ]
            parts = {"Parts": self._together(sends)}
            self._call(
                "complete_multipart_upload", name, UploadId=upload,
                MultipartUpload=parts, IfNoneMatch="*",
            )  # fmt: skip
        except BaseException:
            # Ctrl-C too: parts of an upload that nobody completes would be paid for.
            self._abort(name, upload)
            raise

    def _sending(
        self, name: str, upload: str, number: int, part: Sequence[bytes | memoryview]
    ) -> Callable[[], Any]:
        def send() -> Any:
            where = {"UploadId": upload, "PartNumber": number}
            reply = self._call("upload_part", name, Body=b"".join(part), **where)
            return {"PartNumber": number, "ETag": reply["ETag"]}

        return send

    def _abort(self, name: str, upload: str) -> None:
        from botocore.exceptions import ClientError

        # What cannot be aborted is deleted by the bucket's lifecycle rule.
        with suppress(ClientError, StorageError):
            self._call("abort_multipart_upload", name, UploadId=upload)

    def get(self, name: str, size: int) -> bytes | bytearray | None:
        from botocore.exceptions import ClientError

        try:
            if size < LARGE_BYTES:
                return self._body(name)
            whole = bytearray(size)
            self._together(
                [self._reading(name, whole, first) for first in range(0, size, PART_BYTES)]
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None
        return whole

    def _reading(self, name: str, whole: bytearray, first: int) -> Callable[[], None]:
        def read() -> None:
            last = min(first + PART_BYTES, len(whole)) - 1
            whole[first : last + 1] = self._body(name, Range=f"bytes={first}-{last}")

        return read

    def _body(self, name: str, **where: str) -> bytes:
        """Read an object, or a range of it; again if the connection is lost meanwhile.

        boto3 repeats the call until its reply begins, and not what is read of it after that.
        """
        for _ in range(READS - 1):
            body = self._call("get_object", name, **where)["Body"]
            with suppress(StorageError):
                return self._read(body)
        return self._read(self._call("get_object", name, **where)["Body"])

    def _read(self, body: Any) -> bytes:
        with self._reached():
            return bytes(body.read())

    def delete(self, names: Sequence[str]) -> None:
        for some in chunks(names, DELETE_KEYS):
            keys = [{"Key": self._prefix + one} for one in some]
            self._call("delete_objects", None, Delete={"Objects": keys, "Quiet": True})

    def names(self, start: str) -> list[str]:
        found: list[str] = []
        options = {"Prefix": self._prefix + start}
        while True:
            page = self._call("list_objects_v2", None, **options)
            found += [one["Key"].removeprefix(self._prefix) for one in page.get("Contents", [])]
            if "NextContinuationToken" not in page:
                return found
            options["ContinuationToken"] = page["NextContinuationToken"]

    def ping(self) -> None:
        self._call("list_objects_v2", None, Prefix=self._prefix, MaxKeys=1)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _call(self, operation: str, name: str | None, **arguments: Any) -> Any:
        client = self.connect()
        if name is not None:
            arguments["Key"] = self._prefix + name
        with self._reached():
            return getattr(client, operation)(Bucket=self._bucket, **arguments)

    def _reached(self) -> AbstractContextManager[None]:
        return reached(f"bucket {self._bucket}")

    def connect(self) -> Any:
        """Give the client; making one takes a while, and is done once."""
        with self._opening:
            if self._client is None:
                self._client = client_for("s3")
            return self._client


@contextmanager
def or_existing() -> Iterator[None]:
    """Take the refusal to overwrite an object for success: it is there already."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] != "PreconditionFailed":
            raise
