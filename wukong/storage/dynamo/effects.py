"""What follows from a segment that has become official; all of it may be repeated.

    children   it arrives at each; of those that are ready one is kept, the others are handed off
    inputs     it marks that it has read them; what all have read is deletable
    held       what was held for it is official with it
    progress   it is marked as done, and as a root for the client to see

The seal (arriving.py) has said all that is needed, so whoever takes the lineage over can do this
again. Calls that do not need one another's answers are made side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from wukong.storage.dynamo.access import Access, Known, RunInfo
from wukong.storage.dynamo.claiming import known_of
from wukong.storage.dynamo.counting import Landed, arrive_at, mark
from wukong.storage.dynamo.items import (
    BLOCK,
    Attempt,
    Output,
    arrived_as,
    is_wide,
    output_of,
)
from wukong.storage.dynamo.table import Change, Condition, Item, Key
from wukong.storage.terms import (
    DataRef,
    Fenced,
)

Triple = tuple[int, int, int]
"""A child, how many inputs it has, and this input's place among them; or an input likewise."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment that is official.

    Attributes
    ----------
    number, item, known
        Which; its item; what is fixed of it.
    held
        What was held for it.
    children
        In the order in which they are to be kept.
    new
        Whether it has become official just now, so that probably nothing of this has been done.
    """

    number: int
    item: Item
    known: Known
    held: tuple[int, ...]
    children: Sequence[int]
    new: bool


@dataclass(slots=True)
class Followed:
    """What has followed: children by number, in order, and what is deletable."""

    here: dict[int, Item] = field(default_factory=dict)
    handed_off: list[int] = field(default_factory=list)
    deletable: tuple[DataRef, ...] = ()
    items: dict[int, Item] = field(default_factory=dict)


class Effects:
    """Performs what follows, for one attempt of a lineage."""

    def __init__(self, access: Access, info: RunInfo, me: Attempt) -> None:
        self._access = access
        self._info = info
        self._me = me

    def of(self, sealed: Sealed) -> Followed:
        """Perform all that follows from a segment; raises `Fenced`."""
        fixed = {child: (child, need, place) for child, need, place in sealed.known.fixed.children}
        children = [fixed[child] for child in sealed.children if child in fixed]
        landed = {} if sealed.new else self._found(sealed.number, children)
        many = [one for one in children if one[1] > 1 and one[0] not in landed]
        output = output_of(sealed.item)
        calls: list[Callable[[], object]] = [
            self._arriving(one, sealed.number, output, str(self._me)) for one in many
        ]
        answers: list[object] = self._access.together(
            [*calls, lambda: self._deletable(sealed), lambda: self._note(sealed)]
        )
        landed |= {
            one[0]: answer
            for one, answer in zip(many, answers, strict=False)
            if isinstance(answer, Landed)
        }
        known = {one[0] for one in many}
        single = [one for one in children if one[0] not in landed and one[0] not in known]
        landed |= self._settle(sealed.number, output, children, single, landed)
        return self._followed(children, landed, answers[len(many)])

    def deletable(self, sealed: Sealed) -> tuple[DataRef, ...]:
        """Mark the inputs of a segment as read, and give those that all have read."""
        return self._deletable(sealed)

    # Children

    def _found(self, number: int, children: Sequence[Triple]) -> dict[int, Landed]:
        """Look at which children it has arrived already."""
        layout = self._info.layout
        keys = {layout.segment(child): child for child, need, _ in children if not is_wide(need)}
        items = self._access.get_all(keys)
        return {
            keys[key]: Landed(item, False)
            for key, item in items.items()
            if arrived_as(number) in item
        }

    def _arriving(
        self, child: Triple, number: int, output: Output, claim: str
    ) -> Callable[[], Landed | None]:
        return lambda: arrive_at(self._access, self._info, child, number, output, claim)

    def _settle(
        self,
        number: int,
        output: Output,
        children: Sequence[Triple],
        single: Sequence[Triple],
        landed: Mapping[int, Landed],
    ) -> dict[int, Landed]:
        """Keep the first child that is ready, and hand the others off.

        Children that wait for nothing else are claimed as they are to be; others have been claimed
        for this lineage when their last input arrived, and are handed off after all.
        """
        kept, leases = 0, self._info.layout.lease_partitions
        live: int | None = None
        calls: dict[int, Callable[[], Landed | None]] = {}
        alone = {one[0] for one in single}
        for one in children:
            child = one[0]
            known = landed.get(child)
            is_free = child in alone or (known is not None and known.claimed)
            stays = not kept
            if is_free and kept and self._info.most_live:
                live = self._access.count_all(leases) if live is None else live
                stays = live >= self._info.most_live
                live += not stays
            if child in alone:
                claim = str(self._me if stays else Attempt(child))
                calls[child] = self._arriving(one, number, output, claim)
            elif known is not None and known.claimed and not stays:
                calls[child] = self._handing_off(child)
            kept += (is_free and stays) or (known is not None and self.is_mine(known.item))
        answers = self._access.together(list(calls.values()))
        return {
            child: answer
            for child, answer in zip(calls, answers, strict=True)
            if answer is not None
        }

    def is_mine(self, item: Item) -> bool:
        """Tell whether this lineage is to run a segment, in whatever attempt."""
        claim = item.get("claim")
        is_done = "ver" in item or "hd" in item
        return bool(claim) and not is_done and Attempt.of(str(claim)).lineage == self._me.lineage

    def _handing_off(self, child: int) -> Callable[[], Landed]:
        """Give up a child that this attempt has claimed just now, to a lineage of its own."""
        change = Change(
            self._info.layout.segment(child),
            {"claim": str(Attempt(child))},
            when=(("eq", "claim", str(self._me)), ("missing", "ver"), ("missing", "hd")),
        )

        def hand_off() -> Landed:
            made, item = self._access.change(change, self._info)
            return Landed(item, made)

        return hand_off

    def _followed(
        self, children: Sequence[Triple], landed: Mapping[int, Landed], deletable: object
    ) -> Followed:
        """Sort the children out, and see that each that is handed off has a lease."""
        followed = Followed()
        if isinstance(deletable, tuple):
            followed.deletable = deletable
        new: list[int] = []
        old: list[int] = []
        for child, _, _ in children:
            if child not in landed:
                continue
            item = followed.items[child] = landed[child].item
            if "claim" not in item or "ver" in item or "hd" in item:
                continue
            item = followed.items[child] = self.take(child, item)
            if self.is_mine(item):
                followed.here[child] = item
            elif item["claim"] == str(Attempt(child)) and "fin" not in item:
                followed.handed_off.append(child)
                (new if landed[child].claimed else old).append(child)
        self._lease(new, old)
        return followed

    def take(self, child: int, item: Item) -> Item:
        """Have this attempt own what an earlier one of its lineage owns; give the item as it is.

        After that no earlier one can make it official. What belongs to others, or is official, is
        left alone. Raises `Fenced` if a later attempt owns it.
        """
        while self.is_mine(item) and item["claim"] != str(self._me):
            if Attempt.of(str(item["claim"])).epoch >= self._me.epoch:
                raise Fenced
            change = Change(
                self._info.layout.segment(child),
                {"claim": str(self._me)},
                when=(("eq", "claim", item["claim"]), ("missing", "ver"), ("missing", "hd")),
            )
            _, item = self._access.change(change, self._info)
        return item

    def _lease(self, new: Sequence[int], old: Sequence[int]) -> None:
        """Give lineages that are handed off their leases; `old` ones may have theirs."""
        self._access.put_all(self._lease_of(child) for child in new)
        missing: tuple[Condition, ...] = (("missing", "pk"),)
        self._access.change_all(lease_change(self._lease_of(child), missing) for child in old)

    def _lease_of(self, child: int) -> Item:
        until = self._access.now() + self._info.handoff_ms
        # By this it is found if this Executor ends before it has the child started.
        return lease_item(self._info, Attempt(child), until) | {"by": self._me.lineage}

    # Inputs, what was held, progress

    def _deletable(self, sealed: Sealed) -> tuple[DataRef, ...]:
        consumers = [*(self._known(number) for number in sealed.held), sealed.known]
        reads = [
            (one, known.arrivals[one[0]].version)
            for known in consumers
            for one in known.fixed.inputs
            if one[0] in known.arrivals
        ]
        full = self._access.together([self._marking(one) for one, _ in reads])
        refs = tuple(
            DataRef(one[0], version)
            for (one, version), is_idle in zip(reads, full, strict=True)
            if is_idle
        )
        for ref in refs:
            self._access.idle.put((self._info.layout.run, ref), True)
        return refs

    def _marking(self, one: Triple) -> Callable[[], bool]:
        return lambda: mark(self._access, self._info, one)

    def _known(self, number: int) -> Known:
        known = self._access.known.get((self._info.layout.run, number))
        if known is not None:
            return known
        key = self._info.layout.segment(number)
        item = self._access.table.get([key]).get(key)
        if item is None:
            raise Fenced
        return known_of(self._access, self._info, number, item)

    def _note(self, sealed: Sealed) -> None:
        """Mark it, and what was held for it, as done."""
        layout, blocks = self._info.layout, dict[Key, set[int]]()
        for number in (sealed.number, *sealed.held):
            blocks.setdefault(layout.progress(number), set()).add(number % BLOCK)
        roots = {layout.progress(sealed.number)} if sealed.known.fixed.root else set()
        for key, places in blocks.items():
            add: dict[str, int | frozenset[int]] = {"done": frozenset(places)}
            if key in roots:
                add["roots"] = frozenset({sealed.number % BLOCK})
            self._access.table.change(Change(key, {"expires": self._info.expires}, add))
        for number in sealed.held:
            when = (("exists", "n"), ("missing", "ver"))
            self._access.table.change(Change(layout.segment(number), {"hd": 1}, when=when))


def lease_item(info: RunInfo, attempt: Attempt, until: int) -> Item:
    """Write the lease of a lineage: which attempt it is of, and until when."""
    pk, sk = info.layout.lease(attempt.lineage)
    return {
        "pk": pk,
        "sk": sk,
        "at": str(attempt),
        "until": until,
        "expires": info.expires,
    }


def lease_change(lease: Item, when: tuple[Condition, ...]) -> Change:
    """Write a lease, if what is there fulfils some conditions."""
    put = {name: value for name, value in lease.items() if name not in {"pk", "sk"}}
    return Change((str(lease["pk"]), str(lease["sk"])), put, when=when)
