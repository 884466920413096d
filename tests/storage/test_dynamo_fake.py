"""The table in memory, on which simulations run, does what DynamoDB does; the bucket likewise."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.storage.fake_dynamo import FakeAws, FakeObjects, FakeTable
from wukong.storage import StorageError
from wukong.storage.dynamo import objects
from wukong.storage.dynamo.address import Address
from wukong.storage.dynamo.objects import BucketObjects
from wukong.storage.dynamo.table import Change, Condition, DynamoTable, Item, Table
from wukong.storage.dynamo.together import one_by_one
from wukong.storage.serialisation import pack

NAMES = st.sampled_from(["n", "claim", "ver", "r", "v"])
TEXTS = st.sampled_from(["1.1", "1.1.a", ""])
NUMBERS = st.integers(-3, 40)
CONDITIONS: st.SearchStrategy[Condition] = (
    st.tuples(st.sampled_from(["exists", "missing"]), NAMES)
    | st.tuples(st.just("eq"), st.sampled_from(["claim", "ver"]), TEXTS)
    | st.tuples(st.sampled_from(["eq", "lt"]), st.just("n"), NUMBERS)
)
CHANGES = st.builds(
    Change,
    key=st.tuples(st.just("p"), st.sampled_from(["s1", "s2"])),
    put=st.fixed_dictionaries(
        {}, optional={"claim": TEXTS, "ver": TEXTS, "v": st.binary(max_size=4)}
    ),
    add=st.fixed_dictionaries(
        {}, optional={"n": NUMBERS, "r": st.frozensets(NUMBERS, min_size=1, max_size=3)}
    ),
    when=st.lists(CONDITIONS, max_size=3).map(tuple),
)
REMOVALS = st.builds(
    Change,
    key=st.tuples(st.just("p"), st.sampled_from(["s1", "s2"])),
    remove=st.just(("v",)),
    when=st.lists(CONDITIONS, max_size=2).map(tuple),
)


@pytest.fixture
def table(dynamo_url: str) -> Iterator[DynamoTable]:
    table = DynamoTable(Address.of(dynamo_url).table)
    yield table
    table.close()


def told(item: Item | None) -> Item | None:
    """Leave the partition out, which is another for each example."""
    return None if item is None else {name: item[name] for name in item if name != "pk"}


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(CHANGES | CHANGES | REMOVALS, min_size=5, max_size=25))
def test_the_table_in_memory_answers_like_dynamodb(
    table: DynamoTable, changes: list[Change]
) -> None:
    partition = uuid.uuid4().hex
    tables: list[Table] = [table, FakeTable(FakeAws())]
    for change in changes:
        if not (change.put or change.add or change.remove):
            continue
        key = (partition, change.key[1])
        outcomes = [
            one.change(Change(key, change.put, change.add, change.remove, change.when))
            for one in tables
        ]
        assert outcomes[0].made == outcomes[1].made, change
        assert told(outcomes[0].item) == told(outcomes[1].item), change
    real, fake = ([told(item) for item in one.query(partition)] for one in tables)
    assert real == fake


def test_items_are_written_read_counted_and_deleted_alike(table: DynamoTable) -> None:
    partition = uuid.uuid4().hex
    items: list[Item] = [
        {"pk": partition, "sk": f"{number:03d}", "v": bytes([number]), "r": frozenset({number})}
        for number in range(130)
    ]
    keys = [(partition, f"{number:03d}") for number in range(140)]
    for one in (table, FakeTable(FakeAws())):
        one.put(items)
        assert one.query(partition) == items
        assert one.count(partition) == 130
        assert one.get(keys) == dict(zip(keys, items, strict=False))
        one.delete(keys[:100])
        assert [item["sk"] for item in one.query(partition)] == [key[1] for key in keys[100:130]]


@pytest.mark.parametrize("large", [objects.LARGE_BYTES, 6_000_000], ids=["whole", "in parts"])
def test_an_object_is_written_once_whatever_its_size(
    dynamo_url: str, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "LARGE_BYTES", large)
    monkeypatch.setattr(objects, "PART_BYTES", 5 * 1024 * 1024)
    address = Address.of(dynamo_url)
    start = uuid.uuid4().hex
    bucket = BucketObjects(address.bucket, address.prefix, one_by_one)
    value = pack([np.arange(500_000), np.arange(300_000)])
    other = pack([np.arange(500_000), np.zeros(300_000, int)])
    for one in (bucket, FakeObjects(FakeAws())):
        one.put(f"{start}/a", value)
        one.put(f"{start}/a", other)
        one.put(f"{start}/b", b"small")
        assert one.get(f"{start}/a", len(value)) == bytes(value)
        assert sorted(one.names(start)) == [f"{start}/a", f"{start}/b"]
        one.delete([f"{start}/a", f"{start}/none"])
        assert one.get(f"{start}/a", len(value)) is None
        assert one.names(start) == [f"{start}/b"]
    bucket.close()


def test_a_table_that_is_not_there_is_named_with_what_to_do(dynamo_url: str) -> None:
    with pytest.raises(StorageError, match="no-such-table") as caught:
        DynamoTable("no-such-table").query("p")
    assert "dynamodb+s3://TABLE/BUCKET" in caught.value.hint


def test_a_bucket_that_is_not_there_is_named_with_what_to_do(dynamo_url: str) -> None:
    with pytest.raises(StorageError, match="no-such-bucket") as caught:
        BucketObjects("no-such-bucket", "p", one_by_one).ping()
    assert "dynamodb+s3://TABLE/BUCKET" in caught.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb+s3://",
        "dynamodb+s3://table",
        "dynamodb+s3://t/bucket-name",
        "dynamodb+s3://table/Bucket_Name",
        "dynamodb+s3://table/bucket-name/a//b",
        "valkey://table/bucket-name",
    ],
)
def test_a_url_that_names_no_table_and_bucket_is_refused(url: str) -> None:
    with pytest.raises(StorageError, match="store URL"):
        Address.of(url)


def test_a_url_may_name_a_prefix() -> None:
    assert Address.of("dynamodb+s3://table/bucket-name").prefix == "wukong"
    assert Address.of("dynamodb+s3://table/bucket-name/team/a/").prefix == "team/a"
