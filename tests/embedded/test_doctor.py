"""`wukong doctor` on the embedded AWS: all well, and each kind of fault found by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.conftest import until
from wukong.config import Config, load_config
from wukong.doctor.account import Account
from wukong.doctor.aws import Live, concurrency, examine_aws, surroundings
from wukong.doctor.finding import Finding, Level
from wukong.messages import Targets
from wukong.platform.probe import environment_here
from wukong.stack.cloudformation import Stack

pytestmark = pytest.mark.embedded


@pytest.fixture
def config(deployed: Stack) -> Config:
    return load_config()


def problems(findings: list[Finding]) -> dict[str, Finding]:
    return {one.check: one for one in findings if one.level is Level.PROBLEM}


def test_a_stack_that_works_has_no_problem(config: Config) -> None:
    findings = list(examine_aws(config))
    assert not problems(findings), findings
    checks = {one.check for one in findings}
    assert checks >= {
        *("credentials", "stack", "release", "functions", "recursion", "concurrency", "roles"),
        *("store from here", "executor", "store from an Executor", "versions", "layers"),
        "trial run",
    }


def test_every_finding_that_is_not_fine_has_a_remedy(config: Config) -> None:
    missing = config.changed("aws_lambda", aws_sam_app_name="nothing")
    for findings in (list(examine_aws(config)), list(examine_aws(missing))):
        assert all(one.remedy or one.level is Level.OK for one in findings)


def test_credentials_that_lead_nowhere_end_the_examination(config: Config) -> None:
    nowhere = config.changed("aws_lambda", endpoint_url="http://127.0.0.1:9")
    findings = list(examine_aws(nowhere))
    assert [one.check for one in findings] == ["credentials"]
    assert "get-caller-identity" in findings[0].remedy


def test_a_stack_that_is_not_there_is_named(config: Config) -> None:
    found = problems(list(examine_aws(config.changed("aws_lambda", aws_sam_app_name="nothing"))))
    assert "no stack 'nothing'" in found["stack"].message
    assert "wukong deploy" in found["stack"].remedy


def test_a_function_that_is_not_there_is_named(config: Config) -> None:
    other = config.changed(
        "aws_lambda",
        retrieve_function_names_from_cloudformation=False,
        invoker_function_name="Gone",
    )
    assert "Gone is not there" in problems(list(examine_aws(other)))["functions"].message


@pytest.fixture
def guarded() -> Iterator[None]:
    """Lambda's guard against recursion is on for the Executor."""
    client: Any = boto3.client("lambda")
    name = "WukongExecutor"
    client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Terminate")
    yield
    client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")


def test_a_guard_against_recursion_is_a_problem_and_a_drift(config: Config, guarded: None) -> None:
    findings = list(examine_aws(config))
    assert "stops WukongExecutor after 16" in problems(findings)["recursion"].message
    assert any(one.check == "drift" for one in findings)


def test_a_store_that_the_client_does_not_reach_is_a_problem(config: Config) -> None:
    other = config.changed("store", url="valkey://127.0.0.1:9")
    found = problems(list(examine_aws(other)))
    assert "127.0.0.1:9" in found["store from here"].message
    assert "store from an Executor" not in found


@pytest.fixture
def cut_off(deployed: Stack) -> Iterator[None]:
    """The Executor's store is one that is not there."""
    client: Any = boto3.client("lambda")
    name = "WukongExecutor"
    before = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]

    def publish(url: str) -> None:
        variables = {**before, "WUKONG_STORE_URL": url}
        client.update_function_configuration(
            FunctionName=name, Environment={"Variables": variables}
        )
        client.get_waiter("function_updated_v2").wait(FunctionName=name)
        version = client.publish_version(FunctionName=name)["Version"]
        client.update_alias(FunctionName=name, Name="live", FunctionVersion=version)
        alias = client.get_alias(FunctionName=name, Name="live")
        assert until(lambda: alias["FunctionVersion"] == version, "the alias")

    publish("valkey://127.0.0.1:9")
    yield
    publish(before["WUKONG_STORE_URL"])


def test_a_store_that_executors_do_not_reach_is_a_problem(config: Config, cut_off: None) -> None:
    found = problems(list(examine_aws(config)))
    assert "127.0.0.1:9" in found["store from an Executor"].message
    assert "SubnetIds" in found["store from an Executor"].remedy
    assert "store from here" not in found


@pytest.fixture
def throttled() -> Iterator[None]:
    client: Any = boto3.client("lambda")
    client.put_function_concurrency(FunctionName="WukongExecutor", ReservedConcurrentExecutions=0)
    yield
    client.delete_function_concurrency(FunctionName="WukongExecutor")


def test_an_executor_without_any_concurrency_is_a_problem(config: Config, throttled: None) -> None:
    account = Account()
    live = Live(Targets("WukongExecutor:live", "WukongInvoker:live"), {}, {})
    found = problems(list(concurrency(account, live)))
    assert "none can start" in found["concurrency"].message


def test_executors_with_other_versions_or_full_layers_are_named() -> None:
    from dataclasses import replace

    here = environment_here()
    there = replace(
        here,
        python="3.9.1",
        versions={**here.versions, "dask": "2020.1.0", "scipy": "1.0.0"},
        unzipped_bytes=260_000_000,
    )
    findings = list(surroundings(there))
    levels = {(one.check, one.level) for one in findings}
    assert ("versions", Level.PROBLEM) in levels
    assert ("layers", Level.WARNING) in levels
    text = " ".join(f"{one.message} {one.remedy}" for one in findings)
    assert "3.9.1 in Executors" in text
    assert f"dask=={here.versions['dask']}" in text
    assert "scipy" in text
