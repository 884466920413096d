"""A forged specification: an Executor that has the key does not run it, and ends the run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import pytest
from valkey import Valkey

import wukong
from executor.function import lambda_handler
from tests.executor.test_driver import fork
from wukong.config import RunOptions
from wukong.failing import raise_failure
from wukong.graph.normalise import normalise
from wukong.messages import ExecutorEvent, Start, Targets
from wukong.platform.context import LocalContext, use
from wukong.platform.threads import ThreadsPlatform
from wukong.runs import Run
from wukong.storage import RunState, Storage, open_storage
from wukong.storage.creation import data_key, prefix_of
from wukong.storage.keys import SigningKeyError
from wukong.storage.serialisation import Failure
from wukong.storage.signing import SignatureError
from wukong.submission import submit

KEY = "a secret word of more than thirty-two characters".replace(" ", "-")


class Attack:
    """What, unpickled, creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


@pytest.fixture
def key(tmp_path: Path) -> str:
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(0o600)
    return f"file:{file}"


@pytest.fixture
def server(valkey_url: str) -> Iterator[Any]:
    server: Any = Valkey.from_url(valkey_url)
    yield server
    server.close()


def invoke(url: str, key: str, run: str) -> dict[str, Any]:
    """Invoke an Executor as the threads platform does, in this thread."""
    platform = ThreadsPlatform(url, 1, key)
    try:
        with use(platform._settings):
            event = ExecutorEvent(run, (Start(0),), Targets("executor.function.lambda_handler", ""))
            return lambda_handler(event.to_event(), LocalContext("id"))
    finally:
        platform.close()


def attacked(storage: Storage, server: Any, run: str, file: Path) -> None:
    storage.create(fork(run))
    server.hset(prefix_of(run) + "spec", "0", pickle.dumps(Attack(file)))


def test_a_forged_specification_does_not_run_and_the_client_is_told(
    valkey_url: str, server: Any, run_id: str, key: str, tmp_path: Path
) -> None:
    storage = open_storage(valkey_url, key)
    attacked(storage, server, run_id, tmp_path / "attacked")
    answer = invoke(valkey_url, key, run_id)
    assert answer["wukong"] == "refused"
    assert not (tmp_path / "attacked").exists()
    assert storage.status(run_id).state is RunState.FAILED
    failure = storage.failure(run_id)
    assert failure is not None
    with pytest.raises(SignatureError, match=f"specification of segment 0 in run {run_id}"):
        raise_failure(run_id, Failure.from_bytes(failure))


def test_without_a_key_it_would_have_run(
    valkey_url: str, server: Any, run_id: str, tmp_path: Path
) -> None:
    """So the test above can fail."""
    attacked(open_storage(valkey_url), server, run_id, tmp_path / "attacked")
    invoke(valkey_url, "", run_id)
    assert (tmp_path / "attacked").exists()


def test_a_forged_value_does_not_run_in_the_client(
    valkey_url: str, server: Any, run_id: str, key: str, tmp_path: Path
) -> None:
    storage = open_storage(valkey_url, key)
    platform = ThreadsPlatform(valkey_url, 1, key)
    try:
        graph = normalise({"x": (abs, -3)}, ["x"])
        run = Run(submit(run_id, graph, ["x"], storage, platform, RunOptions()), storage, platform)
        run.wait()
    finally:
        platform.close()
    assert run.values(["x"]) == {"x": 3}
    (ref,) = run.refs(["x"]).values()
    server.set(data_key(run_id, ref), pickle.dumps(Attack(tmp_path / "attacked")))
    with pytest.raises(SignatureError, match="value of segment 0"):
        run.result()
    assert not (tmp_path / "attacked").exists()


def test_an_executor_without_the_key_gets_nothing_past_its_client(
    valkey_url: str, run_id: str, key: str
) -> None:
    signed = open_storage(valkey_url, key)
    signed.create(fork(run_id))
    invoke(valkey_url, "", run_id)
    roots = [ref for ref in signed.versions(run_id, [1, 2]) if ref]
    assert roots
    with pytest.raises(SignatureError, match="not signed with a key that is valid here"):
        signed.read(run_id, roots)


def test_an_executor_whose_key_cannot_be_read_does_not_begin(
    valkey_url: str, run_id: str, key: str, tmp_path: Path
) -> None:
    open_storage(valkey_url, key).create(fork(run_id))
    with pytest.raises(SigningKeyError, match="cannot be read"):
        invoke(valkey_url, f"file:{tmp_path / 'none'}", run_id)


@pytest.mark.parametrize("platform", ["local", "threads"])
def test_runs_with_modules_persisted_values_and_errors_work_signed(
    platform: str, key: str, valkey_url: str
) -> None:
    store = {"url": valkey_url, "signing_key": key}
    config = wukong.Config.model_validate({"platform": platform, "store": store})
    import dask.array as da

    with wukong.Client(config, workers=2, progress=False) as client:
        x = da.ones((400, 400), chunks=100).persist()
        assert float((x @ x.T).sum().compute()) == 400.0**3
        assert [future.result() for future in client.map(pow, range(3), [2] * 3)] == [0, 1, 4]
        with pytest.raises(ZeroDivisionError):
            dask.delayed(lambda: 1 / 0)().compute()


def test_the_key_itself_is_in_no_pickle(key: str, valkey_url: str) -> None:
    storage = open_storage(valkey_url, key)
    storage.ping()
    with pytest.raises(TypeError):
        cloudpickle.dumps(storage)
