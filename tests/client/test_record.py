"""What a client keeps of its runs."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from pathlib import Path

import dask
import dask.array as da
import pytest

import wukong
from wukong import history
from wukong.storage.notes import Way


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WUKONG_HOME", str(tmp_path))


@pytest.fixture(params=["threads", "local"])
def client(request: pytest.FixtureRequest) -> Iterator[wukong.Client]:
    with wukong.Client(platform=request.param, workers=2) as running:
        yield running


def test_a_run_that_is_done_is_kept_whole(client: wukong.Client) -> None:
    da.ones((40, 40), chunks=(10, 10)).sum().compute()
    record = client.last_run
    assert record is not None
    summary = record.summary
    assert (summary.outcome, summary.error, summary.missing) == ("done", "", 0)
    assert summary.platform in {"threads", "local"}
    assert summary.workers == 2
    assert summary.tasks >= 16
    assert summary.segments == len(record.outline)
    assert sorted(record.steps["segment"]) == list(range(summary.segments))
    assert len(record.ways) == len(record.outline.inputs)
    assert summary.started <= summary.submitted <= summary.ended
    assert "sum" in summary.title
    assert record == client.record(summary.run) == history.load(summary.run)


def test_every_executor_has_a_parent_that_is_known(client: wukong.Client) -> None:
    a = dask.delayed(bytes, pure=False)(5000)
    dask.delayed(sum)([dask.delayed(len)(a) for _ in range(20)]).compute()
    record = client.record()
    tokens = {one.token for one in record.executors} | {""}
    assert all(one.parent in tokens for one in record.executors)
    assert {one.reason for one in record.executors} <= {"leaf", "fan-out"}
    assert record.traffic[Way.MEMORY] == 0


def test_a_run_that_fails_is_kept_with_its_error(client: wukong.Client) -> None:
    with pytest.raises(ZeroDivisionError):
        dask.delayed(operator.truediv)(1, 0).compute()
    record = client.record()
    assert record.summary.outcome == "failed"
    assert "ZeroDivisionError" in record.summary.error
    assert [one.failed for one in record.executors] == [0]


def test_a_run_out_of_time_is_kept_as_cancelled(client: wukong.Client) -> None:
    import time

    with pytest.raises(wukong.WukongError):
        dask.delayed(time.sleep)(3).compute(deadline=0.1)
    assert client.record().summary.outcome == "cancelled"


def test_calls_and_persisted_collections_are_kept_too(client: wukong.Client) -> None:
    assert client.gather(client.map(abs, [-1, -2])) == [1, 2]
    wukong_run = client.submit(abs, -3)
    assert wukong_run.result() == 3
    kept = da.ones(10, chunks=5).persist()
    assert kept.sum().compute() == 10
    client.close()
    assert len(list(history.summaries())) == 4


def test_a_run_that_wants_no_record_has_none(client: wukong.Client) -> None:
    da.ones(10, chunks=5).sum().compute(record=False)
    assert client.last_run is None
    assert not list(history.summaries())
    with pytest.raises(history.HistoryError, match="no run of this client"):
        client.record()
