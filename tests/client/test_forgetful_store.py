"""A store that is restarted without its last writes, in the middle of a run."""

from __future__ import annotations

import time
from typing import Any

import dask.array as da
import numpy as np
import pytest
from valkey import Valkey

import wukong
from tests.conftest import until
from wukong.config import Config, RunOptions, Store
from wukong.platform.local import LocalPlatform
from wukong.platform.threads import ThreadsPlatform


class Snapshots:
    """Saves the keys of a run as they are at one moment, and makes them so again."""

    def __init__(self, url: str, run: str) -> None:
        self._server: Any = Valkey.from_url(url)
        self._pattern = f"w:{{{run}}}:*"
        self._saved: dict[bytes, bytes] = {}

    def save(self) -> None:
        # In one step: a key that is written after the names are read would be missing.
        found = self._server.eval(
            "local all = {} "
            "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do "
            "all[#all + 1] = key; all[#all + 1] = redis.call('DUMP', key) end "
            "return all",
            0,
            self._pattern.replace("{", "[{]"),
        )
        self._saved = dict(zip(found[::2], found[1::2], strict=True))

    def restore(self) -> None:
        with self._server.pipeline(transaction=True) as pipe:
            pipe.unlink(*set(self._server.scan_iter(self._pattern)) - self._saved.keys())
            for key, value in self._saved.items():
                pipe.restore(key, 0, value, replace=True)
            pipe.execute()


@pytest.mark.parametrize("platform", ["threads", "local"])
def test_a_run_goes_on_after_the_store_has_lost_its_last_writes(
    valkey_url: str, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Starts whose beginning is forgotten are taken for waiting.
    for kind in (LocalPlatform, ThreadsPlatform):
        monkeypatch.setattr(kind, "handoff_seconds", 3.0)

    def slow(block: Any) -> Any:
        time.sleep(0.05)
        return block + 1

    config = Config(store=Store(url=valkey_url), run=RunOptions(lease_seconds=2))
    with wukong.Client(config, platform=platform, workers=2) as client:
        x = da.zeros((16, 16), chunks=2).map_blocks(slow, dtype=float, meta=np.zeros((0, 0)))
        future = client.compute(x.sum(axis=0))
        run = future.run
        snapshots = Snapshots(valkey_url, run)

        def done() -> int:
            return int(client._storage.status(run).done)  # type: ignore[union-attr]

        until(lambda: done() >= 10, "a part of the run")
        snapshots.save()
        before = done()
        until(lambda: done() >= before + 20, "more of it")
        snapshots.restore()
        assert done() < before + 20
        assert np.array_equal(future.result(timeout=120), np.full(16, 16.0))
