"""How long a run may be kept where the store's bucket deletes objects by a rule of its own."""

from __future__ import annotations

import dask
import pytest

import wukong
from wukong.config import Config, ConfigError, Store
from wukong.opening import check_kept

DAY = 86_400


def check(seconds: int, days: int | None) -> None:
    check_kept(Config().run.changed({"keep_seconds": seconds}), Store(keep_days=days))


def test_a_run_may_be_kept_as_long_as_the_bucket_keeps_objects() -> None:
    for seconds, days in ((DAY, 1), (60, 1), (2 * DAY, 2), (30 * DAY, None)):
        check(seconds, days)


def test_a_run_that_is_to_be_kept_for_longer_is_refused_with_the_days_that_it_takes() -> None:
    with pytest.raises(ConfigError, match=r"kept for 172,801 s, .* objects after 2 days") as caught:
        check(2 * DAY + 1, 2)
    assert "wukong deploy -p StoreDays=3" in caught.value.hint
    assert "store.keep_days" in caught.value.hint


def test_a_client_refuses_it_before_anything_is_written() -> None:
    one = dask.delayed(sum)([1, 2])
    config = Config(platform="threads").changed("store", keep_days=1)
    with wukong.Client(config) as client:
        with pytest.raises(ConfigError, match="keep_seconds"):
            one.compute(keep_seconds=2 * DAY)
        storage, _ = client._connect()
        assert storage.runs() == []
        assert one.compute(keep_seconds=DAY) == 3
