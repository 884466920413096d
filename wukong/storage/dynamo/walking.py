"""The walk of an attempt that takes a lineage over: what it owns, and what is left to do.

It goes from the lineage's front along the children that the lineage owns. What is official has its
effects repeated, as the attempt before may have died among them; what is not is taken over, so that
no earlier attempt can make it official any more. How far it has come is written down (`front`), so
that a lineage that is lost again and again gets on all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from wukong.storage.dynamo.access import Access, RunInfo
from wukong.storage.dynamo.claiming import known_of
from wukong.storage.dynamo.effects import Effects, Sealed
from wukong.storage.dynamo.items import MOST_IN_FRONT, Attempt, front_text, steps
from wukong.storage.dynamo.table import Change, Item
from wukong.storage.terms import (
    Fenced,
)


class Walk:
    """One walk over what a lineage owns."""

    def __init__(self, access: Access, info: RunInfo, me: Attempt) -> None:
        self._access = access
        self._info = info
        self._me = me
        self._effects = Effects(access, info, me)
        self._open: dict[int, Item] = {}
        self._has_repeated = False
        self._taken: set[int] = set()
        """What has been visited as ours; what was not may become ours by an effect."""

    def owned(self, front: Sequence[int]) -> dict[int, Item]:
        """Give the items of segments to run, by number, that can be reached from a front."""
        todo = list(front)
        while todo:
            keys = {self._info.layout.segment(number): number for number in todo}
            items = self._access.get_all(keys)
            following = self._access.together(
                [self._visiting(keys[key], item) for key, item in items.items()]
            )
            todo = sorted({child for some in following for child in some} - self._taken)
            if self._has_repeated:
                self._keep({*self._open, *todo})
        self._access.fronts.put((self._info.layout.run, str(self._me)), frozenset(self._open))
        self._look_again()
        return {
            number: item
            for number, item in sorted(self._open.items())
            if self._has_inputs(number, item)
        }

    def _look_again(self) -> None:
        """Read again what lacked an input when it was visited: an effect may have brought it."""
        layout = self._info.layout
        keys = {
            layout.segment(number): number
            for number, item in self._open.items()
            if not self._has_inputs(number, item)
        }
        found = self._access.get_all(keys)
        self._open |= {keys[key]: item for key, item in found.items()}

    def _keep(self, front: Collection[int]) -> None:
        """Write down how far the walk has come, so that nobody needs to repeat it."""
        self._has_repeated = False
        if len(front) > MOST_IN_FRONT:
            return
        change = Change(
            self._info.layout.segment(self._me.lineage),
            {"front": front_text(front)},
            when=(("eq", "claim", str(self._me)),),
        )
        if not self._access.change(change, self._info)[0]:
            raise Fenced

    def _visiting(self, number: int, item: Item) -> Callable[[], list[int]]:
        return lambda: self._visit(number, item)

    def _visit(self, number: int, item: Item) -> list[int]:
        """Take a segment over or repeat its effects; give its children that the lineage owns."""
        if number != self._me.lineage:
            item = self._effects.take(number, item)
            if not self._is_ours(item):
                return []
        self._taken.add(number)
        known = known_of(self._access, self._info, number, item)
        children = [child for child, _, _ in known.fixed.children]
        if "ver" in item:
            held = item.get("held", frozenset())
            parts = tuple(sorted(held)) if isinstance(held, frozenset) else ()
            sealed = Sealed(number, item, known, parts, children, new=False)
            items = self._effects.of(sealed).items
            for one in parts:
                self._open.pop(one, None)
            self._has_repeated = True
            return [child for child, one in items.items() if self._is_ours(one)]
        if "hd" not in item:
            self._open[number] = item
        # What an earlier attempt held for its only child may be official with that.
        return children if len(children) == 1 else []

    def _is_ours(self, item: Item) -> bool:
        claim = item.get("claim")
        return claim is not None and Attempt.of(str(claim)).lineage == self._me.lineage

    def _has_inputs(self, number: int, item: Item) -> bool:
        known = known_of(self._access, self._info, number, item)
        many = len(known.fixed.inputs)
        return not many or item.get("n") == steps("a", many, 0)[-1].size
