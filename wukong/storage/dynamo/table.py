"""The gateway to DynamoDB: items as plain dictionaries, and changes as values.

A change is one UpdateItem with its condition: atomic, and answered with the whole item, as it is
now or, if the condition did not hold, as it was found. Throttled calls are repeated by boto3, with
jitter and a bound; nothing here needs a call to happen only once.
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeAlias

from wukong.storage.dynamo.together import chunks
from wukong.storage.terms import (
    StorageError,
)

Key: TypeAlias = tuple[str, str]
"""Partition key and sort key."""

Value: TypeAlias = str | int | bytes | frozenset[int]
Item: TypeAlias = dict[str, Value]
"""Attributes of an item, `pk` and `sk` among them."""

Condition: TypeAlias = tuple[str, str] | tuple[str, str, Value]
"""('exists', name), ('missing', name), ('eq', name, value) or ('lt', name, value)."""

GET_KEYS = 100
WRITE_ITEMS = 25
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html"""

CONNECT_SECONDS = 5
REPLY_SECONDS = 20
ATTEMPTS = 8
UNPROCESSED_SECONDS = 30.0
"""How long what a batch did not process is sent again."""

MOST_CONNECTIONS = 32

ANSWERS = frozenset(
    {
        "ConditionalCheckFailedException",
        "ConditionalRequestConflict",
        "NoSuchKey",
        "PreconditionFailed",
    }
)
"""Errors of boto3 that are answers, for the caller to read."""


@dataclass(frozen=True, slots=True)
class Change:
    """One atomic change of one item, if all conditions hold; it makes the item if there is none."""

    key: Key
    put: Mapping[str, Value] = field(default_factory=dict)
    add: Mapping[str, int | frozenset[int]] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a change was made, and the item as it is now; None if there is none."""

    made: bool
    item: Item | None


class Table(Protocol):
    """What the back-end needs of a table."""

    def get(self, keys: Sequence[Key]) -> dict[Key, Item]:
        """Read items as they are now; those that are not there are left out."""

    def put(self, items: Sequence[Item]) -> None:
        """Write items, whatever was there."""

    def delete(self, keys: Sequence[Key]) -> None:
        """Delete items; no error if they are not there."""

    def change(self, change: Change) -> Outcome:
        """Change one item."""

    def query(self, partition: str, *, sure: bool = True) -> list[Item]:
        """Give the items of a partition by sort key; if not `sure`, as they were a moment ago."""

    def count(self, partition: str) -> int:
        """Count the items of a partition, as they are now."""


class DynamoTable(Table):
    """A table of DynamoDB; connects when it is used first."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._client: Any = None
        self._opening = threading.Lock()
        self.ahead: float | None = None
        """Seconds that this clock is ahead of the server's; None before the first reply."""

    def get(self, keys: Sequence[Key]) -> dict[Key, Item]:
        found: dict[Key, Item] = {}
        for asked in chunks(map(_key, keys), GET_KEYS):
            for some in self._until_processed(asked, self._batch_get):
                found |= {(str(item["pk"]), str(item["sk"])): item for item in some}
        return found

    def _batch_get(self, keys: list[Any]) -> tuple[list[Item], list[Any]]:
        if len(keys) == 1:
            reply = self._call("get_item", Key=keys[0], ConsistentRead=True)
            return [_plain(reply["Item"])] if "Item" in reply else [], []
        request = {self._name: {"Keys": keys, "ConsistentRead": True}}
        reply = self._call("batch_get_item", RequestItems=request)
        rest = reply.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
        return [_plain(item) for item in reply["Responses"].get(self._name, [])], rest

    def put(self, items: Sequence[Item]) -> None:
        self._write([{"PutRequest": {"Item": _typed(item)}} for item in items])

    def delete(self, keys: Sequence[Key]) -> None:
        self._write([{"DeleteRequest": {"Key": _key(key)}} for key in keys])

    def _write(self, requests: Sequence[Any]) -> None:
        for asked in chunks(requests, WRITE_ITEMS):
            for _ in self._until_processed(asked, self._batch_write):
                pass

    def _batch_write(self, requests: list[Any]) -> tuple[list[Item], list[Any]]:
        reply = self._call("batch_write_item", RequestItems={self._name: requests})
        return [], reply.get("UnprocessedItems", {}).get(self._name, [])

    @staticmethod
    def _until_processed(
        rest: list[Any], send: Callable[[list[Any]], tuple[list[Item], list[Any]]]
    ) -> Iterator[list[Item]]:
        """Send what a batch left out again, with growing pauses."""
        until, pause = time.monotonic() + UNPROCESSED_SECONDS, 0.05
        while rest:
            some, rest = send(rest)
            yield some
            if rest:
                if time.monotonic() > until:
                    raise StorageError(
                        f"DynamoDB left {len(rest)} items of a batch unprocessed for "
                        f"{UNPROCESSED_SECONDS:g} s",
                        "The table is throttled: see its on-demand throughput limits, or have "
                        "fewer Executors (run.max_executors).",
                    )
                time.sleep(pause)
                pause = min(2 * pause, 2.0)

    def change(self, change: Change) -> Outcome:
        client = self.connect()
        try:
            reply = self._call("update_item", Key=_key(change.key), **expressions(change))
        except client.exceptions.ConditionalCheckFailedException as error:
            old = error.response.get("Item")
            return Outcome(False, _plain(old) if old else None)
        return Outcome(True, _plain(reply["Attributes"]))

    def query(self, partition: str, *, sure: bool = True) -> list[Item]:
        pages = self._pages(partition, ConsistentRead=sure)
        return [_plain(item) for page in pages for item in page["Items"]]

    def count(self, partition: str) -> int:
        pages = self._pages(partition, Select="COUNT", ConsistentRead=True)
        return sum(page["Count"] for page in pages)

    def _pages(self, partition: str, **options: Any) -> Iterator[Any]:
        options |= {
            "KeyConditionExpression": "pk = :p",
            "ExpressionAttributeValues": {":p": {"S": partition}},
        }
        while True:
            page = self._call("query", **options)
            yield page
            if "LastEvaluatedKey" not in page:
                return
            options["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _call(self, operation: str, **arguments: Any) -> Any:
        client = self.connect()
        if operation not in {"batch_get_item", "batch_write_item"}:
            arguments["TableName"] = self._name
        with reached(f"DynamoDB table {self._name}"):
            reply = getattr(client, operation)(**arguments)
        if self.ahead is None:
            self.ahead = ahead_of(reply)
        return reply

    def connect(self) -> Any:
        """Give the client; making one takes a while, and is done once."""
        with self._opening:
            if self._client is None:
                self._client = client_for("dynamodb")
            return self._client

    def close(self) -> None:
        """Give back the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None


def client_for(service: str) -> Any:
    """Make a client: region, endpoint and credentials are from the environment, as boto3 has it.

    Raises
    ------
    StorageError
        If no region is set.
    """
    from boto3.session import Session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    try:
        # boto3 itself reads AWS_DEFAULT_REGION only; a function has both.
        session: Any = Session(region_name=os.environ.get("AWS_REGION") or None)
        return session.client(
            service,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=REPLY_SECONDS,
                max_pool_connections=MOST_CONNECTIONS,
                retries={"mode": "standard", "max_attempts": ATTEMPTS},
                parameter_validation=False,
                s3={"addressing_style": "path"} if _is_embedded() else None,
            ),
        )
    except BotoCoreError as error:
        raise StorageError(
            f"no client for {service}: {error}",
            "Set AWS_REGION (or AWS_DEFAULT_REGION) to the region of the table and the bucket.",
        ) from error


def _is_embedded() -> bool:
    """Tell whether the endpoint has no host names for buckets."""
    return os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")


@contextmanager
def reached(what: str) -> Iterator[None]:
    """Turn what boto3 raises into one clear error; a condition that does not hold is none."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ANSWERS:
            raise
        raise StorageError(f"{what}: {error}", hint_for(code)) from error
    except BotoCoreError as error:
        raise StorageError(
            f"{what} cannot be reached: {error}",
            "Check region, credentials and endpoint (AWS_REGION, AWS_ENDPOINT_URL), and, in a VPC, "
            "that it has gateway endpoints for DynamoDB and S3.",
        ) from error


def ahead_of(reply: Any) -> float:
    """Tell how far this machine's clock is ahead of the one that answered, from its Date header."""
    date = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return time.time() - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return 0.0


def hint_for(code: str) -> str:
    """Say what to do about an error code of DynamoDB or S3."""
    if code in {"ResourceNotFoundException", "NoSuchBucket"}:
        return (
            "It does not exist in this region and account: check the store URL "
            "(dynamodb+s3://TABLE/BUCKET) and AWS_REGION; docs/storage.md says how it is made."
        )
    if "AccessDenied" in code or code in {"UnrecognizedClientException", "InvalidClientTokenId"}:
        return "The credentials lack a right on it; docs/storage.md lists who needs which."
    if "Throttl" in code or "ThroughputExceeded" in code or code in {"SlowDown", "RequestLimit"}:
        return (
            "It was throttled for longer than calls are repeated: see the table's throughput "
            "limits, or have fewer Executors (run.max_executors)."
        )
    return "docs/storage.md says what the table and the bucket must be like."


def expressions(change: Change) -> dict[str, Any]:
    """Write a change as the arguments of UpdateItem."""
    names: dict[str, str] = {}
    values: dict[str, Any] = {}

    def name(of: str) -> str:
        return names.setdefault(of, f"#{len(names)}")

    def value(of: Value) -> str:
        values[f":{len(values)}"] = _value(of)
        return f":{len(values) - 1}"

    parts = [
        ("SET", [f"{name(one)} = {value(to)}" for one, to in change.put.items()]),
        ("ADD", [f"{name(one)} {value(by)}" for one, by in change.add.items()]),
        ("REMOVE", [name(one) for one in change.remove]),
    ]
    tests = [_test(condition, name, value) for condition in change.when]
    arguments: dict[str, Any] = {
        "UpdateExpression": " ".join(f"{word} {', '.join(of)}" for word, of in parts if of),
        "ExpressionAttributeNames": {short: long for long, short in names.items()},
        "ReturnValues": "ALL_NEW",
    }
    if values:
        arguments["ExpressionAttributeValues"] = values
    if tests:
        arguments["ConditionExpression"] = " AND ".join(tests)
        arguments["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    return arguments


def _test(condition: Condition, name: Callable[[str], str], value: Callable[[Value], str]) -> str:
    match condition:
        case ("exists", of):
            return f"attribute_exists({name(of)})"
        case ("missing", of):
            return f"attribute_not_exists({name(of)})"
        case ("eq", of, to):
            return f"{name(of)} = {value(to)}"
        case ("lt", of, to):
            return f"{name(of)} < {value(to)}"
    raise AssertionError(f"{condition} is no condition")


def _key(key: Key) -> Any:
    return {"pk": {"S": key[0]}, "sk": {"S": key[1]}}


def _typed(item: Item) -> Any:
    return {name: _value(value) for name, value in item.items()}


def _value(value: Value) -> Any:
    """Write a value as DynamoDB's JSON has it."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, bytes):
        return {"B": value}
    return {"NS": [str(number) for number in value]}


def _plain(item: Mapping[str, Any]) -> Item:
    return {name: _read(value) for name, value in item.items()}


def _read(value: Mapping[str, Any]) -> Value:
    ((kind, content),) = value.items()
    if kind == "N":
        return int(content)
    if kind == "NS":
        return frozenset(map(int, content))
    if kind == "B":
        return bytes(content)
    return str(content)
