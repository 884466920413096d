"""The rights of docs/storage.md are enough for each, under enforcement, and no more than needed.

What each calls is recorded. The template's statements are compared with the same page, in
tests/network/test_storage_parameter.py.
"""

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
from wukong.storage import DataRef, RunState, StorageError
from wukong.storage.dynamo import objects
from wukong.storage.dynamo.address import Address
from wukong.storage.dynamo.backend import DynamoStorage

PAGE = Path(__file__).parents[2] / "docs" / "storage.md"
LARGE = b"large" * 2000

RIGHTS = {
    "CompleteMultipartUpload": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
    "ListObjectsV2": "ListBucket",
    "UploadPart": "PutObject",
}
"""Calls that are not named like the right that they need.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html"""


def rights_of(who: str) -> Sequence[Sequence[str]]:
    """Read whose rights the page lists: on the table, on objects, on the bucket."""
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| {who} |"))
    if row.count("| the same") == 3:
        return rights_of("Executor")
    cells = [re.findall(r"`([\w:]+)`", cell) for cell in row.split("|")[2:5]]
    assert all(cells), row
    return [
        [name if ":" in name else f"{cell[0].split(':')[0]}:{name}" for name in cell]
        for cell in cells
    ]


def policy(who: str, address: Address) -> dict[str, Any]:
    on_table, on_objects, on_bucket = rights_of(who)
    bucket = f"arn:aws:s3:::{address.bucket}"
    statements = [
        {"Action": on_table, "Resource": f"arn:aws:dynamodb:*:*:table/{address.table}"},
        {"Action": on_objects, "Resource": f"{bucket}/{address.prefix}/*"},
        {"Action": on_bucket, "Resource": bucket},
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", **one} for one in statements],
    }


class Watched(DynamoStorage):
    """A store that knows which rights its calls have needed."""

    def watch(self) -> None:
        """Make its clients, with the keys that are set now, and note what they call."""
        self.rights: set[str] = set()
        for gateway in (self._table, self._objects):
            gateway.connect().meta.events.register("after-call", self._note)

    def _note(self, model: Any, parsed: Any, **_: Any) -> None:
        service = model.service_model.service_name
        self.rights.add(f"{service}:{RIGHTS.get(model.name, model.name)}")
        if parsed.get("Error", {}).get("Code") == "NoSuchKey":
            # Without it the answer would be that it may not be read.
            self.rights.add("s3:ListBucket")


@pytest.fixture
def open_as(aws: EmbeddedAws, dynamo_url: str) -> Iterator[Callable[..., Watched]]:
    """Open the store with the rights of somebody."""
    iam: Any = boto3.client("iam")
    users: list[str] = []
    stores: list[Watched] = []

    def open_(who: str, url: str = dynamo_url) -> Watched:
        name = f"user-{len(users)}"
        users.append(name)
        iam.create_user(UserName=name)
        document = json.dumps(policy(who, Address.of(dynamo_url)))
        iam.put_user_policy(UserName=name, PolicyName="store", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
            patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
            stores.append(Watched.at(url))
            stores[-1].watch()
        return stores[-1]

    yield open_
    for store in stores:
        store.close()
    for name in users:
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=name, PolicyName="store")
        iam.delete_user(UserName=name)


def test_what_the_page_lists_is_what_each_calls(
    open_as: Callable[..., Watched], run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, executor, invoker = (open_as(who) for who in ("client", "Executor", "Invoker"))
    client.ping()
    client.create(diamond(run_id))
    hand_a_batch_over(client, invoker, run_id)
    compute(executor, run_id)
    assert client.news(run_id, "", 1.0).roots == (3,)
    refs = client.versions(run_id, [1, 3])
    assert client.read(run_id, [ref for ref in refs if ref is not None]) == [b"out1", LARGE]
    assert client.notes(run_id) == [b"note"]
    assert client.stop(run_id, RunState.DONE)
    monkeypatch.setattr(objects, "LARGE_BYTES", len(LARGE))
    for who, store in ("client", client), ("Executor", executor):
        # Sent twice, as after a lost reply: the second upload is aborted.
        for _ in range(2):
            store._objects.put(f"{run_id}/{who}", LARGE)
    client.drop(run_id)
    assert run_id not in client.runs()
    missing = invoker._objects.get(f"{run_id}/batch.large", len(LARGE))
    assert missing is None, "as for an Invoker that is slower than the end of its run"
    for who, store in ("client", client), ("Executor", executor), ("Invoker", invoker):
        listed = {right for some in rights_of(who) for right in some}
        assert store.rights == listed, who


def hand_a_batch_over(client: DynamoStorage, invoker: DynamoStorage, run: str) -> None:
    """Have an Invoker read a batch, and write what became of it."""
    for name, events in ("small", b"events"), ("large", LARGE):
        client.put_batch(run, name, events)
        assert invoker.get_batch(run, name) == events
    for name, answer in ("answer", b"started"), ("answers", LARGE):
        invoker.put_batch(run, name, answer)
        assert invoker.get_batch(run, name) == answer


def compute(executor: DynamoStorage, run: str) -> None:
    """Have an Executor make all of a diamond, with large outputs at its ends."""
    one = begin(executor, run, 0).lineage
    executor.arrive(run, one, replace(arrival(0), output=LARGE))
    two = begin(executor, run, 2, token="b").lineage
    executor.arrive(run, one, arrival(1, last=True))
    arrived = executor.arrive(run, two, arrival(2))
    inputs = [DataRef(1, one.version), DataRef(2, two.version)]
    assert executor.read(run, inputs) == [b"out1", b"out2"], "as of many inputs, which no claim has"
    last = replace(arrival(3, last=True), output=LARGE, garbage=arrived.deletable)
    executor.arrive(run, two, last)
    assert executor.reap(run) == []
    executor.note(run, b"note")
    assert executor.read(run, [DataRef(0, "0.1.a")]) == [None], "freed, and not only unreadable"


def test_an_invoker_cannot_take_part_in_a_run(open_as: Callable[..., Watched], run_id: str) -> None:
    open_as("client").create(diamond(run_id))
    with pytest.raises(StorageError) as caught:
        begin(open_as("Invoker"), run_id, 0)
    assert "docs/storage.md" in caught.value.hint


def test_nobody_reaches_objects_of_another_prefix(
    open_as: Callable[..., Watched], dynamo_url: str
) -> None:
    other = open_as("Executor", dynamo_url.replace("/runs", "/others"))
    with pytest.raises(StorageError, match=r"(?i)denied"):
        other._objects.put("run/0.0.1.t", LARGE)
