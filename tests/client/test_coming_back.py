"""Results that outlive a call: persisted collections, runs in the background, lost clients."""

from __future__ import annotations

import gc
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pytest

import wukong
from tests.conftest import until
from wukong.config import Config, Store
from wukong.failing import RunCancelledError
from wukong.platform.stored import StoredError
from wukong.runs import Run
from wukong.storage import RunState, open_storage
from wukong.submission import Manifest, RunError


@pytest.fixture(scope="module", params=["threads", "local"])
def client(request: pytest.FixtureRequest, valkey_url: str) -> Iterator[wukong.Client]:
    config = Config(store=Store(url=valkey_url))
    with wukong.Client(config, platform=request.param, workers=2) as client:
        yield client


def counted(path: Path) -> Any:
    """Make an array whose chunks leave a mark when they are computed."""

    def mark(block: Any) -> Any:
        with path.open("a") as file:
            file.write("x")
        return block + 1

    return da.zeros((8, 8), chunks=4).map_blocks(mark, dtype=float, meta=np.zeros((0, 0)))


def test_a_persisted_array_is_computed_once_and_stays_in_the_store(
    client: wukong.Client, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    x = counted(marks).persist()
    before = marks.read_text()
    assert before
    assert (x.sum().compute(), x.mean().compute()) == (64.0, 1.0)
    assert marks.read_text() == before
    assert not any(isinstance(task, np.ndarray) for task in x.dask.values())


def test_every_kind_of_collection_can_be_persisted(client: wukong.Client) -> None:
    number = dask.delayed(operator.add)(1, 2)
    array, bag, delayed = dask.persist(da.ones(6, chunks=3), db.range(6, npartitions=2), number)
    assert array.sum().compute() == 6
    assert bag.sum().compute() == 15
    assert dask.delayed(operator.mul)(delayed, 2).compute() == 6


def test_a_persisted_collection_can_be_computed_without_wukong(client: wukong.Client) -> None:
    x = da.arange(10, chunks=5).persist()
    assert x.sum().compute(scheduler="sync") == 45


def test_what_nobody_refers_to_any_more_leaves_the_store(
    client: wukong.Client, valkey_url: str
) -> None:
    x = client.persist(da.ones(4, chunks=2))
    run = next(arg.run for task in x.dask.values() for arg in task.args if hasattr(arg, "run"))
    store = open_storage(valkey_url)
    assert store.status(run).state is RunState.DONE
    del x
    gc.collect()
    until(lambda: store.status(run).state is None, "the run to go")
    store.close()


def test_what_is_kept_leaves_the_store_when_its_client_is_closed(valkey_url: str) -> None:
    config = Config(store=Store(url=valkey_url))
    with wukong.Client(config, platform="threads", workers=1) as client:
        x = client.persist(da.ones(4, chunks=2))
        (run,) = {arg.run for task in x.dask.values() for arg in task.args if hasattr(arg, "run")}
    store = open_storage(valkey_url)
    assert store.status(run).state is None
    store.close()
    with pytest.raises(StoredError, match="its client ended"):
        x.compute(scheduler="sync")


def test_garbage_that_is_found_in_the_middle_of_a_call_to_the_store_ends_that_call(
    valkey_url: str,
) -> None:
    config = Config(store=Store(url=valkey_url))
    with wukong.Client(config, platform="threads", workers=1) as client:
        storage: Any = client._connect()[0]
        pool = storage.nodes._seed.connection_pool
        make_connection = pool.make_connection

        def collecting() -> Any:
            gc.collect()
            return make_connection()

        box: dict[str, Any] = {"x": client.persist(da.ones(4, chunks=2))}
        (run,) = {
            arg.run for task in box["x"].dask.values() for arg in task.args if hasattr(arg, "run")
        }
        box["box"] = box
        gc.disable()
        try:
            del box
            pool.make_connection = collecting
            pool._available_connections.clear()
            asking = threading.Thread(target=storage.ping, daemon=True)
            asking.start()
            asking.join(20)
            assert not asking.is_alive(), "it waits for itself"
        finally:
            gc.enable()
        until(lambda: storage.status(run).state is None, "the run to go")


def test_a_persisted_value_that_is_gone_is_named(client: wukong.Client, valkey_url: str) -> None:
    x = client.persist(da.ones(4, chunks=2))
    run = next(arg.run for task in x.dask.values() for arg in task.args if hasattr(arg, "run"))
    store = open_storage(valkey_url)
    store.drop(run)
    store.close()
    with pytest.raises(StoredError, match="persist it again"):
        x.sum().compute()


def test_a_collection_is_computed_in_the_background(client: wukong.Client) -> None:
    future = client.compute(da.ones((6, 6), chunks=3).sum())
    assert future.run
    assert future.result() == 36.0


def test_an_error_in_the_background_is_the_futures(client: wukong.Client) -> None:
    future = client.compute(dask.delayed(operator.truediv)(1, 0))
    with pytest.raises(ZeroDivisionError):
        future.result()


def half(number: int) -> float:
    if number < 0:
        raise ValueError(f"{number} is not to be halved")
    return number / 2


@pytest.fixture
def nobody_follows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever begins calls does not follow them, as if it had been killed."""
    is_over = threading.Event()
    advance = Run.advance

    def hang(run: Run, seconds: float, on_done: Any = None) -> bool:
        if on_done is None:
            return advance(run, seconds)
        is_over.wait()
        raise RunError("nobody followed it")

    monkeypatch.setattr(Run, "advance", hang)
    yield
    is_over.set()


@pytest.mark.usefixtures("nobody_follows")
@pytest.mark.parametrize("count", [1, 30])
def test_who_comes_back_to_a_map_is_given_its_values_in_the_order_of_its_calls(
    client: wukong.Client, count: int
) -> None:
    found = client.map(half, range(count))
    assert client.attach(found[0].run).result(60) == [number / 2 for number in range(count)]


@pytest.mark.usefixtures("nobody_follows")
def test_who_comes_back_to_one_call_is_given_its_value_or_its_error(client: wukong.Client) -> None:
    assert client.attach(client.submit(half, 3).run).result(60) == 1.5
    with pytest.raises(ValueError, match="-1 is not to be halved"):
        client.attach(client.submit(half, -1).run).result(60)


def test_a_run_that_the_store_does_not_have_cannot_be_attached(client: wukong.Client) -> None:
    future = client.attach("0" * 32)
    with pytest.raises(RunError, match="no run 0000"):
        future.result()
    with pytest.raises(RunError):
        _ = future.run


def test_who_comes_back_to_a_run_has_what_is_left_of_its_deadline(client: wukong.Client) -> None:
    future = client.compute(dask.delayed(time.sleep)(5), deadline=3600)
    storage, platform = client._connect()
    written = Manifest.from_bytes(storage.manifest(future.run) or b"")
    assert written.until is not None
    assert abs(written.until - time.time() - 3600) < 600
    late = replace(written, until=time.time() - 1)
    with mock.patch.object(storage, "manifest", return_value=late.to_bytes()):
        back = Run.attach(future.run, storage, platform)
    with pytest.raises(RunCancelledError, match="deadline of 3600 s"):
        back.wait()
    with pytest.raises(RunError):
        future.result()


LOST = """
import pathlib, signal, sys, time
import dask, numpy as np, dask.array as da
import wukong
from wukong.config import Config, RunOptions, Store
from wukong.platform.local import LocalPlatform

def held(block, gate):
    while not pathlib.Path(gate).exists():
        time.sleep(0.01)
    return block + 1

if __name__ == "__main__":
    # What waits in its queue is lost with it.
    LocalPlatform.handoff_seconds = 2.0
    config = Config(store=Store(url=sys.argv[1]), run=RunOptions(lease_seconds=2))
    client = wukong.Client(config, platform="local", workers=2)
    zeros = da.zeros((8, 8), chunks=2)
    x = zeros.map_blocks(held, sys.argv[2], dtype=float, meta=np.zeros((0, 0)))
    print(client.compute(x.sum()).run, flush=True)
    signal.pause()
"""


def test_another_client_comes_back_to_the_run_of_one_that_was_killed(
    client: wukong.Client, valkey_url: str, tmp_path: Path
) -> None:
    """Its workers end with it, so what they had begun is begun again."""
    program, gate = tmp_path / "lost.py", tmp_path / "gate"
    program.write_text(LOST)
    lost = subprocess.Popen(
        [sys.executable, program, valkey_url, gate],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert lost.stdout is not None
    run = lost.stdout.readline().strip()
    store = open_storage(valkey_url)
    until(lambda: store.status(run).begun, "an Executor to begin")
    store.close()
    lost.send_signal(signal.SIGKILL)
    lost.wait()
    lost.stdout.close()
    gate.touch()
    sys.path.insert(0, str(tmp_path))
    try:
        assert client.attach(run).result(timeout=120) == 64.0
    finally:
        sys.path.remove(str(tmp_path))
