"""The package's facts, from S3's answers and from the zip's own directory."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import random
import warnings
import zipfile
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.contents import TAIL_BYTES, Contents, check_handlers, read_contents
from bootstrap.errors import ConflictError, PackageError, RefusedError
from bootstrap.events import Upload
from bootstrap.package import Package, hashed, resolve

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
    """S3 with one object's bytes, which remembers what was read of them."""

    def __init__(self, body: bytes, *, whole: bool = False) -> None:
        self.body = body
        self.whole = whole
        self.ranges: list[str] = []

    def get_object(self, **asked: str) -> dict[str, Any]:
        assert asked["IfMatch"] == '"abc"'
        part = self.body
        self.ranges.append(asked.get("Range", "all"))
        if "Range" in asked and not self.whole:
            begin, end = asked["Range"].removeprefix("bytes=").split("-")
            part = part[int(begin) : int(end) + 1]
        return {"Body": StreamingBody(io.BytesIO(part), len(part))}


def read(body: bytes, *, whole: bool = False) -> Contents:
    reads: Any = Reads(body, whole=whole)
    return read_contents(reads, replace(PACKAGE, size=len(body)))


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
        read_contents(s3, Package("bucket", "key", "v1", "abc", 5 << 40, ""))


def test_one_read_of_the_end_is_enough_for_a_package() -> None:
    reads: Any = Reads(BODY)
    contents = read_contents(reads, PACKAGE)
    assert contents.names == set(FILES)
    assert len(reads.ranges) == 1


@pytest.mark.parametrize("whole", [False, True])
def test_of_a_big_package_only_parts_are_read(whole: bool) -> None:
    files = {"wukong.json": b"{}", "big": random.Random(7).randbytes(3 * TAIL_BYTES)}
    body = zipped({**files, **dict.fromkeys(FILES, "x")})
    reads: Any = Reads(body, whole=whole)
    contents = read_contents(reads, replace(PACKAGE, size=len(body)))
    assert contents.manifest == b"{}"
    assert contents.unzipped == 3 * TAIL_BYTES + 4
    asked = [[int(edge) for edge in text[6:].split("-")] for text in reads.ranges]
    assert sum(end - begin + 1 for begin, end in asked) < TAIL_BYTES + 10_000


DIRECTORY = b"PK\x01\x02"


def altered(offset: int, value: bytes, name: str = "executor/function.py") -> bytes:
    """Change bytes of a file's entry in the directory, where a zip says what it holds."""
    place = BODY.rindex(DIRECTORY, 0, BODY.rindex(name.encode()))
    return BODY[: place + offset] + value + BODY[place + offset + len(value) :]


DAMAGED: dict[str, tuple[bytes, str]] = {
    "encrypted": (altered(8, b"\x01\x00"), "is encrypted"),
    "bzip2": (altered(10, b"\x0c\x00"), "compressed in a way"),
    "no bytes, but a checksum": (altered(20, b"\x00\x00\x00\x00"), "cannot be"),
    "a size beyond the zip": (altered(20, b"\xff\xff\xff\x00"), "cannot be"),
    "a symbolic link": (altered(38, b"\x00\x00\xff\xa1"), "symbolic link"),
    "cut off": (BODY[:-30], "is not a zip"),
    "empty": (b"", "is not a zip"),
    "something else": (b"x" * 100_000, "is not a zip"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_zip_is_refused_with_what_is_wrong(kind: str) -> None:
    body, named = DAMAGED[kind]
    with pytest.raises(PackageError, match=named):
        read(body)


@given(place=st.integers(0, len(BODY) - 1), value=st.integers(0, 255))
def test_a_zip_with_any_byte_changed_is_read_or_refused(place: int, value: int) -> None:
    body = BODY[:place] + bytes([value]) + BODY[place + 1 :]
    with contextlib.suppress(PackageError):
        read(body)


def test_a_file_that_is_in_the_zip_twice_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("a.py", "1")
        archive.writestr("a.py", "2")
    with pytest.raises(PackageError, match="twice"):
        read(buffer.getvalue())


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "..\\x", "\\x", "~/x"])
def test_a_path_that_leaves_the_package_is_refused(path: str) -> None:
    with pytest.raises(PackageError, match="leaves the package"):
        read(zipped({path: "", **dict.fromkeys(FILES, "")}))


def test_a_handler_may_be_a_packages_init_file() -> None:
    contents = read(zipped({"executor/function/__init__.py": "", "invoker/function.py": ""}))
    check_handlers("where", contents, FILES)


def test_a_missing_handler_is_named() -> None:
    with pytest.raises(PackageError, match=r"invoker/function\.py"):
        check_handlers("where", read(zipped({"executor/function.py": ""})), FILES)


def test_an_older_version_is_read_as_that_version(s3: Any) -> None:
    with Stubber(s3) as script:
        told = {"ETag": '"abc"', "ContentLength": 5, "VersionId": "v0"}
        asked = {"Bucket": "bucket", "Key": "key", "ChecksumMode": "ENABLED", "VersionId": "v0"}
        script.add_response("head_object", told, asked)
        found = resolve(s3, "bucket", "key", "v0")
        assert found is not None
        body = StreamingBody(io.BytesIO(b"bytes"), 5)
        asked = {"Bucket": "bucket", "Key": "key", "IfMatch": '"abc"', "VersionId": "v0"}
        script.add_response("get_object", {"Body": body}, asked)
        assert hashed(s3, found).sha256


# 405 is a version that only marks a deletion.
@pytest.mark.parametrize("status", [400, 404, 405])
def test_a_version_that_is_gone_or_never_was_is_absent(s3: Any, status: int) -> None:
    with Stubber(s3) as script:
        script.add_client_error("head_object", str(status), http_status_code=status)
        assert resolve(s3, "bucket", "key", "v0") is None
