"""What every storage back-end does: the rules of wukong/storage/interface.py, one test each.

The graph used is a diamond with a tail:

    0 ─┬─ 1 ─┐
       └─ 2 ─┴─ 3 (root)
"""

from __future__ import annotations

import uuid
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import until
from wukong.messages import Start
from wukong.storage import (
    Arrival,
    Begun,
    DataRef,
    Fenced,
    Lineage,
    NewRun,
    RunState,
    Storage,
    Unstored,
    shared_ref,
    values,
)
from wukong.storage.serialisation import loads, pack

DIAMOND = {
    "inputs": [(), (0,), (0,), (1, 2)],
    "references": [2, 1, 1, 1],
    "children": {0: ((1, 1), (2, 1)), 1: ((3, 2),), 2: ((3, 2),), 3: ()},
}


def diamond(run: str, **options: float) -> NewRun:
    return NewRun(
        run=run,
        specs=[b"spec0", b"spec1", b"spec2", b"spec3"],
        inputs=DIAMOND["inputs"],
        references=DIAMOND["references"],
        leaves=[0],
        **options,
    )


def arrival(segment: int, output: bytes = b"", last: bool = False) -> Arrival:
    return Arrival(
        segment=segment,
        output=output or f"out{segment}".encode(),
        root=segment == 3,
        inputs=DIAMOND["inputs"][segment],
        children=DIAMOND["children"][segment],
        last=last,
    )


def begin(storage: Storage, run: str, segment: int, epoch: int = 1, token: str = "a") -> Begun:
    (begun,) = storage.begin(run, [Start(segment, epoch)], token)
    assert begun is not None
    return begun


def forked(storage: Storage, run: str, **options: float) -> Lineage:
    """Create a diamond and have its leaf arrive: the lineage owns 1 now, and has handed 2 off."""
    storage.create(diamond(run, **options))
    lineage = begin(storage, run, 0).lineage
    storage.arrive(run, lineage, arrival(0))
    return lineage


def test_a_leaf_begins_with_its_specification(storage: Storage, run_id: str) -> None:
    storage.create(diamond(run_id))
    begun = begin(storage, run_id, 0)
    assert begun.lineage == Lineage(0, 1)
    assert begun.claim.spec == b"spec0"
    assert begun.claim.inputs == ()


def test_a_duplicate_invocation_does_not_begin(storage: Storage, run_id: str) -> None:
    storage.create(diamond(run_id))
    begin(storage, run_id, 0, token="first")
    assert storage.begin(run_id, [Start(0)], "second") == [None]


def test_the_same_invocation_may_begin_again_when_its_reply_was_lost(
    storage: Storage, run_id: str
) -> None:
    storage.create(diamond(run_id))
    assert begin(storage, run_id, 0) == begin(storage, run_id, 0)


def test_a_lineage_that_was_never_handed_off_does_not_begin(storage: Storage, run_id: str) -> None:
    storage.create(diamond(run_id))
    assert storage.begin(run_id, [Start(1)], "a") == [None]


def test_at_a_fan_out_one_child_stays_and_the_others_are_handed_off(
    storage: Storage, run_id: str
) -> None:
    storage.create(diamond(run_id))
    lineage = begin(storage, run_id, 0).lineage
    arrived = storage.arrive(run_id, lineage, arrival(0))
    assert [claim.segment for claim in arrived.here] == [1]
    assert arrived.here[0].spec == b"spec1"
    assert arrived.here[0].inputs == (DataRef(0, "0.1.a"),)
    assert arrived.handed_off == (Start(2),)


def test_above_the_most_lineages_alive_all_children_stay(storage: Storage, run_id: str) -> None:
    storage.create(diamond(run_id, max_live=1))
    lineage = begin(storage, run_id, 0).lineage
    arrived = storage.arrive(run_id, lineage, arrival(0))
    assert [claim.segment for claim in arrived.here] == [1, 2]
    assert arrived.handed_off == ()


def test_a_repeated_arrival_counts_nothing_and_answers_the_same(
    storage: Storage, run_id: str
) -> None:
    storage.create(diamond(run_id))
    lineage = begin(storage, run_id, 0).lineage
    first = storage.arrive(run_id, lineage, arrival(0))
    assert storage.arrive(run_id, lineage, arrival(0)) == first
    storage.arrive(run_id, lineage, arrival(1))
    again = storage.arrive(run_id, lineage, arrival(1))
    assert again.here == (), "one of two inputs, though it arrived twice"


def test_at_a_fan_in_the_last_to_arrive_carries_on(storage: Storage, run_id: str) -> None:
    one = forked(storage, run_id)
    two = begin(storage, run_id, 2, token="b").lineage
    assert storage.arrive(run_id, one, arrival(1, last=True)).here == ()
    arrived = storage.arrive(run_id, two, arrival(2))
    assert [claim.segment for claim in arrived.here] == [3]
    assert arrived.here[0].inputs == (DataRef(1, "0.1.a"), DataRef(2, "2.1.b"))


def test_data_is_deletable_when_its_last_consumer_has_arrived(
    storage: Storage, run_id: str
) -> None:
    one = forked(storage, run_id)
    two = begin(storage, run_id, 2, token="b").lineage
    assert storage.arrive(run_id, one, arrival(1)).deletable == ()
    arrived = storage.arrive(run_id, two, arrival(2))
    assert arrived.deletable == (DataRef(0, "0.1.a"),)
    assert storage.arrive(run_id, two, arrival(2)).deletable == arrived.deletable


def test_outputs_can_be_read_until_they_are_freed_after_their_last_consumer(
    storage: Storage, run_id: str
) -> None:
    storage.create(diamond(run_id))
    one = begin(storage, run_id, 0).lineage
    storage.arrive(run_id, one, arrival(0, b"value"))
    assert storage.versions(run_id, [0, 3]) == [DataRef(0, "0.1.a"), None]
    ref = DataRef(0, "0.1.a")
    storage.free(run_id, [ref])
    assert storage.read(run_id, [ref, DataRef(3, "9.9.a")]) == [b"value", None]
    two = begin(storage, run_id, 2, token="b").lineage
    storage.arrive(run_id, one, arrival(1))
    storage.arrive(run_id, two, arrival(2))
    assert storage.read(run_id, [ref]) == [b"value"]
    storage.arrive(run_id, two, replace(arrival(3), garbage=(ref,)))
    assert storage.read(run_id, [ref]) == [None]


def test_data_is_freed_when_the_run_has_ended_too(storage: Storage, run_id: str) -> None:
    one = forked(storage, run_id)
    two = begin(storage, run_id, 2).lineage
    storage.arrive(run_id, one, arrival(1))
    storage.arrive(run_id, two, arrival(2))
    storage.stop(run_id, RunState.DONE)
    storage.free(run_id, [DataRef(0, "0.1.a")])
    assert storage.read(run_id, [DataRef(0, "0.1.a")]) == [None]
    storage.drop(run_id)
    storage.free(run_id, [DataRef(0, "0.1.a")])


def test_what_specifications_share_is_there_until_the_run_is_dropped(
    storage: Storage, run_id: str
) -> None:
    blobs = [b"small", pack(np.arange(50_000))]
    storage.create(replace(diamond(run_id), shared=blobs))
    refs = [shared_ref(0), shared_ref(1)]
    assert [bytes(one or b"") for one in storage.read(run_id, refs)] == list(map(bytes, blobs))
    storage.drop(run_id)
    assert storage.read(run_id, refs) == [None, None]


@pytest.mark.parametrize("chunk", [1 << 30, 70_000], ids=["one string", "chunks"])
def test_a_large_output_is_stored_read_claimed_and_dropped_like_any_other(
    storage: Storage, run_id: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "CHUNK_BYTES", chunk)
    value = np.arange(50_000)
    storage.create(diamond(run_id))
    lineage = begin(storage, run_id, 0).lineage
    large = replace(arrival(0), output=pack([value, value + 1]))
    for _ in range(2):
        arrived = storage.arrive(run_id, lineage, large)
    assert [claim.segment for claim in arrived.here] == [1]
    assert begin(storage, run_id, 2, token="b").claim.values == (None,)
    ref, missing = DataRef(0, "0.1.a"), DataRef(0, "0.2.a")
    data, nothing = storage.read(run_id, [ref, missing])
    assert data is not None
    assert np.array_equal(loads(data), [value, value + 1])
    assert nothing is None
    storage.drop(run_id)
    assert storage.read(run_id, [ref]) == [None]


def test_the_client_is_told_of_roots_without_consuming_the_news(
    storage: Storage, run_id: str
) -> None:
    one = forked(storage, run_id)
    storage.arrive(run_id, one, arrival(1))
    two = begin(storage, run_id, 2, token="b").lineage
    storage.arrive(run_id, two, arrival(2))
    storage.arrive(run_id, two, arrival(3, last=True))
    for _ in range(2):
        news = storage.news(run_id, "", 5.0)
        assert news.roots == (3,)
    assert storage.news(run_id, news.bookmark, 0.01).roots == ()


def test_an_expired_lease_is_reaped_into_the_next_epoch_which_owns_the_same(
    storage: Storage, run_id: str
) -> None:
    forked(storage, run_id, lease_seconds=0.05)
    reaped: list[Start] = []
    until(lambda: bool(reaped.extend(storage.reap(run_id)) or reaped), "the lease to expire")
    assert Start(0, 2) in reaped
    alive = begin(storage, run_id, 0, epoch=2, token="new").lineage
    assert alive == Lineage(0, 2)
    assert [claim.segment for claim in storage.owned(run_id, alive)] == [1]


def test_what_a_lineage_has_handed_off_is_known_until_somebody_begins_it(
    storage: Storage, run_id: str
) -> None:
    storage.create(diamond(run_id))
    lineage = begin(storage, run_id, 0).lineage
    assert storage.unbegun(run_id, lineage) == []
    storage.arrive(run_id, lineage, arrival(0))
    assert storage.unbegun(run_id, lineage) == [Start(2)]
    storage.expire(run_id, [0, 2])
    assert set(storage.reap(run_id)) == {Start(0, 2), Start(2)}
    again = begin(storage, run_id, 0, epoch=2, token="new").lineage
    assert storage.unbegun(run_id, again) == [Start(2)], "whichever attempt it was"
    other = begin(storage, run_id, 2).lineage
    assert storage.unbegun(run_id, again) == storage.unbegun(run_id, other) == []


def test_the_lease_of_an_executor_that_is_known_to_be_dead_is_over_at_once(
    storage: Storage, run_id: str
) -> None:
    storage.create(diamond(run_id))
    begin(storage, run_id, 0)
    assert storage.reap(run_id) == []
    storage.expire(run_id, [0, 1, 2, 3])
    assert storage.reap(run_id) == [Start(0, 2)], "the others have no lease"


def test_a_lineage_that_is_passed_on_belongs_to_its_next_epoch(
    storage: Storage, run_id: str
) -> None:
    first = forked(storage, run_id)
    assert storage.pass_on(run_id, first) == Start(0, 2)
    with pytest.raises(Fenced):
        storage.pass_on(run_id, first)
    with pytest.raises(Fenced):
        storage.arrive(run_id, first, arrival(1))
    assert storage.reap(run_id) == [], "it is waiting to begin"
    second = begin(storage, run_id, 0, epoch=2, token="new").lineage
    assert second == Lineage(0, 2)
    assert [claim.segment for claim in storage.owned(run_id, second)] == [1]


def test_who_has_passed_a_lineage_on_can_neither_hold_nor_own(
    storage: Storage, run_id: str
) -> None:
    first = forked(storage, run_id)
    second = begin(storage, run_id, 2).lineage
    storage.arrive(run_id, second, arrival(2))
    storage.pass_on(run_id, first)
    with pytest.raises(Fenced):
        storage.hold(run_id, first, 1, (3, 2), None)
    with pytest.raises(Fenced):
        storage.owned(run_id, first)


def test_who_does_not_know_its_past_can_neither_arrive_nor_finish(
    storage: Storage, run_id: str
) -> None:
    first = forked(storage, run_id)
    live = storage.status(run_id).live
    with pytest.raises(Fenced):
        storage.arrive(run_id, first, replace(arrival(1), after=3))
    storage.finish(run_id, first, 3)
    assert storage.status(run_id).live == live
    storage.finish(run_id, first, 0)
    assert storage.status(run_id).live == live - 1


def test_a_hand_off_that_never_began_is_sent_again_in_the_same_epoch(
    storage: Storage, run_id: str
) -> None:
    storage.create(diamond(run_id, handoff_seconds=0.05))
    reaped: list[Start] = []
    until(lambda: bool(reaped.extend(storage.reap(run_id)) or reaped), "the lease to expire")
    assert reaped[0] == Start(0, 1), "both events are good; the first to begin gets in"
    assert storage.status(run_id).begun == 0
    assert begin(storage, run_id, 0).lineage == Lineage(0, 1)
    assert storage.begin(run_id, [Start(0, 1)], "the other") == [None]
    assert storage.status(run_id).begun == 1


def test_a_zombie_is_fenced_and_its_data_is_never_official(storage: Storage, run_id: str) -> None:
    storage.create(diamond(run_id, lease_seconds=0.05))
    zombie = begin(storage, run_id, 0).lineage
    until(lambda: bool(storage.reap(run_id)), "the lease to expire")
    alive = begin(storage, run_id, 0, epoch=2, token="new").lineage
    with pytest.raises(Fenced):
        storage.arrive(run_id, zombie, arrival(0, b"from the zombie"))
    storage.arrive(run_id, alive, arrival(0, b"official"))
    (ref,) = storage.versions(run_id, [0])
    assert ref is not None
    assert storage.read(run_id, [ref]) == [b"official"]


def stored(storage: Storage, run: str, lineage: Lineage) -> list[bytes | None]:
    """Give what a lineage has stored as the first output."""
    return [data and bytes(data) for data in storage.read(run, [DataRef(0, lineage.version)])]


def test_an_output_that_came_too_late_does_not_stay(storage: Storage, run_id: str) -> None:
    storage.create(diamond(run_id, lease_seconds=0.05))
    zombie = begin(storage, run_id, 0).lineage
    until(lambda: bool(storage.reap(run_id)), "the lease to expire")
    begin(storage, run_id, 0, epoch=2, token="new")
    assert storage.arrive_all(run_id, [(zombie, arrival(0, b"too late"))]) == [None]
    assert stored(storage, run_id, zombie) == [None]


def test_an_output_of_a_run_that_was_dropped_does_not_stay(storage: Storage, run_id: str) -> None:
    storage.create(diamond(run_id))
    lineage = begin(storage, run_id, 0).lineage
    storage.stop(run_id, RunState.CANCELLED)
    assert storage.arrive_all(run_id, [(lineage, arrival(0))]) == [None]
    storage.drop(run_id)
    assert storage.arrive_all(run_id, [(lineage, arrival(0))]) == [None]
    assert stored(storage, run_id, lineage) == [None]


@pytest.mark.parametrize("is_over", [False, True])
def test_an_official_output_stays_though_its_arrival_comes_again_too_late(
    storage: Storage, run_id: str, is_over: bool
) -> None:
    lineage = forked(storage, run_id, lease_seconds=0.05)
    if is_over:
        storage.stop(run_id, RunState.DONE)
    else:
        until(lambda: Start(0, 2) in storage.reap(run_id), "the lease to expire")
        begin(storage, run_id, 0, epoch=2, token="new")
    assert storage.arrive_all(run_id, [(lineage, arrival(0))]) == [None]
    assert stored(storage, run_id, lineage) == [b"out0"]


def test_a_beat_keeps_the_lease_and_tells_who_was_fenced(storage: Storage, run_id: str) -> None:
    storage.create(diamond(run_id))
    lineage = begin(storage, run_id, 0).lineage
    assert storage.beat(run_id, [lineage, Lineage(0, 7)]) == [0]
    assert storage.reap(run_id) == []


def test_a_finished_lineage_is_neither_alive_nor_begun_again(storage: Storage, run_id: str) -> None:
    lineage = forked(storage, run_id)
    storage.arrive(run_id, lineage, arrival(1, last=True))
    assert storage.status(run_id).live == 1, "segment 2 is handed off"
    assert storage.begin(run_id, [Start(0)], "late") == [None]
    storage.finish(run_id, lineage, None)


def test_the_first_failure_wins_and_stops_everybody(storage: Storage, run_id: str) -> None:
    storage.create(diamond(run_id))
    lineage = begin(storage, run_id, 0).lineage
    assert storage.stop(run_id, RunState.FAILED, b"first")
    assert not storage.stop(run_id, RunState.FAILED, b"second")
    assert not storage.stop(run_id, RunState.CANCELLED)
    assert storage.failure(run_id) == b"first"
    assert storage.news(run_id, "", 5.0).ended is RunState.FAILED
    with pytest.raises(Fenced):
        storage.arrive(run_id, lineage, arrival(0))
    assert storage.begin(run_id, [Start(0)], "a") == [None]
    assert storage.beat(run_id, [lineage]) == [0]
    assert storage.reap(run_id) == []


def test_batches_for_the_invoker_are_kept(storage: Storage, run_id: str) -> None:
    storage.create(diamond(run_id))
    storage.put_batch(run_id, "b", b"events")
    assert storage.get_batch(run_id, "b") == b"events"
    assert storage.get_batch(run_id, "none") is None


def test_notes_are_kept_in_order_until_the_run_is_dropped(storage: Storage, run_id: str) -> None:
    storage.create(diamond(run_id))
    assert storage.notes(run_id) == []
    blobs = [b"note %d" % number for number in range(300)]
    for blob in blobs:
        storage.note(run_id, blob)
    assert storage.notes(run_id) == blobs
    storage.drop(run_id)
    assert storage.notes(run_id) == []


def test_a_note_of_a_run_that_is_not_there_leaves_nothing(storage: Storage, run_id: str) -> None:
    storage.note(run_id, b"late")
    assert storage.notes(run_id) == []


def test_nothing_of_a_dropped_run_is_left(storage: Storage, run_id: str) -> None:
    forked(storage, run_id)
    storage.drop(run_id)
    assert storage.status(run_id).state is None
    assert storage.read(run_id, [DataRef(0, "0.1.a")]) == [None]
    assert storage.begin(run_id, [Start(0)], "a") == [None]


def test_runs_do_not_see_one_another(storage: Storage, run_id: str) -> None:
    storage.create(diamond(run_id))
    storage.create(diamond(run_id + "other"))
    lineage = begin(storage, run_id, 0).lineage
    storage.arrive(run_id, lineage, arrival(0))
    assert storage.status(run_id).done == 1
    assert storage.status(run_id + "other").done == 0


def test_a_child_that_waits_for_one_output_alone_is_owned_before_that_is_stored(
    storage: Storage, run_id: str
) -> None:
    first = forked(storage, run_id)
    second = begin(storage, run_id, 2).lineage
    assert storage.hold(run_id, first, 1, (3, 2), 0) is None, "it waits for 2 as well"
    storage.arrive(run_id, first, arrival(1, last=True))
    claim = storage.hold(run_id, second, 2, (3, 2), None)
    assert claim is not None
    assert (claim.segment, claim.spec) == (3, b"spec3")
    assert storage.hold(run_id, second, 2, (3, 2), None) == claim, "its reply was lost"
    assert storage.status(run_id).done == 2
    whole = replace(arrival(3, last=True), held=(Unstored(2, (0,)),))
    arrived = storage.arrive(run_id, second, whole)
    # 2 has no data that could be deleted.
    assert arrived.deletable == (DataRef(0, "0.1.a"), DataRef(1, "0.1.a"))
    assert storage.versions(run_id, [2]) == [None]
    assert storage.status(run_id).done == 4


def test_what_a_lost_executor_held_is_computed_again_and_its_child_is_still_owned(
    storage: Storage, run_id: str
) -> None:
    first = forked(storage, run_id)
    second = begin(storage, run_id, 2).lineage
    storage.arrive(run_id, first, arrival(1, last=True))
    assert storage.hold(run_id, second, 2, (3, 2), None) is not None
    storage.expire(run_id, [2])
    until(lambda: Start(2, 2) in storage.reap(run_id), "the lease's end")
    again = begin(storage, run_id, 2, epoch=2, token="b").lineage
    with pytest.raises(Fenced):
        storage.hold(run_id, second, 2, (3, 2), None)
    assert [claim.segment for claim in storage.owned(run_id, again)] == [2], "3 has no input yet"
    arrived = storage.arrive(run_id, again, arrival(2))
    assert [claim.segment for claim in arrived.here] == [3]


def test_who_comes_second_reaps_only_leases_that_have_long_been_over(
    storage: Storage, run_id: str
) -> None:
    storage.create(diamond(run_id, lease_seconds=0.05))
    begin(storage, run_id, 0)
    storage.expire(run_id, [0])
    assert storage.reap(run_id, late_seconds=600.0) == []
    until(lambda: Start(0, 2) in storage.reap(run_id), "the lease's end")


def test_a_store_lists_the_runs_that_it_has(storage: Storage) -> None:
    ids = [uuid.uuid4().hex for _ in range(20)]
    for run in ids:
        storage.create(NewRun(run, [b"spec"], [()], [1], [0]))
    assert set(ids) <= set(storage.runs())
    storage.drop(ids[0])
    assert ids[0] not in storage.runs()
