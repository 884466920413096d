"""The URL of a table and a bucket: dynamodb+s3://TABLE/BUCKET or dynamodb+s3://TABLE/BUCKET/PREFIX."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from wukong.storage.terms import (
    StorageError,
)

SCHEME = "dynamodb+s3"

PREFIX = "wukong"

_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html"""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html"""

_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*")


@dataclass(frozen=True, slots=True)
class Address:
    """Where runs are kept: a table, a bucket, and what the names of objects begin with."""

    table: str
    bucket: str
    prefix: str = PREFIX

    @classmethod
    def of(cls, url: str) -> Self:
        """Read a URL.

        Raises
        ------
        StorageError
            If it is not of this form.
        """
        scheme, _, rest = url.partition("://")
        table, _, place = rest.partition("/")
        bucket, _, prefix = place.partition("/")
        prefix = prefix.strip("/") or PREFIX
        fits = _TABLE.fullmatch(table) and _BUCKET.fullmatch(bucket) and _PREFIX.fullmatch(prefix)
        if scheme != SCHEME or not fits:
            raise StorageError(
                f"store URL {url!r}: not {SCHEME}://TABLE/BUCKET, or names that AWS does not allow",
                f"Give {SCHEME}://TABLE/BUCKET or {SCHEME}://TABLE/BUCKET/PREFIX, with the names "
                "of a DynamoDB table and an S3 bucket of one region.",
            )
        return cls(table, bucket, prefix)

    def __str__(self) -> str:
        return f"{SCHEME}://{self.table}/{self.bucket}/{self.prefix}"
