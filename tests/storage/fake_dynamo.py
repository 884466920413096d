"""A table and a bucket in memory, with what the back-end relies on of DynamoDB and S3.

Before each call something may be done: a simulation lets others go on there, or ends the caller. A
test compares the table with a real one (`test_dynamo_fake.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from wukong.storage.dynamo.objects import Objects
from wukong.storage.dynamo.table import Change, Condition, Item, Key, Outcome, Table, Value
from wukong.storage.serialisation import Packed


class FakeAws:
    """What several Executors share: the items of a table, and the objects of a bucket."""

    def __init__(self) -> None:
        self.items: dict[Key, Item] = {}
        self.objects: dict[str, bytes] = {}


class FakeTable(Table):
    """A table, as one process sees it.

    Parameters
    ----------
    before
        Called before each call.
    chance
        Has queries that need not be sure miss something now and then.
    """

    def __init__(
        self,
        aws: FakeAws,
        before: Callable[[str], None] = lambda _: None,
        chance: random.Random | None = None,
    ) -> None:
        self._aws = aws
        self._before = before
        self._chance = chance

    def get(self, keys: Sequence[Key]) -> dict[Key, Item]:
        self._before("get")
        return {key: dict(self._aws.items[key]) for key in keys if key in self._aws.items}

    def put(self, items: Sequence[Item]) -> None:
        # Of a batch, any part may have been written when the caller dies.
        for item in items:
            self._before("put")
            self._aws.items[str(item["pk"]), str(item["sk"])] = dict(item)

    def delete(self, keys: Sequence[Key]) -> None:
        for key in keys:
            self._before("delete")
            self._aws.items.pop(key, None)

    def change(self, change: Change) -> Outcome:
        self._before("change")
        old = self._aws.items.get(change.key)
        if not all(_holds(condition, old or {}) for condition in change.when):
            return Outcome(False, None if old is None else dict(old))
        item: Item = dict(old or {"pk": change.key[0], "sk": change.key[1]})
        item |= change.put
        for name, by in change.add.items():
            item[name] = _added(item.get(name), by)
        for name in change.remove:
            item.pop(name, None)
        self._aws.items[change.key] = item
        return Outcome(True, dict(item))

    def query(self, partition: str, *, sure: bool = True) -> list[Item]:
        self._before("query")
        found = sorted(
            (dict(item) for key, item in self._aws.items.items() if key[0] == partition),
            key=lambda item: str(item["sk"]),
        )
        if not sure and self._chance is not None and found and self._chance.random() < 0.2:
            # A copy of the table that has not heard of one of these yet.
            found.pop(self._chance.randrange(len(found)))
        return found

    def count(self, partition: str) -> int:
        return len(self.query(partition))


def _holds(condition: Condition, item: Item) -> bool:
    """Tell whether a condition holds; a comparison with what is not there does not."""
    match condition:
        case ("exists", name):
            return name in item
        case ("missing", name):
            return name not in item
        case ("eq", name, value):
            return name in item and item[name] == value
        case ("lt", name, value):
            found = item.get(name)
            return isinstance(found, int) and isinstance(value, int) and found < value
    raise AssertionError(condition)


def _added(old: Value | None, by: int | frozenset[int]) -> Value:
    if isinstance(by, frozenset):
        assert old is None or isinstance(old, frozenset)
        return by if old is None else old | by
    assert old is None or isinstance(old, int)
    return by + (old or 0)


class FakeObjects(Objects):
    """A bucket, as one process sees it."""

    def __init__(self, aws: FakeAws, before: Callable[[str], None] = lambda _: None) -> None:
        self._aws = aws
        self._before = before

    def put(self, name: str, value: Packed) -> None:
        self._before("put object")
        self._aws.objects.setdefault(name, bytes(value))

    def get(self, name: str, size: int) -> bytes | bytearray | None:
        self._before("get object")
        found = self._aws.objects.get(name)
        assert found is None or len(found) == size
        return found

    def delete(self, names: Sequence[str]) -> None:
        self._before("delete objects")
        for name in names:
            self._aws.objects.pop(name, None)

    def names(self, start: str) -> list[str]:
        self._before("list objects")
        return [name for name in self._aws.objects if name.startswith(start)]

    def ping(self) -> None:
        self._before("list objects")

    def close(self) -> None:
        """Nothing is open."""
