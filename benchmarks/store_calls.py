"""How long single calls keep the store from others, in a fan-out to many segments and back.

Method: one lineage fans out, all its children arrive one by one, and the last one fans in; the
server's own slow log, with no threshold, tells each call's time. It prints the median of the
longest kind of call, a page of a wide arrival, last.

    python benchmarks/store_calls.py [width]
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

from valkey import Valkey

from wukong.messages import Start
from wukong.stack.valkey import EmbeddedValkey
from wukong.storage import Arrival, NewRun
from wukong.storage.pages import PAGE
from wukong.storage.valkey import ValkeyStorage


def fan(store: ValkeyStorage, width: int) -> None:
    middle, last = range(1, width + 1), width + 1
    store.create(
        NewRun(
            "fan",
            specs=[b"a specification of a hundred bytes".ljust(100)] * (width + 2),
            inputs=[(), *[(0,)] * width, tuple(middle)],
            references=[width, *[1] * width, 1],
            leaves=[0],
        )
    )
    (begun,) = store.begin("fan", [Start(0)], "t")
    assert begun is not None
    out = Arrival(0, b"x", False, (), tuple((child, 1) for child in middle), False)
    arrived = store.arrive("fan", begun.lineage, out)
    lineages = {claim.segment: begun.lineage for claim in arrived.here}
    starts = list(arrived.handed_off)
    for first in range(0, len(starts), 100):
        for one in store.begin("fan", starts[first : first + 100], "t"):
            assert one is not None
            lineages[one.claim.segment] = one.lineage
    for child, lineage in lineages.items():
        arrived = store.arrive(
            "fan", lineage, Arrival(child, b"x", False, (0,), ((last, width),), False)
        )
    (claim,) = arrived.here
    store.arrive("fan", lineage, Arrival(last, b"x", True, tuple(middle), (), True))
    assert len(claim.inputs) == width


def main() -> None:
    width = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with EmbeddedValkey() as server:
        admin: Any = Valkey.from_url(server.url)
        fan(ValkeyStorage(server.url), 10)
        admin.config_set("slowlog-max-len", 10 * width)
        admin.config_set("slowlog-log-slower-than", 0)
        fan(ValkeyStorage(server.url), width)
        log = admin.slowlog_get(10 * width)
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


if __name__ == "__main__":
    main()
