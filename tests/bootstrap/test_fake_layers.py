"""The fake AWS is exact: layers, snapshots, random walks, and objects in S3."""

from __future__ import annotations

import random
from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest

from tests.bootstrap.differential import (
    BUCKET,
    KEY,
    Both,
    World,
    resolved,
)
from tests.conftest import until


@pytest.mark.embedded
def test_layer_versions_are_listed_newest_first(both: Both) -> None:
    layer = {"LayerName": both.name}
    assert both.call("list_layer_versions", **layer)["LayerVersions"] == []
    publish = "publish_layer_version"
    place = both.upload("1")
    both.call(publish, **layer, Content=place, Description="a", CompatibleRuntimes=["python3.13"])
    both.call(publish, **layer, Content=both.upload("2"), Description="b")
    both.call(
        publish,
        **layer,
        Content=place,
        Description="c",
        CompatibleRuntimes=["python3.12", "python3.13"],
        CompatibleArchitectures=["arm64"],
    )
    for pages in (["c", "b"], ["a"]), (["c"], ["b"], ["a"]):
        for world in (both.real, both.fake):
            assert _layer_pages(world, both.name, len(pages[0])) == list(pages)
    oldest = both.fake.call("lambda", "list_layer_versions", **layer)["LayerVersions"][-1]
    first = oldest["LayerVersionArn"]
    both.call("get_layer_version_by_arn", Arn=first)
    both.call("delete_layer_version", **layer, VersionNumber=1)
    both.call("delete_layer_version", **layer, VersionNumber=1)
    absent = "ResourceNotFoundException", 404
    assert both.call("get_layer_version_by_arn", Arn=first) == absent
    both.call("delete_layer_version", **layer, VersionNumber=3)
    # A number is never used again.
    assert both.call(publish, **layer, Content=place)["Version"] == 4
    missing = {"S3Bucket": BUCKET, "S3Key": "missing"}
    # AWS refuses a layer without its object; MiniStack publishes an empty one.
    refused = both.fake.call("lambda", publish, **layer, Content=missing)
    assert refused == ("InvalidParameterValueException", 400)


def _layer_pages(world: World, name: str, size: int) -> list[list[str]]:
    pages: list[list[Any]] = []
    more: dict[str, str] = {}
    while True:
        answer = world.call("lambda", "list_layer_versions", LayerName=name, MaxItems=size, **more)
        pages.append([item["Description"] for item in answer["LayerVersions"]])
        if not answer.get("NextMarker"):
            return pages
        more = {"Marker": answer["NextMarker"]}


@pytest.mark.embedded
def test_a_snapshot_is_taken_of_a_published_version(both: Both) -> None:
    both.create(SnapStart={"ApplyOn": "PublishedVersions"})
    answer = both.on("publish_version")
    # AWS says what a new version waits for; MiniStack may have finished before it answers.
    assert (answer["State"], answer["StateReasonCode"]) == ("Pending", "Creating")
    until(lambda: _is_active(both.real, both.name, "1"), "the snapshot")
    assert _is_active(both.fake, both.name, "1")
    settled = both.on("get_function_configuration", Qualifier="1")
    assert settled["SnapStart"] == {
        "ApplyOn": "PublishedVersions",
        "OptimizationStatus": "On",
    }
    latest = both.on("get_function_configuration")
    assert latest["SnapStart"]["OptimizationStatus"] == "Off"
    big = both.on("update_function_configuration", EphemeralStorage={"Size": 513})
    assert big == ("InvalidParameterValueException", 400)
    old = both.on("update_function_configuration", Runtime="python3.11")
    assert old == ("InvalidParameterValueException", 400)


def _is_active(world: World, name: str, version: str) -> bool:
    found = world.client.get_function_configuration(FunctionName=name, Qualifier=version)
    return bool(found["State"] == "Active")


@pytest.mark.embedded
@pytest.mark.parametrize("seed", range(3))
def test_a_random_walk_ends_the_same(both: Both, seed: int) -> None:
    both.name = f"random-walk-{seed}"
    both.create()
    walk = Walk(both, random.Random(seed))
    for _ in range(60):
        walk.step()
    for operation in ("list_versions_by_function", "list_aliases", "get_function"):
        both.on(operation)
    both.real.client.delete_function(FunctionName=both.name)


class Walk:
    """Random writes to one function, of which none is refused by AWS only."""

    def __init__(self, both: Both, chance: random.Random) -> None:
        self._both = both
        self._chance = chance
        self._timeout = 3

    def step(self) -> None:
        steps = [self.publish, self.alias, self.unalias, self.setting, self.delete, self.read]
        self._chance.choice([*steps, self.alias, self.read, self.configure])()

    def configure(self) -> None:
        self._timeout += 1
        self._both.update("update_function_configuration", Timeout=self._timeout)

    def publish(self) -> None:
        words = self._chance.choice(["", "some", "words"])
        self._both.on("publish_version", Description=words or "none")

    def alias(self) -> None:
        versions = self._both.versions()
        if not versions:
            return
        version = self._chance.choice(versions)
        name = self._chance.choice("abc")
        operation = self._chance.choice(["create_alias", "update_alias"])
        others = [other for other in versions if other != version]
        more: dict[str, Any] = {"RoutingConfig": {"AdditionalVersionWeights": {}}}
        if others and self._chance.random() < 0.3:
            weights = {self._chance.choice(others): 0.5}
            more = {"RoutingConfig": {"AdditionalVersionWeights": weights}}
        self._both.on(operation, Name=name, FunctionVersion=version, Description=name, **more)

    def unalias(self) -> None:
        names = [alias["Name"] for alias in self._both.on("list_aliases")["Aliases"]]
        if names:
            self._both.on("delete_alias", Name=self._chance.choice(names))

    def delete(self) -> None:
        versions = self._both.versions()
        # The newest stays: AWS compares with nothing when it is gone, MiniStack with what is left.
        if versions[:-1] and self._chance.random() < 0.5:
            version = self._chance.choice(versions[:-1])
            outcomes = [
                world.call(
                    "lambda", "delete_function", FunctionName=self._both.name, Qualifier=version
                )
                for world in (self._both.real, self._both.fake)
            ]
            assert isinstance(outcomes[0], tuple) == isinstance(outcomes[1], tuple)

    def setting(self) -> None:
        number = self._chance.randrange(3)
        retries = {"MaximumRetryAttempts": number}
        place = {"Qualifier": self._chance.choice(["a", "b", "1", "2"])}
        choices: list[tuple[str, dict[str, Any]]] = [
            ("put_function_event_invoke_config", {**place, **retries}),
            ("put_function_concurrency", {"ReservedConcurrentExecutions": number}),
            ("delete_function_concurrency", {}),
            ("put_function_recursion_config", {"RecursiveLoop": "Allow"}),
            ("put_function_recursion_config", {"RecursiveLoop": "Terminate"}),
        ]
        operation, arguments = self._chance.choice(choices)
        self._both.on(operation, **arguments)

    def read(self) -> None:
        qualifier = self._chance.choice(["a", "b", "c", "1", "2", "3"])
        operation = self._chance.choice(["get_function_configuration", "get_alias"])
        named = {"Name": qualifier} if operation == "get_alias" else {"Qualifier": qualifier}
        self._both.on(operation, **named)


@pytest.mark.embedded
def test_objects_are_read_as_from_s3(both: Both) -> None:
    body = b"0123456789"
    both.upload("first", b"other")
    both.upload("second", body)
    place = {"Bucket": BUCKET, "Key": KEY}
    first = {**place, "VersionId": lambda world: world.objects["first"]}

    def s3(operation: str, **arguments: Any) -> Any:
        return both.call(operation, "s3", **arguments)

    assert s3("head_object", **first)["ContentLength"] == 5
    assert s3("get_object", **first)["Body"] == b"other"
    for world in (both.real, both.fake):
        found = world.call("s3", "head_object", **place, ChecksumMode="ENABLED")
        assert found["ChecksumSHA256"] == b64encode(sha256(body).digest()).decode()
        assert found["ChecksumType"] == "FULL_OBJECT"
    etag = s3("head_object", **place)["ETag"]
    for text, part in (
        ("bytes=2-4", b"234"),
        ("bytes=7-", b"789"),
        ("bytes=-3", b"789"),
        ("bytes=8-99", b"89"),
        ("bytes=-99", body),
    ):
        found = s3("get_object", **place, Range=text, IfMatch=etag)
        assert found["Body"] == part
    # AWS sends ranges of older versions, too; MiniStack sends the whole.
    old = both.fake.call("s3", "get_object", **resolved(first, both.fake), Range="bytes=1-2")
    assert (old["Body"], old["ContentRange"]) == (b"th", "bytes 1-2/5")
    assert s3("get_object", **place, Range="bytes=10-12") == ("InvalidRange", 416)
    assert s3("get_object", **first, IfMatch=etag) == ("PreconditionFailed", 412)
    assert s3("head_object", **first, IfMatch=etag) == ("412", 412)
    unknown = {**place, "VersionId": "nothing"}
    assert s3("get_object", **unknown) == ("NoSuchVersion", 404)
    assert s3("head_object", **unknown) == ("404", 404)
    absent = {"Bucket": BUCKET, "Key": "missing"}
    assert s3("get_object", **absent) == ("NoSuchKey", 404)
    assert s3("head_object", **absent) == ("404", 404)
    nowhere = {"Bucket": "no-such-bucket", "Key": "missing"}
    assert s3("get_object", **nowhere) == ("NoSuchBucket", 404)
    assert s3("head_object", **nowhere) == ("404", 404)


@pytest.mark.embedded
def test_a_deleted_object_leaves_its_versions(both: Both) -> None:
    for world in (both.real, both.fake):
        world.objects["old"] = world.upload(b"old", "deleted.zip")
    place = {"Bucket": BUCKET, "Key": "deleted.zip"}
    both.real.s3.delete_object(**place)
    both.fake.s3._client.delete(*place.values())
    assert both.call("get_object", "s3", **place) == ("NoSuchKey", 404)
    assert both.call("head_object", "s3", **place) == ("404", 404)
    old = {**place, "VersionId": lambda world: world.objects["old"]}
    assert both.call("get_object", "s3", **old)["Body"] == b"old"
