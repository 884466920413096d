"""What is particular to the memory back-end: how long it is there."""

from __future__ import annotations

import dask

import wukong
from wukong.platform import surroundings
from wukong.storage.memory import MemoryStorage


def test_a_store_with_a_name_is_the_same_until_all_who_have_it_have_closed_it() -> None:
    url = "memory://of-two"
    first, second = MemoryStorage.named(url), MemoryStorage.named(url)
    assert first is second
    first.close()
    assert MemoryStorage.named(url) is first
    first.close()
    second.close()
    assert MemoryStorage.named(url) is not first
    MemoryStorage.named(url).close()


def test_a_client_on_threads_leaves_no_store_behind() -> None:
    kept = MemoryStorage._named, surroundings._stores, surroundings._platforms
    before = [len(one) for one in kept]
    for _ in range(2):
        with wukong.Client(wukong.Config(), platform="threads", workers=2) as client:
            values = [dask.delayed(abs)(-number) for number in range(3)]
            assert dask.compute(*values, scheduler=client) == (0, 1, 2)
            assert len(MemoryStorage._named) == before[0] + 1
    assert [len(one) for one in kept] == before
