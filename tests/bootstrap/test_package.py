"""The package's facts, from S3's answers and from the zip's own directory."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from bootstrap.errors import ConflictError, PackageError, RefusedError
from bootstrap.events import Upload
from bootstrap.package import Package, hashed, resolve, validate

from .conftest import package as packed
from .conftest import zipped

BODY = packed()
SHA = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
PACKAGE = Package("bucket", "key", "v1", "abc", len(BODY), "")
FILES = ("executor/function.py", "invoker/function.py")


@pytest.fixture
def s3() -> Any:
    return boto3.client(
        "s3", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )


def head(s3: Any, **answer: Any) -> Package | None:
    told = {"ETag": '"abc"', "ContentLength": 1, **answer}
    with Stubber(s3) as script:
        script.add_response("head_object", told)
        return resolve(s3, "bucket", "key")


class Reads:
    """S3 with one object's bytes."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def head_object(self, **_: str) -> dict[str, Any]:
        return {"ContentLength": len(self.body)}

    def get_object(self, Range: str, **_: str) -> dict[str, Any]:  # noqa: N803 -- as S3 has it
        part = self.body[int(Range.removeprefix("bytes=").removesuffix("-")) :]
        return {"Body": StreamingBody(io.BytesIO(part), len(part))}


def test_a_checksum_of_the_whole_object_is_lambdas_hash(s3: Any) -> None:
    found = head(s3, VersionId="v1", ChecksumSHA256=SHA)
    assert found is not None
    assert (found.id, found.etag, found.sha256) == ("v1", "abc", SHA)


def test_a_checksum_of_parts_is_not(s3: Any) -> None:
    found = head(s3, ChecksumSHA256=f"{SHA}-3")
    assert found is not None
    assert found.sha256 == ""


def test_without_a_checksum_the_bytes_are_hashed() -> None:
    reads: Any = Reads(BODY)
    assert hashed(reads, PACKAGE).sha256 == SHA


@pytest.mark.parametrize("version", [{}, {"VersionId": "null"}])
def test_in_a_bucket_without_versions_the_etag_names_it(s3: Any, version: dict[str, str]) -> None:
    found = head(s3, **version)
    assert found is not None
    assert (found.version_id, found.id) == (None, "abc")
    assert found.is_one_of([Upload(None, "abc")])
    assert not found.is_one_of([Upload(None, "older")])


def test_only_the_current_version_is_not_stale() -> None:
    assert PACKAGE.is_one_of([Upload("v0", "abc"), Upload("v1", "other")])
    assert not PACKAGE.is_one_of([Upload("v0", "abc")])


def test_a_forbidden_package_is_not_taken_for_a_missing_one(s3: Any) -> None:
    with Stubber(s3) as script:
        script.add_client_error("head_object", "403", http_status_code=403)
        with pytest.raises(RefusedError, match="s3://bucket/key"):
            resolve(s3, "bucket", "key")


def test_a_package_that_was_replaced_meanwhile_is_a_conflict(s3: Any) -> None:
    with Stubber(s3) as script:
        script.add_client_error("get_object", "PreconditionFailed", http_status_code=412)
        with pytest.raises(ConflictError):
            hashed(s3, PACKAGE)


def test_what_is_bigger_than_lambda_takes_unzipped_is_not_even_read(s3: Any) -> None:
    with Stubber(s3), pytest.raises(PackageError, match="262,144,000"):
        hashed(s3, Package("bucket", "key", "v1", "abc", 5 << 40, ""))


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"\x00\x00"])
def test_a_damaged_directory_is_refused_as_no_zip(damage: bytes) -> None:
    place = BODY.rindex(b"PK\x01\x02")
    body = BODY[: place + 8] + b"\x00\x08" + BODY[place + 10 : place + 46] + damage
    body += BODY[place + 48 :]
    reads: Any = Reads(body)
    with pytest.raises(PackageError):
        validate(reads, PACKAGE, FILES)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "..\\x", "\\x", "~/x"])
def test_a_path_that_leaves_the_package_is_refused(path: str) -> None:
    reads: Any = Reads(zipped({path: "", **dict.fromkeys(FILES, "")}))
    with pytest.raises(PackageError, match="leaves the package"):
        validate(reads, PACKAGE, FILES)


def test_a_handler_may_be_a_packages_init_file() -> None:
    reads: Any = Reads(zipped({"executor/function/__init__.py": "", "invoker/function.py": ""}))
    validate(reads, PACKAGE, FILES)
