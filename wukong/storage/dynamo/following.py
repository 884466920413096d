"""What clients and Executors read of a run: news, progress, outputs, notes; and freeing outputs.

DynamoDB tells nobody anything, so a client looks for news again and again: at first often, and the
longer there were none, the more rarely. A bookmark is the roots that have been told, as ranges.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Sequence

from wukong.storage.dynamo.access import Access, Recent, RunInfo
from wukong.storage.dynamo.counting import is_idle
from wukong.storage.dynamo.items import (
    BLOCK,
    RUNS,
    Layout,
    notes_partition,
    output_name,
    run_key,
)
from wukong.storage.dynamo.table import Change, Item
from wukong.storage.terms import (
    INLINE_BYTES,
    DataRef,
    News,
    RunState,
    RunStatus,
)

SHORTEST_PAUSE, LONGEST_PAUSE, SHARE = 0.05, 1.0, 0.1
"""Seconds between two looks for news: a tenth of how long there were none, within these bounds. So
a run seems a tenth longer at most, or a second. A look costs 1.5 read units in a small run."""

NOTE_BYTES = 8192
"""Above this an object is cheaper than so many write units."""

SHARED = "shared"


class Following:
    """Reads runs, and ends them."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._noted = 0
        self._quiet_since: Recent[str, float] = Recent(64)

    def stop(self, run: str, state: RunState, failure: bytes) -> bool:
        """End a running run; False if it had ended already."""
        info = self._access.info(run, fresh=True)
        if info is None or info.state is not RunState.RUNNING:
            return False
        # Known again if the first reply is lost, and boto3 repeats the change.
        put: Item = {"state": str(state), "by": uuid.uuid4().hex}
        if failure:
            put |= self._access.stored(f"{run}/failure", failure, INLINE_BYTES)
        running = (("eq", "state", str(RunState.RUNNING)),)
        outcome = self._access.table.change(Change(run_key(run), put, when=running))
        self._access.learn(run, outcome.item)
        return outcome.made or (outcome.item or {}).get("by") == put["by"]

    def failure(self, run: str) -> bytes | None:
        """Give the failure that ended a run."""
        data = self._access.load(f"{run}/failure", self._item(run, run_key(run)[1]))
        return None if data is None else bytes(data)

    def manifest(self, run: str) -> bytes | None:
        """Give the manifest of a run."""
        if self._access.info(run, fresh=True) is None:
            return None
        data = self._access.load(f"{run}/manifest", self._item(run, "manifest"))
        return None if data is None else bytes(data)

    def _item(self, run: str, sort_key: str) -> Item | None:
        key = run, sort_key
        return self._access.table.get([key]).get(key)

    def news(self, run: str, bookmark: str, timeout: float) -> News:
        """Wait for roots or the end."""
        told, has_ended = _read_bookmark(bookmark)
        began = time.monotonic()
        since = self._quiet_since.get(run) or began
        while True:
            info = self._access.info(run, fresh=True)
            roots = set() if info is None else self._roots(info)
            ended = info is not None and info.state is not RunState.RUNNING
            now = time.monotonic()
            is_new = bool(roots - told) or (ended and not has_ended)
            self._quiet_since.put(run, now if is_new else since)
            if is_new or now >= began + timeout:
                break
            pause = min(max(SHARE * (now - since), SHORTEST_PAUSE), LONGEST_PAUSE)
            time.sleep(min(pause, began + timeout - now))
        return News(
            tuple(sorted(roots - told)),
            info.state if info is not None and ended and not has_ended else None,
            _bookmark(roots | told, ended=ended or has_ended),
        )

    def _roots(self, info: RunInfo) -> set[int]:
        return {
            int(str(block["sk"])) * BLOCK + place
            for block in self._access.query_all(info.layout.progress_partitions, sure=False)
            for place in _numbers(block, "roots")
        }

    def status(self, run: str) -> RunStatus:
        """Tell how far a run is: reads 1/256 of its segments' number in small items."""
        info = self._access.info(run, fresh=True)
        if info is None:
            return RunStatus(None)
        blocks = self._access.query_all(info.layout.progress_partitions, sure=False)
        begun = [block.get("begun", 0) for block in blocks]
        return RunStatus(
            info.state,
            sum(len(_numbers(block, "done")) for block in blocks),
            self._access.count_all(info.layout.lease_partitions),
            sum(one for one in begun if isinstance(one, int)),
        )

    def versions(self, run: str, segments: Sequence[int]) -> list[DataRef | None]:
        """Name the official data of segments."""
        info = self._access.info(run)
        if info is None or not segments:
            return [None for _ in segments]
        keys = [info.layout.segment(segment) for segment in segments]
        items = self._access.get_all(keys)
        found: list[DataRef | None] = []
        for segment, key in zip(segments, keys, strict=True):
            item = items.get(key, {})
            found.append(DataRef(segment, str(item["ver"])) if "ver" in item else None)
            self._learn_size(run, found[-1], item)
        return found

    def _learn_size(self, run: str, ref: DataRef | None, item: Item) -> None:
        size = item.get("o")
        if ref is not None and isinstance(size, int):
            self._access.sizes.put((run, ref), size)

    def read(self, run: str, refs: Sequence[DataRef]) -> list[bytes | bytearray | None]:
        """Read outputs, and what specifications share; None for what is not there."""
        info = self._access.info(run)
        if info is None or not refs:
            return [None for _ in refs]
        unknown = [ref for ref in refs if self._access.sizes.get((run, ref)) is None]
        keys = {ref: self._key(info.layout, ref) for ref in unknown}
        items = self._access.get_all(keys.values())

        def reading(ref: DataRef) -> Callable[[], bytes | bytearray | None]:
            item = items.get(keys[ref]) if ref in keys else None
            return lambda: self._read(run, ref, item)

        return self._access.together([reading(ref) for ref in refs])

    @staticmethod
    def _key(layout: Layout, ref: DataRef) -> tuple[str, str]:
        if ref.version == SHARED:
            return layout.run, f"shared#{ref.segment}"
        return layout.segment(ref.segment)

    def _read(self, run: str, ref: DataRef, item: Item | None) -> bytes | bytearray | None:
        size = self._access.sizes.get((run, ref))
        if size is not None:
            return self._access.objects.get(output_name(run, ref), size)
        if ref.version == SHARED:
            return self._access.load(f"{run}/shared.{ref.segment}", item)
        if item is None or item.get("ver") != ref.version:
            return None
        return self._access.load(output_name(run, ref), item)

    def free(self, run: str, refs: Iterable[DataRef]) -> None:
        """Delete those outputs that no consumer waits for."""
        info = self._access.info(run)
        wanted = list(dict.fromkeys(refs))
        if info is None or not wanted:
            return
        unsure = [ref for ref in wanted if not self._access.idle.get((run, ref))]
        items = self._access.get_all(info.layout.segment(ref.segment) for ref in unsure)
        gone = [ref for ref in wanted if ref not in unsure]
        for ref in unsure:
            item = items.get(info.layout.segment(ref.segment), {})
            consumers = item.get("c", 0)
            if isinstance(consumers, int) and is_idle(item, consumers):
                gone.append(ref)
                self._learn_size(run, ref, item)
        self._delete(info, gone)

    def _delete(self, info: RunInfo, refs: Sequence[DataRef]) -> None:
        run = info.layout.run
        large = [ref for ref in refs if self._access.sizes.get((run, ref)) is not None]

        def emptying(ref: DataRef) -> Callable[[], object]:
            of = (("eq", "ver", ref.version),)
            key = info.layout.segment(ref.segment)
            return lambda: self._access.table.change(Change(key, remove=("v",), when=of))

        calls = [emptying(ref) for ref in refs if ref not in large]
        if large:
            names = [output_name(run, ref) for ref in large]
            calls.append(lambda: self._access.objects.delete(names))
        self._access.together(calls)

    def put_batch(self, run: str, name: str, events: bytes) -> None:
        """Keep a batch of events."""
        info = self._access.info(run)
        if info is not None:
            held = self._access.stored(f"{run}/batch.{name}", events, NOTE_BYTES)
            item: Item = {"pk": run, "sk": f"batch#{name}", "expires": info.expires}
            self._access.table.put([item | held])

    def get_batch(self, run: str, name: str) -> bytes | None:
        """Read a batch of events."""
        data = self._access.load(f"{run}/batch.{name}", self._item(run, f"batch#{name}"))
        return None if data is None else bytes(data)

    def note(self, run: str, blob: bytes) -> None:
        """Add a note, unless the run has gone."""
        info = self._access.info(run)
        if info is not None:
            # By this machine's clock, but never before this process's last one.
            self._noted = max(self._noted + 1, self._access.now() * 1000)
            name = f"{self._noted:020d}.{uuid.uuid4().hex[:8]}"
            held = self._access.stored(f"{run}/note.{name}", blob, NOTE_BYTES)
            item: Item = {"pk": notes_partition(run), "sk": name, "expires": info.expires}
            self._access.table.put([item | held])

    def notes(self, run: str) -> list[bytes]:
        """Give the notes of a run, by time."""
        items = self._access.table.query(notes_partition(run))

        def reading(item: Item) -> Callable[[], bytes | bytearray | None]:
            return lambda: self._access.load(f"{run}/note.{item['sk']!s}", item)

        found = self._access.together([reading(item) for item in items])
        return [bytes(note) for note in found if note is not None]

    def runs(self) -> list[str]:
        """Give the ids of the runs that are there."""
        now = self._access.now() // 1000
        items = self._access.table.query(RUNS)
        return [
            str(item["sk"])
            for item in items
            if isinstance(item["expires"], int) and item["expires"] > now
        ]


def _numbers(item: Item, name: str) -> frozenset[int]:
    value = item.get(name, frozenset())
    return value if isinstance(value, frozenset) else frozenset()


def _bookmark(roots: Iterable[int], *, ended: bool) -> str:
    """Write numbers as ranges, and whether the end has been told."""
    ranges: list[list[int]] = []
    for root in sorted(roots):
        if ranges and ranges[-1][1] == root - 1:
            ranges[-1][1] = root
        else:
            ranges.append([root, root])
    words = [f"{first}-{last}" if last > first else str(first) for first, last in ranges]
    return ",".join([*words, "end"] if ended else words)


def _read_bookmark(bookmark: str) -> tuple[set[int], bool]:
    told: set[int] = set()
    words = bookmark.split(",") if bookmark else []
    for word in words:
        if word != "end":
            first, _, last = word.partition("-")
            told.update(range(int(first), int(last or first) + 1))
    return told, "end" in words
