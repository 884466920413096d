"""`wukong.Client` with real collections, on threads and on worker processes of this machine."""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pytest

import wukong
from tests.conftest import until
from wukong import runs
from wukong.config import ConfigError
from wukong.failing import RunCancelledError, TaskError
from wukong.messages import InvokerReport
from wukong.platform.threads import ThreadsPlatform
from wukong.storage import StorageError
from wukong.submission import RunError


@pytest.fixture(scope="module", params=["threads", "local"])
def client(request: pytest.FixtureRequest) -> Iterator[wukong.Client]:
    with wukong.Client(wukong.Config(), platform=request.param, workers=2) as client:
        yield client


def tree(size: int) -> Any:
    add = dask.delayed(operator.add)
    level = list(range(size))
    while len(level) > 1:
        level = list(map(add, level[::2], level[1::2]))
    return level[0]


@dask.delayed(pure=True)
def shout(text: str) -> str:
    return text.upper()


@dask.delayed(pure=True)
def fail(text: str) -> str:
    raise KeyError(text)


@dask.delayed(pure=True)
def refuse(*texts: str) -> str:
    raise KeyError(texts)


def test_a_tree_reduction_is_right(client: wukong.Client) -> None:
    assert tree(64).compute() == sum(range(64))


def test_a_tall_and_skinny_svd_is_right(client: wukong.Client) -> None:
    x = da.random.default_rng(1).random((2000, 20), chunks=(200, 20))
    assert np.allclose(da.linalg.svd(x)[1].compute(), np.linalg.svd(x.compute(), False)[1])


def test_few_executors_at_once_give_the_same(client: wukong.Client) -> None:
    x = da.random.default_rng(1).random((200, 200), chunks=(50, 50))
    wanted = (x @ x.T).compute(scheduler="sync")
    for most in 1, 3:
        assert np.allclose((x @ x.T).compute(max_executors=most), wanted)
        begun_by_the_client = [one for one in client.record().executors if one.reason == "leaf"]
        assert len(begun_by_the_client) == most
        if most == 1:
            assert len(client.record().executors) == 1


def test_a_client_can_be_named_as_the_scheduler(client: wukong.Client) -> None:
    assert shout("a").compute(scheduler=client) == "A"


def test_a_bag_is_grouped_without_a_disk_that_executors_share(client: wukong.Client) -> None:
    groups = db.from_sequence(range(12), npartitions=6).groupby(lambda i: i % 3).compute()
    assert sorted((key, sorted(group)) for key, group in groups) == [
        (0, [0, 3, 6, 9]),
        (1, [1, 4, 7, 10]),
        (2, [2, 5, 8, 11]),
    ]


def test_a_way_of_shuffling_that_the_user_has_set_stays_set() -> None:
    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        with wukong.Client(wukong.Config(), platform="threads"):
            assert dask.config.get("dataframe.shuffle.method") == "p2p"


def test_values_that_are_none_or_empty_are_values(client: wukong.Client) -> None:
    assert dask.delayed(lambda: None)().compute() is None
    assert dask.compute(dask.delayed(list)([]), shout("")) == ([], "")
    assert dask.compute() == ()


def test_persist_gives_a_collection_that_computes_again(client: wukong.Client) -> None:
    x = da.ones((10, 10), chunks=5).persist()
    assert float(x.sum().compute()) == 100.0


def test_a_failing_task_raises_here_with_its_key_and_the_remote_traceback(
    client: wukong.Client,
) -> None:
    with pytest.raises(KeyError, match="gone") as caught:
        shout(fail("gone")).compute()
    (note,) = caught.value.__notes__
    assert "task 'fail-" in note
    assert "raise KeyError(text)" in str(caught.value.__cause__)
    assert shout("still works").compute() == "STILL WORKS"


class UnpicklableError(Exception):
    def __init__(self) -> None:
        super().__init__("has a lock")
        import threading

        self.lock = threading.Lock()


def test_a_failing_task_says_what_it_was_given(client: wukong.Client) -> None:
    inside = fail(shout("one segment", dask_key_name="upper"))
    with pytest.raises(KeyError) as caught:
        inside.compute(optimize_graph=False)
    assert any("the values of upper" in note for note in caught.value.__notes__)
    parts = [shout(text, dask_key_name=f"part-{text}") for text in "abcdefg"]
    with pytest.raises(KeyError) as caught:
        refuse(*parts).compute(optimize_graph=False)
    assert any("part-" in note and "and 2 more" in note for note in caught.value.__notes__)


def test_a_task_that_raises_is_run_again_as_often_as_asked(
    client: wukong.Client, tmp_path: Path
) -> None:
    tried = tmp_path / "tried"

    def flaky(value: int) -> int:
        with tried.open("a") as file:
            file.write("x")
        if len(tried.read_text()) < 3:
            raise ConnectionError("not yet")
        return value

    last = dask.delayed(operator.neg)(dask.delayed(flaky)(7))
    with pytest.raises(ConnectionError, match="not yet"):
        last.compute(retries=1)
    tried.unlink()
    assert last.compute(retries=2) == -7
    assert tried.read_text() == "xxx"


def test_an_exception_that_cannot_travel_comes_as_text(client: wukong.Client) -> None:
    def fails() -> None:
        raise UnpicklableError

    with pytest.raises(TaskError, match="has a lock") as caught:
        dask.delayed(fails)().compute()
    assert "raise UnpicklableError" in str(caught.value)


def test_a_value_that_cannot_be_pickled_names_its_task(client: wukong.Client) -> None:
    generator = dask.delayed(lambda: (i for i in "abc"), name="generator")
    with pytest.raises(TypeError, match="cannot pickle") as caught:
        generator().compute()
    assert any("task" in note for note in caught.value.__notes__)


def test_a_task_that_cannot_be_pickled_starts_nothing(client: wukong.Client) -> None:
    generator = (i for i in "abc")
    with pytest.raises(RunError, match="task '<genexpr>-.*cannot be pickled"):
        dask.delayed(list)(dask.delayed(generator, traverse=False)).compute()


def test_a_run_that_misses_its_deadline_is_cancelled(client: wukong.Client) -> None:
    import threading

    wait = dask.delayed(lambda: threading.Event().wait(3.0))
    with pytest.raises(RunCancelledError, match="deadline of 0.1 s"):
        wait().compute(deadline=0.1)


def test_a_nested_computation_runs_inside_its_task(client: wukong.Client) -> None:
    nested = dask.delayed(lambda: float(da.ones(10, chunks=5).sum().compute()))
    assert nested().compute() == 10.0


def test_an_unknown_option_is_refused_by_name(client: wukong.Client) -> None:
    with pytest.raises(ConfigError, match="option num_workers"):
        shout("a").compute(num_workers=3)


def test_nothing_of_a_run_is_left_in_the_store(client: wukong.Client) -> None:
    from valkey import Valkey

    if client.config.platform != "local":
        pytest.skip("the store of threads is this process's memory")
    shout("a").compute()
    server = Valkey.from_url(client._storage.nodes.url)
    left = [key for key in server.scan_iter("w:*") if not key.endswith(b":events")]
    until(lambda: not [k for k in left if server.exists(k)], "the keys of the run to go")


def test_a_worker_that_dies_is_replaced_and_its_work_is_done_again(tmp_path: Any) -> None:
    flag = tmp_path / "died"

    def dies_once() -> str:
        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "done"

    with wukong.Client(wukong.Config(), platform="local", workers=1, lease_seconds=1.0):
        assert dask.delayed(dies_once)().compute() == "done"


def test_an_executor_that_dies_again_and_again_ends_the_run_with_its_task() -> None:
    def dies() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    options = {"lease_seconds": 0.5, "max_attempts": 2}
    with wukong.Client(wukong.Config(), platform="local", workers=1, **options):
        with pytest.raises(RunError, match="begins with dies-.* was lost 2 times; .* when memory"):
            dask.delayed(dies)().compute()


def test_ctrl_c_ends_the_computation_and_every_process_of_it(tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import dask, signal, time, wukong\n"
        # A shell that runs the tests in the background has switched it off for us.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with wukong.Client(wukong.Config(), platform='local', workers=2) as client:\n"
        "    dask.delayed(abs)(1).compute()\n"
        "    print(*client._platform.workers.values(), flush=True)\n"
        "    dask.delayed(time.sleep)(100).compute()\n"
    )
    process = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in complaint
    until(lambda: not any(alive(pid) for pid in workers), "the workers to end")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_run_of_which_no_executor_ever_begins_ends_with_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "FIRST_SECONDS", 0.5)
    monkeypatch.setattr(runs, "CARE_SECONDS", 0.1)
    monkeypatch.setattr(ThreadsPlatform, "handoff_seconds", 0.1)
    monkeypatch.setattr(ThreadsPlatform, "start", lambda self, events: InvokerReport(len(events)))
    with wukong.Client(wukong.Config(), platform="threads"):
        with pytest.raises(RunError, match="no Executor has begun for 0.5 s"):
            shout("lost").compute()


def test_an_unreachable_store_is_a_clear_error() -> None:
    config = wukong.Config().changed("store", url="valkey://127.0.0.1:1")
    with wukong.Client(config, platform="threads"):
        with pytest.raises(StorageError, match="127.0.0.1:1 cannot be reached"):
            shout("a").compute()


def test_leaving_the_client_gives_dask_its_scheduler_back() -> None:
    before = dask.config.get("scheduler", None)
    with wukong.Client(wukong.Config(), platform="threads") as client:
        assert dask.config.get("scheduler") is client
    assert dask.config.get("scheduler", None) == before


def test_a_client_says_where_it_runs() -> None:
    assert repr(wukong.Client(wukong.Config())).startswith("<wukong.Client on local, ")
    assert "stack app" in repr(wukong.Client(wukong.Config(), stack="app"))
