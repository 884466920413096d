"""The rights of docs/storage.md are enough for each, under enforcement, and no more than needed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.storage.test_contract import arrival, begin, diamond
from wukong.stack.embedded import EmbeddedAws
from wukong.storage import Arrival, DataRef, RunState, StorageError
from wukong.storage.dynamo.address import Address
from wukong.storage.dynamo.backend import DynamoStorage

PAGE = Path(__file__).parents[2] / "docs" / "storage.md"
LARGE = b"large" * 2000


def rights_of(who: str) -> Sequence[Sequence[str]]:
    """Read whose rights the page lists: on the table, on objects, on the bucket."""
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| {who} |"))
    cells = [re.findall(r"`([\w:]+)`", cell) for cell in row.split("|")[2:5]]
    return [
        [name if ":" in name else f"{cell[0].split(':')[0]}:{name}" for name in cell]
        for cell in cells
    ]


def policy(who: str, address: Address) -> dict[str, Any]:
    on_table, on_objects, on_bucket = rights_of(who)
    bucket = f"arn:aws:s3:::{address.bucket}"
    listing = {"StringLike": {"s3:prefix": f"{address.prefix}/*"}}
    statements = [
        {"Action": on_table, "Resource": f"arn:aws:dynamodb:*:*:table/{address.table}"},
        {"Action": on_objects, "Resource": f"{bucket}/{address.prefix}/*"},
        {"Action": on_bucket[:1], "Resource": bucket, "Condition": listing},
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", **one} for one in statements],
    }


@pytest.fixture
def open_as(
    aws: EmbeddedAws, dynamo_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., DynamoStorage]]:
    """Open the store with the rights of somebody."""
    iam: Any = boto3.client("iam")
    users: list[str] = []
    stores: list[DynamoStorage] = []

    def open_(who: str, url: str = dynamo_url) -> DynamoStorage:
        name = f"user-{len(users)}"
        users.append(name)
        iam.create_user(UserName=name)
        document = json.dumps(policy(who, Address.of(dynamo_url)))
        iam.put_user_policy(UserName=name, PolicyName="store", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
            patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
            stores.append(DynamoStorage.at(url))
            # The clients are made with the keys that are set now.
            for gateway in (stores[-1]._table, stores[-1]._objects):
                gateway.connect()
        return stores[-1]

    yield open_
    for store in stores:
        store.close()
    for name in users:
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=name, PolicyName="store")
        iam.delete_user(UserName=name)


def test_what_the_page_lists_is_enough(open_as: Callable[..., DynamoStorage], run_id: str) -> None:
    client, executor, invoker = (open_as(who) for who in ("client", "Executor", "Invoker"))
    client.ping()
    client.create(diamond(run_id))
    client.put_batch(run_id, "small", b"events")
    client.put_batch(run_id, "large", LARGE)
    assert invoker.get_batch(run_id, "small") == b"events"
    assert invoker.get_batch(run_id, "large") == LARGE
    for name, answer in ("answer", b"started"), ("answers", LARGE):
        invoker.put_batch(run_id, name, answer)
        assert invoker.get_batch(run_id, name) == answer
    one = begin(executor, run_id, 0).lineage
    executor.arrive(run_id, one, replace(arrival(0), output=LARGE))
    two = begin(executor, run_id, 2, token="b").lineage
    executor.arrive(run_id, one, arrival(1, last=True))
    arrived = executor.arrive(run_id, two, arrival(2))
    last = replace(arrival(3, last=True), garbage=arrived.deletable)
    assert isinstance(last, Arrival)
    executor.arrive(run_id, two, last)
    executor.note(run_id, b"note")
    assert executor.read(run_id, [DataRef(0, "0.1.a")]) == [None], "freed, and not only unreadable"
    assert client.news(run_id, "", 1.0).roots == (3,)
    assert client.notes(run_id) == [b"note"]
    assert client.stop(run_id, RunState.DONE)
    client.drop(run_id)
    assert run_id not in client.runs()


def test_an_invoker_cannot_take_part_in_a_run(
    open_as: Callable[..., DynamoStorage], run_id: str
) -> None:
    open_as("client").create(diamond(run_id))
    with pytest.raises(StorageError) as caught:
        begin(open_as("Invoker"), run_id, 0)
    assert "docs/storage.md" in caught.value.hint


def test_nobody_reaches_objects_of_another_prefix(
    open_as: Callable[..., DynamoStorage], dynamo_url: str
) -> None:
    other = open_as("Executor", dynamo_url.replace("/runs", "/others"))
    with pytest.raises(StorageError, match=r"(?i)denied"):
        other._objects.put("run/0.0.1.t", LARGE)
