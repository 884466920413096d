"""What all steps of the back-end stand on: the gateways, the clock, and what this process knows.

What is kept here never changes in the store (what is fixed of a segment, where official data is),
is read again after a second (the state of a run), or is changed by this process alone (what its
attempts own).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from wukong.storage.dynamo.items import Fixed, Layout, Output, run_key
from wukong.storage.dynamo.objects import Objects
from wukong.storage.dynamo.table import GET_KEYS, WRITE_ITEMS, Change, Item, Key, Table
from wukong.storage.dynamo.together import Together, chunks
from wukong.storage.serialisation import Packed
from wukong.storage.terms import (
    DataRef,
    Fenced,
    RunState,
)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

STATE_SECONDS = 1.0
"""So long a process goes on before it looks again whether its run has ended: the item of a run can
be read 3,000 times a second, and what becomes official after the end is of no consequence."""

REMEMBERED = 20_000


class Recent(Generic[K, V]):
    """The newest entries of a mapping; threads may share it."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most = most
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """Give what is kept under a key, if anything is."""
        with self._lock:
            return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep a value; the oldest goes when there are too many."""
        with self._lock:
            self._entries[key] = value
            self._entries.move_to_end(key)
            if len(self._entries) > self._most:
                self._entries.popitem(last=False)

    def pop(self, key: K) -> None:
        """Forget a value."""
        with self._lock:
            self._entries.pop(key, None)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What the item of a run says.

    Attributes
    ----------
    layout
        Names its items.
    state
        Where it stands.
    lease_ms, handoff_ms, most_live
        As in `NewRun`.
    expires
        When its items expire, in seconds since 1970.
    at
        When this was read, in milliseconds.
    """

    layout: Layout
    state: RunState
    lease_ms: int
    handoff_ms: int
    most_live: int
    expires: int
    at: int

    @classmethod
    def of(cls, run: str, item: Item, now: int) -> RunInfo | None:
        """Read an item; None if it has expired, which DynamoDB may be slow to see."""
        if int(_number(item, "expires")) * 1000 <= now:
            return None
        return cls(
            Layout(run, _number(item, "n")),
            RunState(str(item["state"])),
            _number(item, "lease"),
            _number(item, "handoff"),
            _number(item, "live"),
            _number(item, "expires"),
            now,
        )


def _number(item: Item, name: str) -> int:
    value = item[name]
    if not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}, not a number")
    return value


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a segment that was claimed: what is fixed, and where its inputs are."""

    fixed: Fixed
    arrivals: dict[int, Output]


class Access:
    """The gateways, and what this process knows of runs."""

    def __init__(
        self, table: Table, objects: Objects, together: Together, clock: Callable[[], float]
    ) -> None:
        self.table = table
        self.objects = objects
        self.together = together
        self._clock = clock
        self._runs: Recent[str, RunInfo] = Recent(64)
        self.known: Recent[tuple[str, int], Known] = Recent()
        self.sizes: Recent[tuple[str, DataRef], int] = Recent()
        self.idle: Recent[tuple[str, DataRef], bool] = Recent()
        self.official: Recent[tuple[str, int], bool] = Recent()
        self.fronts: Recent[tuple[str, str], frozenset[int]] = Recent()
        """What attempts of this process own that is not official."""

    def now(self) -> int:
        """Give the time in milliseconds since 1970."""
        return int(self._clock() * 1000)

    def info(self, run: str, *, fresh: bool = False) -> RunInfo | None:
        """Say how a run stands; None if there is no such run."""
        info = self._runs.get(run)
        if info is not None and not fresh and self.now() - info.at < STATE_SECONDS * 1000:
            return info
        key = run_key(run)
        item = self.table.get([key]).get(key)
        return self.learn(run, item)

    def learn(self, run: str, item: Item | None) -> RunInfo | None:
        """Keep what the item of a run says."""
        info = None if item is None else RunInfo.of(run, item, self.now())
        if info is None:
            self._runs.pop(run)
        else:
            self._runs.put(run, info)
        return info

    def running(self, run: str, *, fresh: bool = False) -> RunInfo:
        """Say how a run stands; raises `Fenced` unless it is running."""
        info = self.info(run, fresh=fresh)
        if info is None or info.state is not RunState.RUNNING:
            raise Fenced
        return info

    def advance(
        self, run: str, attempt: str, done: Iterable[int] = (), new: Iterable[int] = ()
    ) -> None:
        """Keep what an attempt owns up to date, if all of it is known."""
        front = self.fronts.get((run, attempt))
        if front is not None:
            self.fronts.put((run, attempt), front.difference(done).union(new))

    def change(self, change: Change, info: RunInfo) -> tuple[bool, Item]:
        """Change an item that a run must have; raises `Fenced` if it has gone with its run."""
        outcome = self.table.change(change)
        if outcome.item is None:
            self._runs.pop(info.layout.run)
            raise Fenced
        return outcome.made, outcome.item

    def get_all(self, keys: Iterable[Key]) -> dict[Key, Item]:
        """Read items, each once; as many at once as they are."""
        some = chunks(dict.fromkeys(keys), GET_KEYS)
        found = self.together([partial(self.table.get, chunk) for chunk in some])
        return {key: item for items in found for key, item in items.items()}

    def put_all(self, items: Iterable[Item]) -> None:
        """Write items, as many at once as they are."""
        self.together([partial(self.table.put, some) for some in chunks(items, WRITE_ITEMS)])

    def change_all(self, changes: Iterable[Change]) -> None:
        """Make changes side by side, whichever of them can be made."""
        self.together([partial(self.table.change, change) for change in changes])

    def query_all(self, partitions: Iterable[str], *, sure: bool = True) -> list[Item]:
        """Give the items of partitions, one partition after another; `sure` as of a query."""
        query = partial(self.table.query, sure=sure)
        found = self.together([partial(query, partition) for partition in partitions])
        return [item for items in found for item in items]

    def count_all(self, partitions: Iterable[str]) -> int:
        """Count the items of partitions."""
        return sum(self.together([partial(self.table.count, one) for one in partitions]))

    def stored(self, name: str, value: Packed, inline: int) -> Item:
        """Give the attributes that hold a value; a large one is stored as an object first."""
        if len(value) <= inline:
            return {"v": bytes(value)}
        self.objects.put(name, value)
        return {"o": len(value)}

    def load(self, name: str, item: Item | None) -> bytes | bytearray | None:
        """Read a value that `stored` has given the attributes of."""
        if item is None:
            return None
        inline = item.get("v")
        if isinstance(inline, bytes):
            return inline
        size = item.get("o")
        return self.objects.get(name, size) if isinstance(size, int) else None
