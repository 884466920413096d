"""What is left of a run that ends in an unusual way, of its client, and of what it has kept."""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterator
from typing import Any

import dask
import dask.array as da
import pytest

import wukong
from wukong.runs import Run
from wukong.storage import Storage


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
