"""What an Executor needs to run a segment: its specification, and where its inputs are.

All of it comes with one read more than the change that made the claim, or with none, if the
specification is short and the inputs are large or are there already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wukong.storage.dynamo.access import Access, Known, RunInfo
from wukong.storage.dynamo.items import Fixed, Layout, Output, arrivals_of, nodes
from wukong.storage.dynamo.table import Item, Key
from wukong.storage.terms import (
    INLINE_BYTES,
    INLINE_INPUTS,
    Claim,
    DataRef,
    Fenced,
)


def claims(
    access: Access, info: RunInfo, items: Mapping[int, Item], held: int | None = None
) -> list[Claim]:
    """Make claims of the items of segments; the caller has the output of `held`.

    Raises `Fenced` if the run is being dropped.
    """
    layout = info.layout
    small = {
        number: [x for x in _small_inputs(item) if x != held] for number, item in items.items()
    }
    keys = [layout.segment(x) for some in small.values() for x in some]
    keys += [key for number, item in items.items() for key in _parts(layout, number, item)]
    found = access.get_all(keys)
    return [
        _claim(layout, number, remember(access, layout, number, item, found), found, some)
        for (number, item), some in zip(items.items(), small.values(), strict=True)
    ]


def known_of(access: Access, info: RunInfo, number: int, item: Item) -> Known:
    """Give what is known of a segment; it is read if this process has not claimed it."""
    known = access.known.get((info.layout.run, number))
    if known is not None and "wide" not in item:
        return Known(known.fixed, arrivals_of(item))
    if known is not None and len(known.arrivals) == len(known.fixed.inputs):
        return known
    keys = _parts(info.layout, number, item)
    found = access.get_all(keys)
    return remember(access, info.layout, number, item, found)


def remember(
    access: Access, layout: Layout, number: int, item: Item, found: Mapping[Key, Item]
) -> Known:
    """Put together what is known of a segment from its item and its parts, and keep it."""
    fixed = _fixed(access, layout, number, item, found)
    known = Known(fixed, _arrivals(layout, number, item, found))
    access.known.put((layout.run, number), known)
    for x, output in known.arrivals.items():
        if output.size is not None:
            access.sizes.put((layout.run, DataRef(x, output.version)), output.size)
    return known


def fixed_name(run: str, number: int) -> str:
    """Name the object that holds what is fixed of a segment."""
    return f"{run}/fixed.{number}"


def _small_inputs(item: Item) -> list[int]:
    """Name inputs that come with a claim: small ones, of many only the first."""
    if "wide" in item:
        return []
    arrivals = sorted(arrivals_of(item).items())
    return [x for x, output in arrivals[:INLINE_INPUTS] if output.size is None]


def _parts(layout: Layout, number: int, item: Item) -> list[Key]:
    """Name what else belongs to the item of a segment."""
    parts = [] if "fixed" in item or "fo" in item else ["t"]
    wide = item.get("wide")
    if isinstance(wide, int):
        parts += [part for part in nodes("a", wide) if part.startswith("a1.")]
    return [layout.segment(number, part) for part in parts]


def _fixed(
    access: Access, layout: Layout, number: int, item: Item, found: Mapping[Key, Item]
) -> Fixed:
    size = item.get("fo")
    if isinstance(size, int):
        data = access.objects.get(fixed_name(layout.run, number), size)
    else:
        where = item if "fixed" in item else found.get(layout.segment(number, "t"), {})
        inline = where.get("fixed")
        data = inline if isinstance(inline, bytes) else None
    if data is None:
        # Only a run that is being dropped has segments without it.
        raise Fenced
    return Fixed.from_bytes(bytes(data))


def _arrivals(
    layout: Layout, number: int, item: Item, found: Mapping[Key, Item]
) -> dict[int, Output]:
    wide = item.get("wide")
    if not isinstance(wide, int):
        return arrivals_of(item)
    arrivals: dict[int, Output] = {}
    for part in nodes("a", wide):
        if part.startswith("a1."):
            arrivals |= arrivals_of(found.get(layout.segment(number, part), {}))
    return arrivals


def _claim(
    layout: Layout,
    number: int,
    known: Known,
    found: Mapping[Key, Item],
    small: Sequence[int],
) -> Claim:
    refs = []
    values: list[bytes | None] = []
    for x, _, _ in known.fixed.inputs:
        output = known.arrivals.get(x, Output(""))
        refs.append(DataRef(x, output.version))
        values.append(_value(found.get(layout.segment(x))) if x in small else None)
    return Claim(number, known.fixed.spec, tuple(refs), tuple(values))


def _value(item: Item | None) -> bytes | None:
    data = item.get("v") if item is not None else None
    return data if isinstance(data, bytes) and 0 < len(data) <= INLINE_BYTES else None
