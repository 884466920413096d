"""What is particular to the Valkey back-end: reaching it, its keys, wide graphs."""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import replace
from importlib.resources import files

import dask.array as da
import pytest
from valkey import Valkey
from valkey.crc import key_slot

from wukong.client import Client
from wukong.config import Config, Store
from wukong.messages import Start
from wukong.storage import (
    Arrival,
    DataRef,
    Fenced,
    Lineage,
    NewRun,
    RunState,
    StorageError,
    open_storage,
    pages,
)
from wukong.storage.terms import (
    INLINE_BYTES,
    INLINE_INPUTS,
)
from wukong.storage.valkey import RUNS, ValkeyStorage


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fan(run: str, wide: int, max_live: int = 0) -> NewRun:
    """Give a run that fans out to so many segments, and in again; the last is `wide + 1`."""
    return NewRun(
        run,
        specs=[b"spec%d" % number for number in range(wide + 2)],
        inputs=[(), *[(0,)] * wide, tuple(range(1, wide + 1))],
        references=[wide, *[1] * wide, 1],
        leaves=[0],
        max_live=max_live,
    )


def test_an_unreachable_store_is_one_clear_error_without_the_password() -> None:
    store = ValkeyStorage(f"valkey://me:secret@127.0.0.1:{closed_port()}")
    with pytest.raises(StorageError, match="cannot be reached") as caught:
        store.ping()
    assert "secret" not in str(caught.value)
    assert "WUKONG_STORE_URL" in str(caught.value)


def test_the_script_has_the_interfaces_limits() -> None:
    script = files("wukong.storage").joinpath("protocol.lua").read_text()
    found = re.search(r"INLINE_BYTES, INLINE_INPUTS = (\d+), (\d+)", script)
    assert found is not None
    assert tuple(map(int, found.groups())) == (INLINE_BYTES, INLINE_INPUTS)


def test_an_unknown_url_names_the_schemes_there_are() -> None:
    with pytest.raises(StorageError, match="no back-end for 'http://'"):
        open_storage("http://somewhere")


def test_every_key_of_a_run_has_a_time_to_live(valkey_url: str, run_id: str) -> None:
    store = ValkeyStorage(valkey_url)
    new = NewRun(run_id, [b"a", b"b"], [(), ()], [1, 1], [0, 1], keep_seconds=600)
    store.create(replace(new, shared=[b"x", b"y"]))
    (begun, _) = store.begin(run_id, [Start(0), Start(1)], "t")
    assert begun is not None
    store.arrive(run_id, begun.lineage, Arrival(0, b"x", True, (), (), True))
    store.put_batch(run_id, "b", b"events")
    server = Valkey.from_url(valkey_url)
    keys = list(server.scan_iter(f"w:{{{run_id}}}:*"))
    assert len(keys) > 10
    assert all(0 < server.ttl(key) <= 600 for key in keys), {k: server.ttl(k) for k in keys}


def test_dropping_a_run_leaves_no_key(valkey_url: str, run_id: str) -> None:
    store = ValkeyStorage(valkey_url)
    store.create(NewRun(run_id, [b"a"], [()], [1], [0], shared=[b"x", b"y"]))
    (begun,) = store.begin(run_id, [Start(0)], "t")
    assert begun is not None
    store.arrive(run_id, begun.lineage, Arrival(0, b"x", True, (), (), True))
    store.put_batch(run_id, "b", b"events")
    store.drop(run_id)
    assert list(Valkey.from_url(valkey_url).scan_iter(f"w:{{{run_id}}}:*")) == []


def test_a_process_forgets_runs_that_it_has_not_called_for_long(valkey_url: str) -> None:
    store = ValkeyStorage(valkey_url)
    for number in range(3 * RUNS):
        assert store.begin(f"none-{number}", [Start(0)], "t") == [None]
    assert store._keys.cache_info().currsize == RUNS


def test_a_server_that_forgot_the_script_is_given_it_again(valkey_url: str, run_id: str) -> None:
    store = ValkeyStorage(valkey_url)
    store.create(NewRun(run_id, [b"a"], [()], [1], [0]))
    Valkey.from_url(valkey_url).script_flush()
    (begun,) = store.begin(run_id, [Start(0)], "t")
    assert begun is not None
    Valkey.from_url(valkey_url).script_flush()
    store.arrive(run_id, begun.lineage, Arrival(0, b"x", True, (), (), True))
    assert store.news(run_id, "", 5.0).roots == (0,)


def test_a_fan_out_and_a_fan_in_of_twenty_thousand_work(valkey_url: str, run_id: str) -> None:
    wide = 20_000
    store = ValkeyStorage(valkey_url)
    middle = range(1, wide + 1)
    last = wide + 1
    store.create(fan(run_id, wide, max_live=1))
    (begun,) = store.begin(run_id, [Start(0)], "t")
    assert begun is not None
    children = tuple((child, 1) for child in middle)
    arrived = store.arrive(run_id, begun.lineage, Arrival(0, b"", False, (), children, False))
    assert len(arrived.here) == wide
    for segment in middle:
        arrival = Arrival(segment, b"", False, (0,), ((last, wide),), False)
        arrived = store.arrive(run_id, begun.lineage, arrival)
    assert [claim.segment for claim in arrived.here] == [last]
    assert len(arrived.here[0].inputs) == wide
    done = Arrival(last, b"", True, tuple(middle), (), True)
    assert len(store.arrive(run_id, begun.lineage, done).deletable) == wide


def test_a_wide_arrival_that_stops_between_its_pages_is_finished_by_the_next_epoch(
    valkey_url: str, run_id: str
) -> None:
    """No child is counted twice, and the output that was official first stays so."""
    wide = 5 * pages.PAGE // 2
    last = wide + 1
    store = ValkeyStorage(valkey_url)
    store.create(fan(run_id, wide))
    (begun,) = store.begin(run_id, [Start(0)], "t")
    assert begun is not None
    out = Arrival(0, b"x", False, (), tuple((child, 1) for child in range(1, last)), False)
    calls = pages.calls(begun.lineage, out)
    assert len(calls) == 3
    store._call_all(run_id, calls[:1])
    assert store.status(run_id).live == pages.PAGE
    store.expire(run_id, [0])
    assert store.reap(run_id) == [Start(0, 2)]
    (again,) = store.begin(run_id, [Start(0, 2)], "u")
    assert again is not None
    mine = store.owned(run_id, again.lineage)
    assert [claim.segment for claim in mine] == [1]
    assert mine[0].inputs == (DataRef(0, "0.1.t"),)
    assert store.status(run_id).live == wide
    store.owned(run_id, again.lineage)
    counters = Valkey.from_url(valkey_url).get(f"w:{{{run_id}}}:cnt")
    assert struct.unpack(f">{wide + 2}I", counters) == (0, *[1] * wide, 0)


def test_a_lost_lineage_is_given_all_of_many_that_it_owns_in_pages(
    valkey_url: str, run_id: str
) -> None:
    """The fan-in is left out as long as an input of it was held, and has no data."""
    wide = 5 * pages.PAGE // 2
    middle, last = range(1, wide + 1), wide + 1
    store = ValkeyStorage(valkey_url)
    store.create(fan(run_id, wide, max_live=1))
    (begun,) = store.begin(run_id, [Start(0)], "t")
    assert begun is not None
    out = Arrival(0, b"x", False, (), tuple((child, 1) for child in middle), False)
    given = store.arrive(run_id, begun.lineage, out).here

    def begun_again() -> Lineage:
        store.expire(run_id, [0])
        (start,) = store.reap(run_id)
        (begun,) = store.begin(run_id, [start], f"t{start.epoch}")
        assert begun is not None
        return begun.lineage

    lineage = begun_again()
    mine = store.owned(run_id, lineage)
    assert [(one.segment, one.spec, one.inputs) for one in mine] == [
        (child, b"spec%d" % child, (DataRef(0, "0.1.t"),)) for child in middle
    ]
    assert [one.segment for one in given] == list(middle)
    assert mine[0].values == (b"x",)
    for child in middle[:-1]:
        store.arrive(run_id, lineage, Arrival(child, b"y", False, (0,), ((last, wide),), False))
    assert store.hold(run_id, lineage, wide, (last, wide), None) is not None
    lineage = begun_again()
    assert [one.segment for one in store.owned(run_id, lineage)] == [wide]
    store.arrive(run_id, lineage, Arrival(wide, b"y", False, (0,), ((last, wide),), False))
    (fan_in,) = store.owned(run_id, lineage)
    assert [ref.segment for ref in fan_in.inputs] == list(middle)
    assert {ref.version for ref in fan_in.inputs} == {"0.2.t2", "0.3.t3"}


def test_many_leases_are_extended_in_pages(valkey_url: str, run_id: str) -> None:
    wide = 5 * pages.PAGE // 2
    store = ValkeyStorage(valkey_url)
    store.create(NewRun(run_id, [b""] * wide, [()] * wide, [1] * wide, range(wide)))
    begun = store.begin(run_id, [Start(number) for number in range(wide)], "t")
    lineages = [one.lineage for one in begun if one is not None]
    assert store.beat(run_id, lineages) == []
    store.expire(run_id, [0, wide - 1])
    assert {start.segment for start in store.reap(run_id)} == {0, wide - 1}
    assert store.beat(run_id, lineages) == [0, wide - 1]
    store.stop(run_id, RunState.CANCELLED)
    assert store.beat(run_id, lineages) == list(range(wide))


def test_repeating_a_wide_arrival_counts_nothing_and_answers_the_same(
    valkey_url: str, run_id: str
) -> None:
    wide = 3 * pages.PAGE
    store = ValkeyStorage(valkey_url)
    store.create(
        NewRun(
            run_id,
            specs=[b""] * (wide + 1),
            inputs=[(), *[(0,)] * wide],
            references=[wide, *[1] * wide],
            leaves=[0],
        )
    )
    (begun,) = store.begin(run_id, [Start(0)], "t")
    assert begun is not None
    out = Arrival(0, b"x", False, (), tuple((child, 1) for child in range(1, wide + 1)), False)
    first = store.arrive(run_id, begun.lineage, out)
    assert len(first.handed_off) == wide - 1
    assert store.arrive(run_id, begun.lineage, out) == first
    counters = Valkey.from_url(valkey_url).get(f"w:{{{run_id}}}:cnt")
    assert struct.unpack(f">{wide + 1}I", counters) == (0, *[1] * wide)


def test_runs_of_a_cluster_are_on_all_its_nodes_and_followed_from_any(cluster_url: str) -> None:
    config = Config(store=Store(url=cluster_url))
    with Client(config, platform="threads", workers=2) as client:
        for _ in range(4):
            assert da.arange(64, chunks=4).sum().compute(scheduler=client) == 2016


def test_a_node_that_is_gone_is_looked_for_again(cluster_url: str, run_id: str) -> None:
    store = ValkeyStorage(cluster_url)
    store.create(NewRun(run_id, [b"a"], [()], [1], [0]))
    store.nodes._homes[key_slot(run_id.encode())] = Valkey(port=closed_port())
    (begun,) = store.begin(run_id, [Start(0)], "t")
    assert begun is not None
    store.close()


def test_after_a_store_has_lost_its_last_writes_nobody_works_in_an_epoch_that_is_given_again(
    valkey_url: str, run_id: str
) -> None:
    store, server = ValkeyStorage(valkey_url), Valkey.from_url(valkey_url)
    store.create(NewRun(run_id, [b"a"], [()], [1], [0]))
    before = {key: server.dump(key) for key in server.scan_iter(f"w:{{{run_id}}}:*")}
    (zombie,) = store.begin(run_id, [Start(0)], "t")
    for key, value in before.items():
        server.restore(key, 0, value, replace=True)
    (begun,) = store.begin(run_id, [Start(0)], "u")
    assert zombie is not None
    assert begun is not None
    assert zombie.lineage == begun.lineage, "the same epoch"
    last = Arrival(0, b"right", True, (), (), True)
    store.arrive(run_id, begun.lineage, last)
    with pytest.raises(Fenced):
        store.arrive(run_id, zombie.lineage, replace(last, output=b"wrong"))
    (ref,) = store.versions(run_id, [0])
    assert ref is not None
    assert store.read(run_id, [ref]) == [b"right"]


def test_a_wrong_password_is_one_clear_error_that_does_not_show_it(secured_url: str) -> None:
    store = ValkeyStorage(secured_url.replace("%401", "%402"))
    with pytest.raises(StorageError, match="WRONGPASS|password") as caught:
        store.ping()
    assert "word" not in str(caught.value).replace("password", "")


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(secured_url: str) -> None:
    with pytest.raises(StorageError, match="certificate"):
        ValkeyStorage(secured_url.partition("?")[0]).ping()
