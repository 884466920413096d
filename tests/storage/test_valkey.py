"""What is particular to the Valkey back-end: reaching it, its keys, wide graphs."""

from __future__ import annotations

import socket

import pytest
from valkey import Valkey

from wukong.messages import Start
from wukong.storage import Arrival, NewRun, StorageError, open_storage
from wukong.storage.valkey import ValkeyStorage


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_unreachable_store_is_one_clear_error_without_the_password() -> None:
    store = ValkeyStorage(f"valkey://me:secret@127.0.0.1:{closed_port()}")
    with pytest.raises(StorageError, match="cannot be reached") as caught:
        store.ping()
    assert "secret" not in str(caught.value)
    assert "WUKONG_STORE_URL" in str(caught.value)


def test_an_unknown_url_names_the_schemes_there_are() -> None:
    with pytest.raises(StorageError, match="no back-end for 'http://'"):
        open_storage("http://somewhere")


def test_every_key_of_a_run_has_a_time_to_live(valkey_url: str, run_id: str) -> None:
    store = ValkeyStorage(valkey_url)
    store.create(NewRun(run_id, [b"a", b"b"], [(), ()], [1, 1], [0, 1], keep_seconds=600))
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
    store.create(NewRun(run_id, [b"a"], [()], [1], [0]))
    (begun,) = store.begin(run_id, [Start(0)], "t")
    assert begun is not None
    store.arrive(run_id, begun.lineage, Arrival(0, b"x", True, (), (), True))
    store.put_batch(run_id, "b", b"events")
    store.drop(run_id)
    assert list(Valkey.from_url(valkey_url).scan_iter(f"w:{{{run_id}}}:*")) == []


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
    store.create(
        NewRun(
            run_id,
            specs=[b""] * (wide + 2),
            inputs=[(), *[(0,)] * wide, tuple(middle)],
            references=[wide, *[1] * wide, 1],
            leaves=[0],
            max_live=1,
        )
    )
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
