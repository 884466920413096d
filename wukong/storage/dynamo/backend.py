"""The DynamoDB and S3 back-end as a whole: `Storage`, on the steps of the other files."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from mmap import mmap
from typing import Self

from wukong.messages import Start
from wukong.storage.dynamo.access import Access
from wukong.storage.dynamo.address import Address
from wukong.storage.dynamo.arriving import Arriving
from wukong.storage.dynamo.creating import Creation, delete_run
from wukong.storage.dynamo.following import Following
from wukong.storage.dynamo.lineages import Lineages
from wukong.storage.dynamo.objects import BucketObjects, Objects
from wukong.storage.dynamo.table import DynamoTable, Table
from wukong.storage.dynamo.together import Threads, Together
from wukong.storage.interface import Storage
from wukong.storage.terms import (
    Arrival,
    Arrived,
    Begun,
    Claim,
    DataRef,
    Lineage,
    NewRun,
    News,
    RunState,
    RunStatus,
)


class DynamoStorage(Storage):
    """Keeps runs in a table and a bucket.

    Parameters
    ----------
    table, objects
        The gateways.
    together
        Makes calls side by side.
    clock
        Gives the time in seconds since 1970; leases go by it.
    """

    def __init__(
        self, table: Table, objects: Objects, together: Together, clock: Callable[[], float]
    ) -> None:
        self._table = table
        self._objects = objects
        self._close: Callable[[], None] = lambda: None
        access = self._access = Access(table, objects, together, clock)
        self._lineages = Lineages(access)
        self._arriving = Arriving(access, self._lineages)
        self._following = Following(access)

    @classmethod
    def at(cls, url: str) -> Self:
        """Open the table and the bucket that a URL names; nothing connects before it is used.

        Raises
        ------
        StorageError
            If it names none.
        """
        address = Address.of(url)
        threads = Threads()
        table = DynamoTable(address.table)
        objects = BucketObjects(address.bucket, address.prefix, threads)
        storage = cls(table, objects, threads, lambda: time.time() - correction(table.ahead))

        def close() -> None:
            threads.close()
            table.close()
            objects.close()

        storage._close = close
        return storage

    def create(self, new: NewRun) -> None:
        Creation(self._access, new).write()

    def manifest(self, run: str) -> bytes | None:
        return self._following.manifest(run)

    def begin(self, run: str, starts: Sequence[Start], token: str) -> list[Begun | None]:
        return self._lineages.begin(run, starts, token)

    def arrive_all(
        self, run: str, arrivals: Sequence[tuple[Lineage, Arrival]]
    ) -> list[Arrived | None]:
        self.free(run, [ref for _, arrival in arrivals for ref in arrival.garbage])

        def arriving(lineage: Lineage, arrival: Arrival) -> Callable[[], Arrived | None]:
            return lambda: self._arriving.arrive(run, lineage, arrival)

        return self._access.together([arriving(*one) for one in arrivals])

    def hold(
        self, run: str, lineage: Lineage, segment: int, child: tuple[int, int], after: int | None
    ) -> Claim | None:
        return self._arriving.hold(run, lineage, segment, child, after)

    def owned(self, run: str, lineage: Lineage) -> list[Claim]:
        return self._lineages.owned(run, lineage)

    def unbegun(self, run: str, lineage: Lineage) -> list[Start]:
        return self._lineages.unbegun(run, lineage)

    def beat(self, run: str, lineages: Sequence[Lineage]) -> list[int]:
        return self._lineages.beat(run, lineages)

    def finish(self, run: str, lineage: Lineage, after: int | None) -> None:
        self._lineages.finish(run, lineage, after)

    def pass_on(self, run: str, lineage: Lineage) -> Start:
        return self._lineages.pass_on(run, lineage)

    def reap(self, run: str, most: int = 100, late_seconds: float = 0.0) -> list[Start]:
        return self._lineages.reap(run, most, late_seconds)

    def expire(self, run: str, segments: Sequence[int]) -> None:
        self._lineages.expire(run, segments)

    def stop(self, run: str, state: RunState, failure: bytes = b"") -> bool:
        return self._following.stop(run, state, failure)

    def failure(self, run: str) -> bytes | None:
        return self._following.failure(run)

    def news(self, run: str, bookmark: str, timeout: float) -> News:
        return self._following.news(run, bookmark, timeout)

    def status(self, run: str) -> RunStatus:
        return self._following.status(run)

    def read(self, run: str, refs: Sequence[DataRef]) -> list[bytes | bytearray | mmap | None]:
        return list(self._following.read(run, refs))

    def versions(self, run: str, segments: Sequence[int]) -> list[DataRef | None]:
        return self._following.versions(run, segments)

    def free(self, run: str, refs: Sequence[DataRef]) -> None:
        self._following.free(run, refs)

    def put_batch(self, run: str, name: str, events: bytes) -> None:
        self._following.put_batch(run, name, events)

    def get_batch(self, run: str, name: str) -> bytes | None:
        return self._following.get_batch(run, name)

    def note(self, run: str, blob: bytes) -> None:
        self._following.note(run, blob)

    def notes(self, run: str) -> list[bytes]:
        return self._following.notes(run)

    def drop(self, run: str) -> None:
        info = self._access.info(run, fresh=True)
        if info is not None:
            delete_run(self._access, info.layout)

    def runs(self) -> list[str]:
        return self._following.runs()

    def ping(self) -> None:
        self._table.get([("runs", "-")])
        self._objects.ping()

    def close(self) -> None:
        self._close()


SLOW_SECONDS = 2.0
"""A reply's date has whole seconds: clocks that differ by less may be the same."""


def correction(ahead: float | None) -> float:
    """Give what to take off this machine's clock, given how far it is ahead of the server's."""
    return ahead if ahead is not None and abs(ahead) > SLOW_SECONDS else 0.0
