"""Lineages: who may act in which attempt, and what an attempt owns.

The attempt of lineage S is the `claim` of segment S itself, so what fences an attempt off is one
change of one item. Its lease is an item of its own, so that all leases of a run can be found; it is
there from the hand-off to the end of the lineage. A lease only says when to begin anew: nothing
that is true depends on it, and clocks that disagree cost time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from wukong.messages import Start
from wukong.storage.dynamo.access import Access, RunInfo
from wukong.storage.dynamo.claiming import claims
from wukong.storage.dynamo.effects import lease_change, lease_item
from wukong.storage.dynamo.items import (
    MOST_IN_FRONT,
    Attempt,
    attempt_of,
    front_of,
    front_text,
)
from wukong.storage.dynamo.table import Change, Condition, Item
from wukong.storage.dynamo.walking import Walk
from wukong.storage.terms import (
    Begun,
    Claim,
    Fenced,
    Lineage,
)


class Lineages:
    """Begins, continues and ends lineages."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def begin(self, run: str, starts: Sequence[Start], token: str) -> list[Begun | None]:
        """Begin lineages; None for each that must not run."""
        try:
            info = self._access.running(run)
        except Fenced:
            return [None for _ in starts]
        begun = self._access.together([self._beginning(info, start, token) for start in starts])
        items = {number: item for one in begun if one for number, item in [one]}
        try:
            made = {claim.segment: claim for claim in claims(self._access, info, items)}
        except Fenced:
            return [None for _ in starts]
        return [None if one is None else self._begun(info, made[one[0]], one[1]) for one in begun]

    @staticmethod
    def _begun(info: RunInfo, claim: Claim, item: Item) -> Begun:
        attempt = Attempt.of(str(item["claim"]))
        lineage = Lineage(attempt.lineage, attempt.epoch, attempt.token or "")
        return Begun(lineage, claim, info.lease_ms / 1000)

    def _beginning(
        self, info: RunInfo, start: Start, token: str
    ) -> Callable[[], tuple[int, Item] | None]:
        def begin() -> tuple[int, Item] | None:
            try:
                item = self._begin(info, start, token)
            except Fenced:
                return None
            return None if item is None else (start.segment, item)

        return begin

    def _begin(self, info: RunInfo, start: Start, token: str) -> Item | None:
        """Let an invocation in, if nobody else is in; give the segment's item."""
        claim = str(Attempt(start.segment, start.epoch))
        attempt = Attempt(start.segment, start.epoch, token)
        while True:
            change = Change(
                info.layout.segment(start.segment),
                {"claim": str(attempt)},
                when=(("eq", "claim", claim), ("missing", "fin")),
            )
            made, item = self._access.change(change, info)
            if made:
                break
            found = self._next_attempt(info, start, token, item)
            if found is None:
                return None
            claim, attempt = str(item["claim"]), found
        if attempt.epoch == 1 and "ver" not in item:
            # Nobody has acted for this lineage before.
            self._access.fronts.put((info.layout.run, str(attempt)), frozenset({start.segment}))
        lease = lease_item(info, attempt, self._access.now() + info.lease_ms)
        count = Change(info.layout.progress(start.segment), {"expires": info.expires}, {"begun": 1})
        self._access.together(
            [lambda: self._access.table.put([lease]), lambda: self._counted(count)]
        )
        return item

    def _counted(self, count: Change) -> None:
        self._access.table.change(count)

    def _next_attempt(self, info: RunInfo, start: Start, token: str, item: Item) -> Attempt | None:
        """Say in which attempt an invocation may begin; None if not at all."""
        if "claim" not in item or "fin" in item:
            return None
        attempt = Attempt.of(str(item["claim"]))
        if attempt.lineage != start.segment or start.epoch < attempt.epoch:
            return None
        if attempt.token is None or attempt.token == token:
            return Attempt(start.segment, attempt.epoch, token)
        key = info.layout.lease(start.segment)
        lease = self._access.table.get([key]).get(key)
        if lease is not None and _until(lease) > self._access.now():
            return None
        return Attempt(start.segment, attempt.epoch + 1, token)

    def check(
        self,
        info: RunInfo,
        me: Attempt,
        after: int | None = None,
        *,
        also: int | None = None,
        is_sealing: bool = False,
    ) -> Item | None:
        """Raise `Fenced` unless an attempt is the current one and knows its past.

        Parameters
        ----------
        after
            A segment that must be official.
        also
            A segment whose item is to be read in the same call, and given.
        is_sealing
            Whether the caller changes the lineage's own segment next, on the same condition.
        """
        layout = info.layout
        numbers = {also} if also is not None else set()
        if not is_sealing:
            numbers.add(me.lineage)
        if after is not None and not self._access.official.get((layout.run, after)):
            numbers.add(after)
        items = self._access.table.get([layout.segment(one) for one in sorted(numbers)])
        if not is_sealing:
            own = items.get(layout.segment(me.lineage), {})
            if own.get("claim") != str(me) or "fin" in own:
                raise Fenced
        if after is not None and after in numbers:
            past = items.get(layout.segment(after), {})
            if "ver" not in past and "hd" not in past:
                raise Fenced
        return None if also is None else items.get(layout.segment(also))

    def beat(self, run: str, lineages: Sequence[Lineage]) -> list[int]:
        """Extend leases; gives the lineages that were fenced meanwhile."""
        try:
            info = self._access.running(run, fresh=True)
        except Fenced:
            return [one.segment for one in lineages]
        alive = self._access.together([self._beating(info, attempt_of(one)) for one in lineages])
        return [one.segment for one, is_alive in zip(lineages, alive, strict=True) if not is_alive]

    def _beating(self, info: RunInfo, me: Attempt) -> Callable[[], bool]:
        def beat() -> bool:
            until = self._access.now() + info.lease_ms
            mine = (("eq", "at", str(me)),)
            change = Change(info.layout.lease(me.lineage), {"until": until}, when=mine)
            outcome = self._access.table.change(change)
            if outcome.made:
                return True
            try:
                self.check(info, me)
            except Fenced:
                return False
            self._restore(info, me, outcome.item)
            return True

        return beat

    def _restore(self, info: RunInfo, me: Attempt, found: Item | None) -> None:
        """Write the lease of the current attempt anew, unless it has changed since it was found.

        Whoever handed the lineage off was late, and wrote its lease after this attempt had begun. A
        successor writes its own after its claim: if that came before this change, the lease is
        another than was found before the claim was looked at; if after, it overwrites this one. Who
        reaps changes the lease first: if it is found between that and the claim, this costs time.
        """
        until = self._access.now() + info.lease_ms
        when: tuple[Condition, ...] = (("missing", "pk"),)
        if found is not None:
            when = tuple(("eq", name, found[name]) for name in ("at", "until"))
        change = lease_change(lease_item(info, me, until), when)
        self._access.table.change(replace(change, remove=("by",)))

    def finish(self, run: str, lineage: Lineage, after: int | None) -> None:
        """End a lineage, if it is current and knows its past."""
        try:
            info, me = self._access.running(run), attempt_of(lineage)
            self.check(info, me, after, is_sealing=True)
            self.end(info, me)
        except Fenced:
            pass

    def end(self, info: RunInfo, me: Attempt) -> None:
        """End a lineage that is current."""
        change = Change(
            info.layout.segment(me.lineage),
            {"fin": 1},
            when=(("eq", "claim", str(me)), ("missing", "fin")),
        )
        made, item = self._access.change(change, info)
        self._access.fronts.pop((info.layout.run, str(me)))
        if made or (item.get("claim") == str(me) and "fin" in item):
            self._access.table.delete([info.layout.lease(me.lineage)])

    def pass_on(self, run: str, lineage: Lineage) -> Start:
        """Leave a lineage to an Executor to be started; raises `Fenced`."""
        info, me = self._access.running(run), attempt_of(lineage)
        known = self._access.fronts.get((run, str(me)))
        is_short = known is not None and len(known) <= MOST_IN_FRONT
        following = self._go_on(info, me, front_text(known or ()) if is_short else None)
        if following is None:
            raise Fenced
        until = self._access.now() + info.handoff_ms
        self._access.table.put([lease_item(info, following, until)])
        return Start(following.lineage, following.epoch)

    def _go_on(self, info: RunInfo, attempt: Attempt, front: str | None = None) -> Attempt | None:
        """Fence an attempt off by the next one; None if it is not current."""
        following = attempt.next()
        put: Item = {"claim": str(following)}
        if front is not None:
            put["front"] = front
        change = Change(
            info.layout.segment(attempt.lineage),
            put,
            when=(("eq", "claim", str(attempt)), ("missing", "fin")),
        )
        return following if self._access.change(change, info)[0] else None

    def expire(self, run: str, segments: Sequence[int]) -> None:
        """Take leases for over."""
        try:
            info = self._access.running(run)
        except Fenced:
            return
        until, exists = {"until": self._access.now()}, (("exists", "until"),)
        self._access.change_all(
            Change(info.layout.lease(one), until, when=exists) for one in segments
        )

    def reap(self, run: str, most: int, late_seconds: float) -> list[Start]:
        """Give lineages whose lease expired so long ago, to be started again."""
        try:
            info = self._access.running(run, fresh=True)
        except Fenced:
            return []
        over = self._access.now() - int(late_seconds * 1000)
        partitions = info.layout.lease_partitions
        if late_seconds > 0:
            # Every Executor looks, now and then: each at a part, so that all of it is looked at.
            partitions = [random.choice(partitions)]  # noqa: S311 - anything will do
        leases = self._access.query_all(partitions, sure=False)
        expired = sorted(
            (_until(lease), int(str(lease["sk"])), lease)
            for lease in leases
            if _until(lease) <= over
        )[:most]
        numbers = [number for _, number, _ in expired]
        items = self._access.get_all(info.layout.segment(number) for number in numbers)
        starts = self._access.together(
            [
                self._reaping(info, items.get(info.layout.segment(number)), lease)
                for _, number, lease in expired
            ]
        )
        return [start for start in starts if start is not None]

    def _reaping(self, info: RunInfo, item: Item | None, lease: Item) -> Callable[[], Start | None]:
        def reap() -> Start | None:
            try:
                return self._reap(info, item, lease)
            except Fenced:
                return None

        return reap

    def _reap(self, info: RunInfo, item: Item | None, lease: Item) -> Start | None:
        """Start one lineage again, unless somebody else does, or it has ended after all."""
        number = int(str(lease["sk"]))
        claim = item.get("claim") if item is not None else None
        owner = Attempt.of(str(claim)) if claim else None
        if item is None or owner is None or owner.lineage != number or "fin" in item:
            # Left by somebody who was late.
            self._access.table.delete([info.layout.lease(number)])
            return None
        following = owner if owner.token is None else owner.next()
        until = self._access.now() + info.handoff_ms
        put: Item = {"until": until, "at": str(following)}
        mine = Change(info.layout.lease(number), put, when=(("eq", "until", lease["until"]),))
        outcome = self._access.table.change(mine)
        left = outcome.item or {}
        if not outcome.made and (left.get("until"), left.get("at")) != (until, str(following)):
            return None
        if owner.token is not None and self._go_on(info, owner) is None:
            return None
        return Start(number, following.epoch)

    def owned(self, run: str, lineage: Lineage) -> list[Claim]:
        """Give what an attempt owns and can run, after finishing what earlier ones began.

        Raises
        ------
        Fenced
            If it is not the current one.
        """
        info, me = self._access.running(run), attempt_of(lineage)
        item = self.check(info, me, also=me.lineage)
        front = front_of(item) if item is not None else None
        walk = Walk(self._access, info, me)
        return claims(self._access, info, walk.owned([me.lineage] if front is None else front))

    def unbegun(self, run: str, lineage: Lineage) -> list[Start]:
        """Give what a lineage has handed off and nobody has begun."""
        try:
            partitions = self._access.running(run).layout.lease_partitions
        except Fenced:
            return []
        leases = self._access.query_all(partitions, sure=False)
        mine = [one for one in leases if one.get("by") == lineage.segment]
        return [Start(number) for number in sorted(int(str(one["sk"])) for one in mine)]


def _until(lease: Item) -> int:
    until = lease.get("until", 0)
    return until if isinstance(until, int) else 0
