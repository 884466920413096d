"""How a new run is written, and deleted.

Segments are written as their specifications are made, so that those of a large graph are never in
memory together; the item of the run comes last, as whoever sees it may use all the rest. A run that
cannot be written whole is deleted again; of a client that dies meanwhile, what it has written
expires.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from wukong.storage.dynamo.access import Access
from wukong.storage.dynamo.claiming import fixed_name
from wukong.storage.dynamo.items import (
    FIXED_BYTES,
    ITEM_BYTES,
    Attempt,
    Fixed,
    Layout,
    is_wide,
    nodes,
    registered,
    run_key,
    structure,
)
from wukong.storage.dynamo.table import WRITE_ITEMS, Item, Key
from wukong.storage.dynamo.together import chunks
from wukong.storage.serialisation import Packed
from wukong.storage.terms import (
    INLINE_BYTES,
    NewRun,
    RunState,
)

CHUNK = 16 * WRITE_ITEMS
"""So many segments are written side by side."""


class Creation:
    """Writes one new run."""

    def __init__(self, access: Access, new: NewRun) -> None:
        self._access = access
        self._new = new
        self._layout = Layout(new.run, len(new.references))
        self._expires = access.now() // 1000 + new.keep_seconds

    def write(self) -> None:
        """Write all of it; raises what taking specifications raises, and leaves nothing then."""
        with ExitStack() as undo:
            # Whatever it is, what taking specifications raises and Ctrl-C too: half a run is none.
            undo.callback(delete_run, self._access, self._layout)
            self._write()
            undo.pop_all()

    def _write(self) -> None:
        new = self._new
        put = self._access.put_all
        for some in chunks(self._segments(), CHUNK):
            put(item for items in some for item in items)
        for number, blob in enumerate(new.shared):
            put([self._blob(f"shared#{number}", f"shared.{number}", blob)])
        manifest = self._blob("manifest", "manifest", new.manifest())
        deadline = self._access.now() + int(new.handoff_seconds * 1000)
        put([manifest, *(self._lease(leaf, deadline) for leaf in new.leaves)])
        put([self._item(registered(new.run))])
        put([self._item(run_key(new.run)) | self._limits()])

    def _limits(self) -> Item:
        new = self._new
        return {
            "state": str(RunState.RUNNING),
            "n": self._layout.count,
            "lease": int(new.lease_seconds * 1000),
            "handoff": int(new.handoff_seconds * 1000),
            "live": new.max_live,
        }

    def _segments(self) -> Iterator[list[Item]]:
        """Give the items of each segment."""
        new = self._new
        consumers, children, places = structure(new.inputs, new.references)
        leaves = set(new.leaves)
        place = iter(places)
        for number, (spec, inputs) in enumerate(zip(new.specs, new.inputs, strict=True)):
            fixed = Fixed(
                spec=spec,
                root=new.references[number] > len(children[number]),
                consumers=consumers[number],
                inputs=tuple((x, consumers[x], next(place)) for x in inputs),
                children=tuple(children[number]),
            )
            yield self._segment(number, fixed, is_leaf=number in leaves)

    def _segment(self, number: int, fixed: Fixed, *, is_leaf: bool) -> list[Item]:
        item = self._item(self._layout.segment(number)) | {"n": 0}
        items = [item]
        if fixed.consumers:
            item["c"] = fixed.consumers
        if is_leaf:
            item["claim"] = str(Attempt(number))
        data = fixed.to_bytes()
        if len(data) <= FIXED_BYTES:
            item["fixed"] = data
        elif len(data) <= ITEM_BYTES:
            items.append(self._item(self._layout.segment(number, "t")) | {"fixed": data})
        else:
            self._access.objects.put(fixed_name(self._new.run, number), data)
            item["fo"] = len(data)
        width = len(fixed.inputs)
        if is_wide(width):
            item["wide"] = width
            items += [
                self._item(self._layout.segment(number, part)) | {"n": 0}
                for part in nodes("a", width)
            ]
        return items

    def _lease(self, leaf: int, until: int) -> Item:
        return self._item(self._layout.lease(leaf)) | {"at": str(Attempt(leaf)), "until": until}

    def _blob(self, sort_key: str, name: str, data: Packed) -> Item:
        run = self._new.run
        held = self._access.stored(f"{run}/{name}", data, INLINE_BYTES)
        return self._item((run, sort_key)) | held

    def _item(self, key: Key) -> Item:
        return {"pk": key[0], "sk": key[1], "expires": self._expires}


def delete_run(access: Access, layout: Layout) -> None:
    """Delete all of a run, what says that it exists first."""
    access.learn(layout.run, None)
    access.table.delete([run_key(layout.run), registered(layout.run)])

    def emptying(partition: str) -> Callable[[], None]:
        return lambda: access.table.delete(
            [(str(item["pk"]), str(item["sk"])) for item in access.table.query(partition)]
        )

    access.together([emptying(partition) for partition in layout.partitions])
    access.objects.delete(access.objects.names(f"{layout.run}/"))
