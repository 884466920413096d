"""What is left of a run that ends in an unusual way, of its client, and of what it has kept."""

from __future__ import annotations

import operator
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import pytest

import wukong
from tests.conftest import until
from wukong import followers
from wukong.connection import ClientError
from wukong.failing import RunCancelledError
from wukong.runs import Run
from wukong.storage import DataRef, Storage
from wukong.submission import Manifest, Submitted


@pytest.fixture
def client() -> Iterator[wukong.Client]:
    with wukong.Client(wukong.Config(), platform="threads", workers=1) as client:
        yield client


def storage_of(client: wukong.Client) -> Storage:
    storage, _ = client._connect()
    return storage


def not_here(thread: str) -> str:
    if threading.current_thread().name == thread:
        raise RuntimeError("not here")
    return "elsewhere"


class Homesick:
    """Cannot be unpickled in the thread that is named."""

    def __reduce__(self) -> tuple[Any, ...]:
        return not_here, ("MainThread",)


def interrupted(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def test_a_run_whose_value_cannot_be_read_here_leaves_nothing(client: wukong.Client) -> None:
    with pytest.raises(RuntimeError, match="not here"):
        dask.delayed(Homesick)().compute()
    assert storage_of(client).runs() == []


@pytest.mark.parametrize("method", ["wait", "data"])
def test_ctrl_c_leaves_nothing_of_a_run_whenever_it_comes(
    client: wukong.Client, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(Run, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        dask.delayed(abs)(-1).compute()
    assert storage_of(client).runs() == []


@pytest.mark.parametrize("method", ["wait", "refs"])
def test_ctrl_c_leaves_nothing_of_what_was_to_be_kept(
    client: wukong.Client, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(Run, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        da.ones(4, chunks=2).persist()
    assert storage_of(client).runs() == []


def test_a_run_is_ended_if_it_cannot_be_watched(
    client: wukong.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client._ledger, "watch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dask.delayed(abs)(-1).compute()
    assert storage_of(client).runs() == []


class Walked(dict[int, Any]):
    """Counts how often all of it is looked at."""

    walks = 0

    def items(self) -> Any:
        self.walks += 1
        return super().items()

    def __iter__(self) -> Iterator[int]:
        self.walks += 1
        return super().__iter__()


def test_a_value_is_found_without_a_look_at_all_others(client: wukong.Client) -> None:
    storage, platform = client._connect()
    roots = Walked({number: ("call", number) for number in range(100)})
    targets, options = platform.targets(), client.config.run
    run = Run(Submitted("r", Manifest(roots, {}, [], targets, options)), storage, platform)
    run._refs = {number: DataRef(number, "0.1.t") for number in roots}
    roots.walks = 0
    for key in list(roots.values()):
        assert run.refs([key])
    assert roots.walks == 0


class SpeechlessError(Exception):
    def __str__(self) -> str:
        return str(self.detail)  # type: ignore[attr-defined]


def test_a_run_that_ends_with_an_error_without_a_text_leaves_nothing(
    client: wukong.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def speechless(*_: Any, **__: Any) -> Any:
        raise SpeechlessError

    monkeypatch.setattr(Run, "data", speechless)
    with pytest.raises(SpeechlessError):
        dask.delayed(abs)(-1).compute()
    assert storage_of(client).runs() == []
    assert client.record().summary.error == "SpeechlessError: "


def test_nothing_asked_is_answered_as_by_dask(client: wukong.Client) -> None:
    for keys in ([], [[]], [[], []]):
        assert client.get({}, keys) == dask.get({}, keys)


def test_several_collections_are_computed_in_one_run_in_the_background(
    client: wukong.Client,
) -> None:
    both = [da.ones(4, chunks=2).sum(), dask.delayed(operator.add)(1, 2)]
    assert client.compute(both).result(60) == [4.0, 3]
    assert client.compute([]).result(60) == []
    assert client.compute(tuple(both[1:])).result(60) == [3]


def following() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == followers.THREAD]


def test_futures_that_are_left_when_their_client_is_closed_say_so() -> None:
    client = wukong.Client(wukong.Config(), platform="local", workers=1)
    begun = [client.submit(time.sleep, 60) for _ in range(3)]
    background = client.compute(dask.delayed(time.sleep)(60))
    assert all(future.run for future in [*begun, background])
    never: Future[int] = Future()
    waiting = client.submit(abs, never)
    just_now = client.submit(time.sleep, 60)
    client.close()
    for future in [*begun, background, waiting, just_now]:
        assert isinstance(future.exception(0), RunCancelledError)
    assert client._storage is None, "nothing was opened again"
    assert not following()
    never.set_result(1)
    client.close()


def test_closing_a_client_before_its_first_call_has_begun_leaves_nothing() -> None:
    client = wukong.Client(wukong.Config(), platform="local", workers=1)
    future = client.submit(abs, -1)
    client.close()
    assert future.exception(0) is None or isinstance(future.exception(0), RunCancelledError)
    assert client._platform is None
    assert not following()


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.submit(abs, -1),
        lambda client: client.map(abs, [-1]),
        lambda client: client.compute(dask.delayed(abs)(-1)),
        lambda client: client.persist(dask.delayed(abs)(-1)),
        lambda client: client.attach("0" * 32),
        lambda client: client.__enter__(),
        lambda client: dask.delayed(abs)(-1).compute(scheduler=client),
    ],
)
def test_a_client_that_was_closed_computes_nothing(use: Callable[[wukong.Client], Any]) -> None:
    with wukong.Client(wukong.Config(), platform="threads", workers=1) as client:
        pass
    with pytest.raises(ClientError, match="was closed"):
        use(client)
    assert client._storage is None


FORKED = """
import os, sys
import dask, wukong
from wukong.connection import ClientError

if __name__ == "__main__":
    with wukong.Client(wukong.Config(), platform="local", workers=1) as client:
        assert client.submit(abs, -1).result(60) == 1
        child = os.fork()
        if not child:
            try:
                dask.delayed(abs)(-1).compute()
            except ClientError as error:
                print(error, flush=True)
            client.close()
            os._exit(0)
        os.waitpid(child, 0)
        print(client.submit(abs, -2).result(60), flush=True)
"""


def test_a_process_that_was_forked_computes_nothing_with_its_parents_client(tmp_path: Path) -> None:
    program = tmp_path / "forked.py"
    program.write_text(FORKED)
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=100, check=True
    )
    first, *_, last = done.stdout.splitlines()
    assert "from which this one was forked" in first
    assert last == "2", "the workers of the parent live on"


def test_many_calls_are_followed_by_few_threads(
    client: wukong.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(followers, "MOST_BEGINNING", 1)
    monkeypatch.setattr(followers, "MOST_FOLLOWING", 2)
    gate = tmp_path / "gate"

    def wait(number: int) -> int:
        until(gate.exists, "the gate")
        return number

    calls = [client.submit(wait, number) for number in range(20)]
    after = client.submit(sum, calls)
    assert len({call.run for call in calls}) == len(calls)
    assert len(following()) <= 3
    gate.touch()
    assert client.gather(calls) == list(range(20))
    assert after.result(60) == sum(range(20))
    until(lambda: not following(), "the threads to end")
