"""The gateway to DynamoDB where a table is throttled, and where clocks differ."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest

from wukong.storage import StorageError
from wukong.storage.dynamo import table
from wukong.storage.dynamo.access import Access
from wukong.storage.dynamo.backend import SLOW_SECONDS, DynamoStorage, correction
from wukong.storage.dynamo.table import UNPROCESSED_SECONDS, DynamoTable, Item, ahead_of

NAME = "table"


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now

    time = monotonic


class Throttled:
    """The client of a table that takes or gives a few items of each batch."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.items: dict[str, Any] = {}
        self.asked: list[int] = []

    def batch_write_item(self, RequestItems: Any) -> Any:  # noqa: N803 - as boto3 names it
        requests = RequestItems[NAME]
        self.asked.append(len(requests))
        for one in requests[: self.most]:
            if "PutRequest" in one:
                item = one["PutRequest"]["Item"]
                self.items[item["sk"]["S"]] = item
            else:
                del self.items[one["DeleteRequest"]["Key"]["sk"]["S"]]
        rest = requests[self.most :]
        return {"UnprocessedItems": {NAME: rest} if rest else {}}

    def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803 - as boto3 names it
        keys = RequestItems[NAME]["Keys"]
        self.asked.append(len(keys))
        names = [key["sk"]["S"] for key in keys]
        found = [self.items[name] for name in names[: self.most] if name in self.items]
        rest = keys[self.most :]
        unprocessed = {NAME: {"Keys": rest, "ConsistentRead": True}} if rest else {}
        return {"Responses": {NAME: found}, "UnprocessedKeys": unprocessed}

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(table, "time", clock)
    return clock


@pytest.fixture
def throttled() -> Throttled:
    return Throttled(most=10)


@pytest.fixture
def gateway(throttled: Throttled, clock: Clock) -> Iterator[DynamoTable]:
    gateway = DynamoTable(NAME)
    gateway._client = throttled
    yield gateway
    gateway.close()


def items(many: int) -> list[Item]:
    return [{"pk": "p", "sk": f"{number:03d}", "n": number} for number in range(many)]


KEYS = [("p", f"{number:03d}") for number in range(40)]


def test_what_a_batch_leaves_out_is_sent_again_until_all_is_done(
    gateway: DynamoTable, throttled: Throttled, clock: Clock
) -> None:
    gateway.put(items(30))
    assert throttled.asked == [25, 15, 5, 5]
    assert clock.pauses == [0.05, 0.1], "which grow; what is whole waits for nobody"
    throttled.asked.clear()
    assert gateway.get(KEYS) == dict(zip(KEYS, items(30), strict=False))
    assert throttled.asked == [40, 30, 20, 10]
    gateway.delete(KEYS[:30])
    assert throttled.items == {}


@pytest.mark.parametrize("step", ["put", "get", "delete"])
def test_a_batch_that_is_never_done_is_one_clear_error(
    gateway: DynamoTable, throttled: Throttled, clock: Clock, step: str
) -> None:
    throttled.most = 0
    given: Any = items(20) if step == "put" else KEYS[:20]
    with pytest.raises(StorageError, match="left 20 items .* unprocessed for 30 s") as caught:
        getattr(gateway, step)(given)
    assert "throttled" in caught.value.hint
    assert UNPROCESSED_SECONDS < sum(clock.pauses) < UNPROCESSED_SECONDS + 3
    assert max(clock.pauses) == 2.0


def reply(**headers: str) -> Any:
    return {"ResponseMetadata": {"HTTPHeaders": headers}}


@pytest.mark.parametrize("seconds", [-3600, -1, 0, 90])
def test_how_far_this_clock_is_ahead_is_read_from_the_replys_date(
    clock: Clock, seconds: int
) -> None:
    date = formatdate(clock.now - seconds, usegmt=True)
    assert ahead_of(reply(date=date)) == seconds


@pytest.mark.parametrize("bad", [reply(), {}, reply(date="yesterday"), reply(date="")])
def test_a_reply_without_a_date_says_that_clocks_agree(bad: Any) -> None:
    assert ahead_of(bad) == 0.0


def test_the_first_reply_tells_and_no_other(clock: Clock) -> None:
    dates = iter([clock.now - 60, clock.now])

    def get_item(**_: Any) -> Any:
        return reply(date=formatdate(next(dates), usegmt=True))

    gateway = DynamoTable(NAME)
    assert gateway.ahead is None
    gateway._client = SimpleNamespace(get_item=get_item)
    for _ in range(2):
        assert gateway.get([("p", "s")]) == {}
        assert gateway.ahead == 60


@pytest.mark.parametrize("ahead", [None, 0.0, SLOW_SECONDS, -SLOW_SECONDS])
def test_a_clock_that_may_be_right_is_not_corrected(ahead: float | None) -> None:
    assert correction(ahead) == 0.0


def test_a_clock_that_is_wrong_is_corrected_wherever_leases_go_by_it() -> None:
    assert correction(2.5) == 2.5
    assert correction(-2.5) == -2.5
    store = DynamoStorage.at("dynamodb+s3://table/bucket-name")
    access: Access = store._access
    assert isinstance(store._table, DynamoTable)
    before = access.now()
    store._table.ahead = 3600.0
    corrected = access.now()
    store._table.ahead = 0.0
    assert before - 3_600_000 <= corrected <= access.now() - 3_600_000
    store.close()
