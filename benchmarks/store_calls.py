"""How long single calls keep the store from others, in a fan-out to many segments and back.

Method: one lineage fans out, all its children arrive one by one, and the last one fans in. Then
the same with one lineage that owns all of the children (`max_executors=1`), which is lost twice and
begun again: when it owns the children, and when it owns the fan-in. The server's own slow log tells
each call's time, with a threshold that the commands inside of a call hardly ever reach. It prints
the medians of a page of a wide arrival and of one of what a lost lineage owns, and what a lost
fan-in took, last.

    python benchmarks/store_calls.py [width]
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

from valkey import Valkey

from wukong.messages import Start
from wukong.stack.valkey import EmbeddedValkey
from wukong.storage import Arrival, Claim, Lineage, NewRun
from wukong.storage.pages import PAGE
from wukong.storage.valkey import ValkeyStorage

SLOWER_THAN = 20
"""Microseconds."""


def create(store: ValkeyStorage, run: str, width: int, max_live: int = 0) -> Lineage:
    """Write a fan-out and its fan-in, and begin the lineage of its leaf."""
    store.create(
        NewRun(
            run,
            specs=[b"a specification of a hundred bytes".ljust(100)] * (width + 2),
            inputs=[(), *[(0,)] * width, tuple(range(1, width + 1))],
            references=[width, *[1] * width, 1],
            leaves=[0],
            max_live=max_live,
        )
    )
    (begun,) = store.begin(run, [Start(0)], "t")
    assert begun is not None
    return begun.lineage


def fan_out(width: int) -> Arrival:
    return Arrival(0, b"x", False, (), tuple((child, 1) for child in range(1, width + 1)), False)


def back(child: int, width: int) -> Arrival:
    return Arrival(child, b"x", False, (0,), ((width + 1, width),), False)


def fan(store: ValkeyStorage, width: int) -> None:
    """Fan out to lineages of their own, and back."""
    lineage = create(store, "fan", width)
    arrived = store.arrive("fan", lineage, fan_out(width))
    lineages = {claim.segment: lineage for claim in arrived.here}
    starts = list(arrived.handed_off)
    for first in range(0, len(starts), 100):
        for one in store.begin("fan", starts[first : first + 100], "t"):
            assert one is not None
            lineages[one.claim.segment] = one.lineage
    for child, lineage in lineages.items():
        arrived = store.arrive("fan", lineage, back(child, width))
    (claim,) = arrived.here
    last = Arrival(width + 1, b"x", True, tuple(range(1, width + 1)), (), True)
    store.arrive("fan", lineage, last)
    assert len(claim.inputs) == width


def lost(store: ValkeyStorage, width: int) -> None:
    """Have one lineage own everything, and be lost twice."""
    lineage = create(store, "lost", width, max_live=1)
    store.arrive("lost", lineage, fan_out(width))
    lineage, claims = begun_again(store)
    assert len(claims) == width
    for child in range(1, width + 1):
        store.arrive("lost", lineage, back(child, width))
    _, claims = begun_again(store)
    assert [len(claim.inputs) for claim in claims] == [width]


def begun_again(store: ValkeyStorage) -> tuple[Lineage, list[Claim]]:
    store.expire("lost", [0])
    (start,) = store.reap("lost")
    (begun,) = store.begin("lost", [start], f"t{start.epoch}")
    assert begun is not None
    return begun.lineage, store.owned("lost", begun.lineage)


def main() -> None:
    width = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with EmbeddedValkey() as server:
        admin: Any = Valkey.from_url(server.url)
        for play in fan, lost:
            play(ValkeyStorage(server.url), 10)
        admin.config_set("slowlog-max-len", 20 * width)
        admin.config_set("slowlog-log-slower-than", SLOWER_THAN)
        for play in fan, lost:
            play(ValkeyStorage(server.url), width)
        log = admin.slowlog_get(20 * width)
    took: dict[str, list[float]] = {}
    for entry in log:
        words = entry["command"].split(b" ")
        if words[0] == b"EVALSHA":
            took.setdefault(words[3 + int(words[2])].decode(), []).append(entry["duration"] / 1000)
    print(f"fan-out and fan-in of {width}, with pages of {PAGE}: milliseconds of the server")
    for operation, times in took.items():
        # A busy machine takes the processor from the server in between: not the longest, but most.
        most = statistics.quantiles(times, n=100)[98] if len(times) > 1 else times[0]
        middle = statistics.median(times)
        print(f"{operation}: {len(times)} calls, median {middle:.3f}, 99 % {most:.3f}")
    print(f"a page of a wide arrival: {statistics.median(took['more']):.3f} ms")
    fan_in, *owned = took["claims"]
    print(f"a page of what a lost lineage owns: {statistics.median(owned):.3f} ms")
    print(f"a lost fan-in of {width}: {fan_in:.3f} ms")


if __name__ == "__main__":
    main()
