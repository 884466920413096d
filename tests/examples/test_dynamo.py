"""Example workloads on worker processes, with DynamoDB and S3 as their store."""

from __future__ import annotations

from collections.abc import Iterator

import dask
import numpy as np
import pytest

import wukong
from tests.examples.scripts import load
from wukong.config import Store
from wukong.storage import open_storage


@pytest.fixture
def client(dynamo_url: str) -> Iterator[wukong.Client]:
    config = wukong.Config(store=Store(url=dynamo_url))
    with wukong.Client(config, platform="local", workers=2) as client:
        yield client


def test_example_workloads_run_on_dynamodb_and_s3(client: wukong.Client, dynamo_url: str) -> None:
    store = open_storage(dynamo_url)
    before = set(store.runs())
    assert load("tree_reduction.py").build(17).compute() == sum(range(17))
    gemm = load("gemm.py")
    # Blocks of 80 KB, which are objects.
    left, right = dask.compute(*gemm.operands(200, 100, seed=3), scheduler="synchronous")
    assert np.array_equal(gemm.build(200, 100, seed=3).compute(), left @ right)
    svd = load("svd_tall_skinny.py")
    x = svd.matrix(300, 8, 100, seed=1).compute(scheduler="synchronous")
    lines = {line.what: line.quantity for line in client.cost().lines}
    # The four blocks of the product, and what it was made of.
    assert 8 <= lines["bucket writes"] <= lines["bucket reads"] + 8
    assert "store processing" not in lines
    assert client.record().summary.where["store"] == "dynamodb"
    u, s, v = dask.compute(*svd.build(300, 8, 100, seed=1))
    np.testing.assert_allclose((u * s) @ v, x)
    assert set(store.runs()) == before, "each run is dropped at its end"
    store.close()
