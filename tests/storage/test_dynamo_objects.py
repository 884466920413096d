"""Objects of a bucket when S3 is disturbed: lost connections, conflicts, parts that fail."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError, ResponseStreamingError

from wukong.storage import StorageError
from wukong.storage.dynamo import objects
from wukong.storage.dynamo.address import Address
from wukong.storage.dynamo.objects import BucketObjects
from wukong.storage.dynamo.together import one_by_one

PART = 5 * 1024 * 1024
VALUE = bytes(range(256)) * (PART // 256 + 100)
LOST = [
    ReadTimeoutError(endpoint_url="https://s3"),
    ResponseStreamingError(error=ConnectionResetError()),
]
IN_PARTS = pytest.mark.parametrize("large", [PART * 10, PART], ids=["whole", "in parts"])


class Disturbed:
    """The client of a real bucket, whose calls fail first as often as is said."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.faults: dict[str, list[Exception]] = {}
        self.calls: list[str] = []

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            self.calls.append(operation)
            faults = self.faults.get(operation)
            if faults and operation != "get_object":
                raise faults.pop(0)
            reply = getattr(self._client, operation)(**arguments)
            return reply | {"Body": Lost(faults.pop(0))} if faults else reply

        return call

    def close(self) -> None:
        self._client.close()


class Lost:
    """A body whose connection is lost while it is read."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self) -> bytes:
        raise self._error


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "operation")


@pytest.fixture
def bucket(dynamo_url: str, large: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketObjects]:
    monkeypatch.setattr(objects, "LARGE_BYTES", large)
    monkeypatch.setattr(objects, "PART_BYTES", PART)
    monkeypatch.setattr(objects, "CONFLICT_PAUSES", (0.0, 0.0))
    address = Address.of(dynamo_url)
    bucket = BucketObjects(address.bucket, address.prefix, one_by_one)
    bucket._client = Disturbed(bucket.connect())
    yield bucket
    bucket.close()


@pytest.fixture
def name(bucket: BucketObjects) -> Iterator[str]:
    name = f"{uuid.uuid4().hex}/a"
    yield name
    bucket.delete([name])


def unfinished(bucket: BucketObjects) -> list[Any]:
    listing = bucket._client.list_multipart_uploads(Bucket=bucket._bucket)
    return list(listing.get("Uploads", []))


@IN_PARTS
@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_connection_that_is_lost_while_an_object_is_read_is_made_anew(
    bucket: BucketObjects, name: str, error: Exception
) -> None:
    bucket.put(name, VALUE)
    bucket._client.faults["get_object"] = [error]
    assert bucket.get(name, len(VALUE)) == VALUE


@IN_PARTS
def test_connections_that_are_lost_again_and_again_are_one_clear_error(
    bucket: BucketObjects, name: str
) -> None:
    bucket.put(name, VALUE)
    bucket._client.faults["get_object"] = LOST * objects.READS
    with pytest.raises(StorageError, match="cannot be reached"):
        bucket.get(name, len(VALUE))
    assert bucket._client.calls.count("get_object") == objects.READS


@IN_PARTS
def test_a_conflict_is_waited_for_and_the_value_written_all_the_same(
    bucket: BucketObjects, name: str, large: int
) -> None:
    last = "complete_multipart_upload" if large == PART else "put_object"
    bucket._client.faults[last] = [refusal("ConditionalRequestConflict")]
    bucket.put(name, VALUE)
    assert bucket._client.calls.count(last) == 2
    if large == PART:
        assert bucket._client.calls.count("create_multipart_upload") == 2, "begun anew"
        assert bucket._client.calls.count("abort_multipart_upload") == 1
    assert unfinished(bucket) == []
    assert bucket.get(name, len(VALUE)) == VALUE


@IN_PARTS
def test_a_conflict_without_end_is_one_clear_error(
    bucket: BucketObjects, name: str, large: int
) -> None:
    last = "complete_multipart_upload" if large == PART else "put_object"
    bucket._client.faults[last] = [refusal("ConditionalRequestConflict")] * 3
    with pytest.raises(StorageError, match="still being written"):
        bucket.put(name, VALUE)
    assert unfinished(bucket) == []


@pytest.mark.parametrize("large", [PART], ids=["in parts"])
def test_an_upload_is_aborted_when_a_part_fails(bucket: BucketObjects, name: str) -> None:
    bucket._client.faults["upload_part"] = [refusal("SlowDown")]
    with pytest.raises(StorageError, match="SlowDown"):
        bucket.put(name, VALUE)
    assert "abort_multipart_upload" in bucket._client.calls
    assert unfinished(bucket) == []
    assert bucket.get(name, len(VALUE)) is None


@pytest.mark.parametrize("large", [PART], ids=["in parts"])
def test_an_upload_is_aborted_when_the_object_is_there(bucket: BucketObjects, name: str) -> None:
    bucket.put(name, VALUE)
    bucket.put(name, bytes(len(VALUE)))
    assert unfinished(bucket) == []
    assert bucket.get(name, len(VALUE)) == VALUE
