"""The parts of an overflow bundle from where they lie: the package bucket, or a folder.

An object is read in ranges, and what was cut off on its way is read on from where it ended. What
was read is compared with its digest before anybody uses it.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, Protocol

from wukong.platform.overflow import BundleError, OverflowBundle, Part

RANGE_BYTES = 8 << 20
"""One connection to S3 gives some 80 MB/s; it pays to read with several, not in small pieces.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-design-patterns.html"""

CONNECTIONS = 8
ATTEMPTS = 5
BACKOFF_SECONDS = 0.1
PIECE = 1 << 18

ABSENT = frozenset({"NoSuchKey", "404"})
FORBIDDEN = frozenset({"AccessDenied", "403"})


class Source(Protocol):
    """Where parts lie."""

    def where(self, key: str) -> str:
        """Give the address of a part, for people."""

    def read(self, key: str, begin: int, end: int) -> bytes:
        """Read bytes of a part: all of this range, or those before the end or a cut.

        Raises
        ------
        LookupError
            If there is no such part.
        PermissionError
            If it may not be read.
        OSError
            For what may go better another time.
        """


class Folder:
    """Parts in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def where(self, key: str) -> str:
        """Give the path of a part."""
        return str(self._folder / key)

    def read(self, key: str, begin: int, end: int) -> bytes:
        """Read bytes of a part."""
        try:
            with (self._folder / key).open("rb") as file:
                file.seek(begin)
                return file.read(end - begin)
        except FileNotFoundError as error:
            raise LookupError(key) from error


class Bucket:
    """Parts in S3."""

    def __init__(self, bucket: str) -> None:
        import boto3
        from botocore.config import Config

        self._bucket = bucket
        self._s3: Any = boto3.client(
            "s3",
            config=Config(
                # What was not answered at all is sent again by the SDK; what was cut off, by us.
                retries={"total_max_attempts": 3, "mode": "standard"},
                max_pool_connections=CONNECTIONS,
                connect_timeout=5,
                read_timeout=30,
            ),
        )

    def where(self, key: str) -> str:
        """Give the address of a part."""
        return f"s3://{self._bucket}/{key}"

    def read(self, key: str, begin: int, end: int) -> bytes:
        """Read bytes of a part."""
        from botocore.exceptions import BotoCoreError, ClientError

        found = bytearray()
        try:
            answer = self._s3.get_object(
                Bucket=self._bucket, Key=key, Range=f"bytes={begin}-{end - 1}"
            )
            # A store that does not know ranges sends the whole.
            skipped = 0 if "ContentRange" in answer else begin
            for piece in answer["Body"].iter_chunks(PIECE):
                found += piece
                if len(found) >= skipped + end - begin:
                    break
        except ClientError as error:
            _refuse(error)
        except BotoCoreError as error:
            if not found:
                raise OSError(str(error)) from error
        return bytes(found[skipped : skipped + end - begin])


def _refuse(error: Any) -> NoReturn:
    code = error.response["Error"]["Code"]
    if code in ABSENT:
        raise LookupError(str(error)) from error
    if code in FORBIDDEN:
        raise PermissionError(str(error)) from error
    raise OSError(str(error)) from error


def source_of(place: str) -> Source:
    """Open where parts lie: `s3://BUCKET`, or `file:` and a folder."""
    if place.startswith("s3://"):
        return Bucket(place.removeprefix("s3://").strip("/"))
    return Folder(Path(place.removeprefix("file:")))


class Reader:
    """Reads parts of one bundle.

    Parameters
    ----------
    sleep
        Waits between two attempts.
    """

    def __init__(
        self,
        bundle: OverflowBundle,
        source: Source,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bundle = bundle
        self._source = source
        self._sleep = sleep

    def ranges(self, part: Part) -> list[tuple[int, int]]:
        """Give the ranges in which a part is read."""
        return [
            (begin, min(begin + RANGE_BYTES, part.size))
            for begin in range(0, part.size, RANGE_BYTES)
        ]

    def read(self, part: Part, begin: int, end: int) -> bytes:
        """Read one range whole.

        Raises
        ------
        BundleError
            If the part is not there, may not be read, or does not come.
        """
        data, failed = b"", ""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                data += self._source.read(part.key, begin + len(data), end)
            except (LookupError, PermissionError) as error:
                raise self._unreadable(part, error) from error
            except OSError as error:
                failed = str(error)
            if len(data) >= end - begin:
                return data
            if attempt < ATTEMPTS:
                spread = random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries
                self._sleep(spread * BACKOFF_SECONDS * 2.0**attempt)
        raise BundleError(
            f"bundle {self._bundle.name}: bytes {begin} to {end} of {self._source.where(part.key)} "
            f"did not come in {ATTEMPTS} attempts: {failed or f'{len(data)} bytes came'}",
            "Run it again; if it stays so, the object may be cut off: deploy again "
            "(`wukong deploy`), which uploads it anew.",
        )

    def _unreadable(self, part: Part, error: Exception) -> BundleError:
        where = self._source.where(part.key)
        if isinstance(error, PermissionError):
            return BundleError(
                f"bundle {self._bundle.name}: {where} may not be read, or is not there: {error}",
                f"The Executor's role needs s3:GetObject on bundles/* of the package bucket, which "
                f"the template gives: update the stack; then see that {part.key} is there."
                if where.startswith("s3://")
                else "Make the file readable for the user of this process.",
            )
        return BundleError(
            f"bundle {self._bundle.name}: {where} is not there",
            "Upload it: `wukong deploy` does, or copy the folder bundles/ that `wukong package` "
            "has written to where the package is.",
        )

    def check(self, part: Part, data: bytes) -> bytes:
        """Give the bytes of a part if they are those that the release names.

        Raises
        ------
        BundleError
            If they are others.
        """
        found = hashlib.sha256(data).hexdigest()
        if found != part.digest:
            raise BundleError(
                f"bundle {self._bundle.name}: {self._source.where(part.key)} is damaged or another "
                f"file: its SHA-256 is {found}, and the release names {part.digest}",
                "Nothing of it was used. Upload it anew: `wukong deploy`, or copy the folder "
                "bundles/ that was built with this package.",
            )
        return data
