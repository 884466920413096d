"""Arriving: the seal that makes an output official, and holding back instead.

    store the data ─> seal ─> effects ─> claims of what is to run here
                       │
                       └ UpdateItem of the segment, if this attempt owns it and it is not official:
                         version and value, or size of the object

After the seal everything is decided, and what follows can be repeated by whoever takes the lineage
over. Before it nothing has happened. Who seals owns the segment (`claim`), which is one attempt of
one lineage; a later attempt takes over what the lineage owns, one segment after another, before it
runs any of it (lineages.py), so an earlier one cannot seal what a later one runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from wukong.messages import Start
from wukong.storage.dynamo.access import Access, RunInfo
from wukong.storage.dynamo.claiming import claims, known_of
from wukong.storage.dynamo.effects import Effects, Followed, Sealed
from wukong.storage.dynamo.items import (
    Attempt,
    arrived_as,
    attempt_of,
    output_name,
    steps,
)
from wukong.storage.dynamo.lineages import Lineages
from wukong.storage.dynamo.table import Change, Condition, Item
from wukong.storage.terms import (
    INLINE_BYTES,
    Arrival,
    Arrived,
    Claim,
    DataRef,
    Fenced,
    Lineage,
    StorageError,
)


@dataclass(frozen=True, slots=True)
class _Seal:
    item: Item
    new: bool


class Arriving:
    """Makes outputs official."""

    def __init__(self, access: Access, lineages: Lineages) -> None:
        self._access = access
        self._lineages = lineages

    def arrive(self, run: str, lineage: Lineage, arrival: Arrival) -> Arrived | None:
        """Make one output official, and do what follows; None if fenced."""
        try:
            info = self._access.running(run)
            return self._arrive(info, attempt_of(lineage), arrival)
        except Fenced:
            return None
        except StorageError:
            # Who knows what it owns now.
            self._access.fronts.pop((run, lineage.version))
            raise

    def _arrive(self, info: RunInfo, me: Attempt, arrival: Arrival) -> Arrived:
        self._lineages.check(info, me, arrival.after, is_sealing=arrival.segment == me.lineage)
        seal = self._seal(info, me, arrival)
        number = arrival.segment
        self._access.official.put((info.layout.run, number), True)
        sealed = Sealed(
            number,
            seal.item,
            known_of(self._access, info, number, seal.item),
            held=tuple(one.segment for one in arrival.held),
            children=[child for child, _ in arrival.children],
            new=seal.new,
        )
        effects = Effects(self._access, info, me)
        if "ver" in seal.item:
            followed = effects.of(sealed)
        else:
            # It is official with its child, and has no data that anybody could read.
            followed = Followed(deletable=effects.deletable(sealed))
        done = number, *sealed.held
        self._access.advance(info.layout.run, str(me), done, followed.here)
        if arrival.last and not followed.here:
            self._lineages.end(info, me)
        for one in done:
            # What is fixed of them is not needed any more, and may be large.
            self._access.known.pop((info.layout.run, one))
        return Arrived(
            tuple(claims(self._access, info, followed.here, held=number)),
            tuple(Start(child) for child in followed.handed_off),
            followed.deletable,
        )

    def _seal(self, info: RunInfo, me: Attempt, arrival: Arrival) -> _Seal:
        """Make an output official, or find that it is; raises `Fenced` if it is not ours."""
        number = arrival.segment
        ref = DataRef(number, str(me))
        name = output_name(info.layout.run, ref)
        put = self._access.stored(name, arrival.output, INLINE_BYTES) | {"ver": str(me)}
        if arrival.held:
            put["held"] = frozenset(one.segment for one in arrival.held)
        when: list[Condition] = [("eq", "claim", str(me)), ("missing", "ver"), ("missing", "hd")]
        if number == me.lineage:
            when.append(("missing", "fin"))
        change = Change(info.layout.segment(number), put, when=tuple(when))
        made, item = self._access.change(change, info)
        is_over = number == me.lineage and "fin" in item
        if not made and (item.get("claim") != str(me) or is_over):
            raise Fenced
        size = item.get("o")
        if isinstance(size, int):
            self._access.sizes.put((info.layout.run, DataRef(number, str(item["ver"]))), size)
        return _Seal(item, made)

    def hold(
        self, run: str, lineage: Lineage, segment: int, child: tuple[int, int], after: int | None
    ) -> Claim | None:
        """Own the only child of a segment, if that is the last it waits for; raises `Fenced`."""
        info, me = self._access.running(run), attempt_of(lineage)
        item = self._lineages.check(info, me, after, also=segment)
        if item is None or item.get("claim") != str(me):
            raise Fenced
        if "ver" in item or "hd" in item:
            return None
        number, need = child
        known = known_of(self._access, info, segment, item)
        (place,) = [place for one, _, place in known.fixed.children if one == number]
        owned = self._own(info, me, segment, (number, need, place))
        if owned is None:
            return None
        self._access.advance(run, str(me), new=[number])
        (claim,) = claims(self._access, info, {number: owned}, held=segment)
        return claim

    def _own(
        self, info: RunInfo, me: Attempt, segment: int, child: tuple[int, int, int]
    ) -> Item | None:
        """Claim a child that waits for a segment alone; give its item if this attempt owns it."""
        number, need, place = child
        *below, top = steps("a", need, place)
        label = arrived_as(segment)
        for step in below:
            if not self._waits(info, (number, step.part), label, step.size):
                return None
            label = arrived_as(int(step.part.rpartition(".")[2]))
        change = Change(
            info.layout.segment(number),
            {"claim": str(me)},
            when=(("eq", "n", top.size - 1), ("missing", label), ("missing", "claim")),
        )
        made, item = self._access.change(change, info)
        if made:
            return item
        effects = Effects(self._access, info, me)
        item = effects.take(number, item)
        return item if effects.is_mine(item) else None

    def _waits(self, info: RunInfo, node: tuple[int, str], label: str, size: int) -> bool:
        """Tell whether a node waits for one arrival alone; it stays so until that comes."""
        key = info.layout.segment(*node)
        item = self._access.table.get([key]).get(key, {})
        return item.get("n") == size - 1 and label not in item
