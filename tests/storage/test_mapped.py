"""Large outputs in shared memory: who may see what, and when files go."""

from __future__ import annotations

import fcntl
import mmap
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.storage.test_contract import arrival, begin, diamond
from wukong.stack import shared_memory
from wukong.stack.shared_memory import SharedFolder
from wukong.stack.valkey import EmbeddedValkey
from wukong.storage import Arrival, DataRef, Lineage, RunState
from wukong.storage.mapped import FOLDER, FORGOTTEN_SECONDS, MAPPED_BYTES, MappedValues
from wukong.storage.serialisation import loads, pack
from wukong.storage.valkey import ValkeyStorage

LARGE = np.arange(MAPPED_BYTES // 8 + 1)

pytestmark = pytest.mark.skipif(
    not os.access(shared_memory.SHARED_MEMORY, os.W_OK), reason="this system has no shared memory"
)


@pytest.fixture
def store(valkey_url: str) -> Iterator[ValkeyStorage]:
    storage = ValkeyStorage(valkey_url)
    yield storage
    storage.close()


@pytest.fixture
def folder(valkey_url: str) -> Path:
    return Path(valkey_url.removeprefix("unix://")).parent / FOLDER


def large(segment: int) -> Arrival:
    done = arrival(segment)
    return Arrival(
        segment, pack(LARGE), root=done.root, inputs=done.inputs, children=done.children, last=False
    )


def begun_with_large(store: ValkeyStorage, run: str) -> Lineage:
    """Have the diamond's first output arrive, which is large."""
    store.create(diamond(run))
    lineage = begin(store, run, 0).lineage
    store.arrive(run, lineage, large(0))
    return lineage


def test_a_large_output_is_a_file_and_is_read_from_it(
    store: ValkeyStorage, folder: Path, run_id: str
) -> None:
    begun_with_large(store, run_id)
    assert [file.name for file in (folder / run_id).iterdir()] == ["0.0.1.a"]
    (data,) = store.read(run_id, [DataRef(0, "0.1.a")])
    assert isinstance(data, mmap.mmap)
    np.testing.assert_array_equal(loads(data), LARGE)


def test_who_changes_what_was_read_changes_it_for_nobody_else(
    store: ValkeyStorage, run_id: str
) -> None:
    begun_with_large(store, run_id)
    (first,) = store.read(run_id, [DataRef(0, "0.1.a")])
    value = loads(first or b"")
    value += 1
    (second,) = store.read(run_id, [DataRef(0, "0.1.a")])
    np.testing.assert_array_equal(loads(second or b""), LARGE)


def test_a_file_that_came_too_late_does_not_stay_unless_it_is_official(
    store: ValkeyStorage, folder: Path, run_id: str
) -> None:
    lineage = begun_with_large(store, run_id)
    store.stop(run_id, RunState.CANCELLED)
    assert store.arrive_all(run_id, [(lineage, large(0)), (lineage, large(1))]) == [None, None]
    assert [file.name for file in (folder / run_id).iterdir()] == ["0.0.1.a"]
    store.drop(run_id)
    assert store.arrive_all(run_id, [(lineage, large(0))]) == [None]
    assert not (folder / run_id).exists()


def test_small_and_large_outputs_are_read_together(store: ValkeyStorage, run_id: str) -> None:
    lineage = begun_with_large(store, run_id)
    store.arrive(run_id, lineage, arrival(1))
    refs = [DataRef(1, "0.1.a"), DataRef(0, "0.1.a"), DataRef(2, "0.1.a")]
    small, mapped, missing = store.read(run_id, refs)
    assert (small, missing) == (b"out1", None)
    assert isinstance(mapped, mmap.mmap)


def test_a_file_goes_with_the_last_reader_of_its_output_and_not_before(
    store: ValkeyStorage, folder: Path, run_id: str
) -> None:
    lineage = begun_with_large(store, run_id)
    ref = DataRef(0, "0.1.a")
    store.arrive(run_id, lineage, arrival(1))
    store.free(run_id, [ref])
    assert list((folder / run_id).iterdir())
    (mapped,) = store.read(run_id, [ref])
    other = begin(store, run_id, 2, token="b").lineage
    arrived = store.arrive(run_id, other, arrival(2))
    assert arrived.deletable == (ref,)
    store.free(run_id, arrived.deletable)
    assert not list((folder / run_id).iterdir())
    np.testing.assert_array_equal(loads(mapped or b""), LARGE)


def test_garbage_that_rides_along_takes_its_file_with_it(
    store: ValkeyStorage, folder: Path, run_id: str
) -> None:
    lineage = begun_with_large(store, run_id)
    store.arrive(run_id, lineage, arrival(1))
    other = begin(store, run_id, 2, token="b").lineage
    arrived = store.arrive(run_id, other, arrival(2))
    last = Arrival(
        3, b"out3", root=True, inputs=(1, 2), children=(), last=True, garbage=arrived.deletable
    )
    store.arrive(run_id, other, last)
    assert not list((folder / run_id).iterdir())


def test_dropping_a_run_deletes_its_files(store: ValkeyStorage, folder: Path, run_id: str) -> None:
    begun_with_large(store, run_id)
    store.drop(run_id)
    assert not (folder / run_id).exists()


def test_without_room_the_server_takes_the_output(
    store: ValkeyStorage, folder: Path, run_id: str
) -> None:
    (folder / run_id).write_text("where the folder would be")
    try:
        begun_with_large(store, run_id)
        (data,) = store.read(run_id, [DataRef(0, "0.1.a")])
        np.testing.assert_array_equal(loads(data or b""), LARGE)
    finally:
        (folder / run_id).unlink()


def test_files_of_runs_that_have_expired_go_when_another_is_created(
    store: ValkeyStorage, folder: Path, run_id: str
) -> None:
    expired, new = uuid.uuid4().hex, uuid.uuid4().hex
    begun_with_large(store, run_id)
    (folder / expired).mkdir()
    (folder / new).mkdir()
    for run in (run_id, expired):
        os.utime(folder / run, (0, 0))
    assert FORGOTTEN_SECONDS > 0
    store.create(diamond(uuid.uuid4().hex))
    assert (folder / run_id).exists()
    assert (folder / new).exists()
    assert not (folder / expired).exists()


def test_a_server_without_a_folder_keeps_everything(tmp_path: Path) -> None:
    assert MappedValues.beside(f"unix://{tmp_path}/valkey.sock") is None
    assert MappedValues.beside("valkey://localhost:6379") is None


def test_a_folder_that_others_may_enter_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir(mode=0o700)
    assert MappedValues.beside(f"unix://{tmp_path}/valkey.sock") is not None
    folder.chmod(0o755)
    assert MappedValues.beside(f"unix://{tmp_path}/valkey.sock") is None


def test_what_is_no_run_is_never_forgotten(tmp_path: Path) -> None:
    run = uuid.uuid4().hex
    for name in ("precious", run):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    assert MappedValues(tmp_path).forgotten() == [run]


def test_shared_memory_goes_with_the_server_that_it_is_for() -> None:
    with EmbeddedValkey() as server:
        folder = (Path(server.url.removeprefix("unix://")).parent / FOLDER).resolve()
        assert folder.is_dir()
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_what_a_killed_owner_left_is_swept_and_what_a_living_one_has_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, "SHARED_MEMORY", tmp_path)
    left, theirs = tmp_path / "wukong-left", tmp_path / "wukong-theirs"
    left.mkdir()
    living = SharedFolder(theirs)
    other = tmp_path / "not-ours"
    other.mkdir()
    mine = SharedFolder.make("wukong-mine")
    assert mine is not None
    assert {one.name for one in tmp_path.iterdir()} == {"wukong-theirs", "wukong-mine", "not-ours"}
    living.remove()
    mine.remove()
    assert [one.name for one in tmp_path.iterdir()] == ["not-ours"]


def test_an_owner_that_has_died_holds_no_lock(tmp_path: Path) -> None:
    folder = tmp_path / "wukong-dead"
    child = os.fork()
    if child == 0:
        SharedFolder(folder)
        os._exit(0)
    os.waitpid(child, 0)
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)
