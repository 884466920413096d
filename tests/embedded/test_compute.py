"""Graphs on the deployed functions: real zips, real roles under enforcement, real Valkey.

The roles' policies are what lets Executors start Executors and the Invoker; were one right missing,
these runs would not end.
"""

from __future__ import annotations

import time
from typing import Any

import boto3
import dask
import dask.array as da
import numpy as np
import pytest

import wukong
from tests.conftest import until
from wukong.config import ConfigError
from wukong.platform import batches
from wukong.stack.cloudformation import StackError

pytestmark = pytest.mark.embedded


BEGINS = {"Executor": '"begins"', "Invoker": '"invokes"'}
"""What a function writes when it begins with something."""


def invocations(component: str) -> int:
    """Count the invocations that did something for a run: neither pings nor probes."""
    logs: Any = boto3.client("logs")
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=f"/aws/lambda/Wukong{component}", filterPattern=BEGINS[component]
    )
    return sum(len(page["events"]) for page in pages)


@dask.delayed(pure=True)
def start() -> int:
    return 1


@dask.delayed(pure=True)
def widen(value: int, i: int) -> int:
    # Worth an Executor.
    time.sleep(0.3)
    return value * i


@dask.delayed(pure=True)
def multiply(value: int, i: int) -> int:
    return value * i


def test_executors_hand_off_to_executors_and_the_last_one_joins(client: wukong.Client) -> None:
    before = invocations("Executor")
    one = start()
    total = dask.delayed(sum)([widen(one, i) for i in range(3)])
    assert total.compute() == 3
    # One for the leaf, which became one of three; a log is written when its invocation has ended.
    until(lambda: invocations("Executor") - before == 3, "three Executors in the log")


def test_children_that_are_not_worth_an_executor_are_run_by_the_one_there_is(
    client: wukong.Client,
) -> None:
    before = invocations("Executor")
    one = start()
    total = dask.delayed(sum)([multiply(one, i) for i in range(200)])
    assert total.compute() == sum(range(200))
    until(lambda: invocations("Executor") > before, "an Executor in the log")
    # On a machine that is slow enough the first child may take longer than starting Executors.
    assert invocations("Executor") - before < 200


def test_a_task_that_wants_more_memory_than_the_function_has_is_named(
    client: wukong.Client,
) -> None:
    @dask.delayed
    def huge() -> int:
        return int(np.ones(2_000_000_000).sum())

    with pytest.raises(MemoryError) as caught:
        huge().compute()
    notes = "\n".join(caught.value.__notes__)
    assert "The function has 3008 MB" in notes
    assert "task 'huge-" in notes


def test_a_wide_fan_out_goes_through_the_invoker(client: wukong.Client) -> None:
    before = invocations("Invoker")
    one = start()
    total = dask.delayed(sum)([widen(one, i) for i in range(19)])
    assert total.compute(max_executors=20) == sum(range(19))
    # Eighteen children are handed off at once: too many for the Executor itself.
    until(lambda: invocations("Invoker") - before == 1, "one Invoker in the log")


def test_a_matrix_product_is_what_dasks_own_scheduler_gives(client: wukong.Client) -> None:
    x = da.random.default_rng(3).random((300, 300), chunks=(100, 100))
    product = x @ x.T
    assert np.allclose(product.compute(), product.compute(scheduler="sync"))


def test_a_batch_too_large_for_a_payload_travels_through_the_store(
    client: wukong.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "INLINE_LIMIT", 10)
    total = dask.delayed(sum)([dask.delayed(abs)(-i) for i in range(6)])
    assert total.compute() == 15


def test_a_failing_task_raises_here_with_its_key_and_the_remote_traceback(
    client: wukong.Client,
) -> None:
    def broken(value: int) -> int:
        raise ValueError(f"no {value}")

    with pytest.raises(ValueError, match="no 1") as caught:
        dask.delayed(broken)(start()).compute()
    assert "task 'broken-" in caught.value.__notes__[0]
    assert "raise ValueError" in str(caught.value.__cause__)


def test_a_run_keeps_to_the_versions_that_were_live_when_it_began(client: wukong.Client) -> None:
    assert client._platform is not None
    targets = client._platform.targets()
    name, _, version = targets.executor.partition(":")
    assert name == "WukongExecutor"
    assert version.isdecimal()


def test_executors_of_another_size_than_those_deployed_are_refused(client: wukong.Client) -> None:
    with pytest.raises(ConfigError, match="4096 MB, and the deployed function has 3008 MB"):
        start().compute(memory=4096)
    assert start().compute(memory=3008) == 1


def test_functions_that_are_not_deployed_are_a_clear_error(client: wukong.Client) -> None:
    config = client.config.changed(
        "aws_lambda",
        retrieve_function_names_from_cloudformation=False,
        executor_function_name="Missing",
    )
    with wukong.Client(config) as other, pytest.raises(wukong.WukongError, match="Missing"):
        start().compute(scheduler=other)


def test_a_stack_that_is_not_there_is_named(client: wukong.Client) -> None:
    with wukong.Client(stack="no-such-stack") as other:
        with pytest.raises(StackError, match="no stack 'no-such-stack'"):
            start().compute(scheduler=other)
