"""What Executors note of themselves, with the real driver and store."""

from __future__ import annotations

from dataclasses import replace

from executor.driver import Driver
from tests.executor.test_driver import Recorder, event, execute, fork
from wukong.messages import Reason, Start
from wukong.storage.memory import MemoryStorage
from wukong.storage.notes import Note, Place, Way


def notes(storage: MemoryStorage) -> list[Note]:
    return [Note.from_bytes(blob) for blob in storage.notes("run")]


def test_an_executor_notes_its_segments_and_how_their_inputs_came() -> None:
    storage = MemoryStorage()
    storage.create(fork("run"))
    first = execute(storage, Start(0))
    (note,) = notes(storage)
    assert list(note.steps["segment"]) == [0, 1]
    assert list(note.steps["inputs"]) == [0, 1]
    assert list(note.ways) == [Way.MEMORY]
    assert note.steps["written"][0] > 5000
    assert note.lineages == (Start(0),)
    assert (note.parent, note.reason) == ("", Reason.LEAF)
    assert list(note.hand_offs["count"]) == [1]

    (asked,) = first.events
    Driver(asked, storage, Recorder).execute()
    second = notes(storage)[1]
    assert (second.parent, second.reason, second.hop) == (note.token, Reason.FAN_OUT, 1)
    assert list(second.steps["segment"]) == [2]
    assert second.ways[0] in {Way.STORE, Way.PROCESS}
    assert second.traffic[second.ways[0]] == note.steps["written"][0]


def test_the_times_of_a_segment_follow_one_another() -> None:
    storage = MemoryStorage()
    storage.create(fork("run"))
    execute(storage, Start(0))
    (note,) = notes(storage)
    rows = zip(*note.steps.values(), strict=True)
    for row in rows:
        one = dict(zip(note.steps, row, strict=True))
        assert one["ready"] <= one["began"] <= one["computing"] <= one["arrived"] <= note.ended
        assert one["computing"] + one["compute"] + one["pack"] <= one["arrived"] + 1e-6


def test_a_segment_that_fails_is_noted_and_never_arrived() -> None:
    storage = MemoryStorage()
    new = fork("run")
    storage.create(replace(new, specs=[b"no specification", *new.specs[1:]]))
    execute(storage, Start(0))
    (note,) = notes(storage)
    assert note.failed == 0
    assert list(note.steps["arrived"]) == [-1.0]


def test_a_duplicate_notes_nothing() -> None:
    storage = MemoryStorage()
    storage.create(fork("run"))
    storage.begin("run", [Start(0)], "other")
    execute(storage, Start(0))
    assert storage.notes("run") == []


def test_a_run_without_a_record_notes_nothing() -> None:
    storage = MemoryStorage()
    storage.create(fork("run"))
    Driver(replace(event(Start(0)), record=False), storage, Recorder).execute()
    assert storage.notes("run") == []
    assert storage.versions("run", [1]) != [None]


def test_a_note_is_read_as_it_was_written() -> None:
    place = Place("f:3", 3008, "request", "stream", 1.5, 2)
    storage = MemoryStorage()
    storage.create(fork("run"))
    Driver(event(Start(0)), storage, Recorder, place=place).execute()
    (note,) = notes(storage)
    assert note.place == place
    assert Note.from_bytes(note.to_bytes()) == note
