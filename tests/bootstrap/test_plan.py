"""The plan is a pure function of what is wanted and what was found; no AWS here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bootstrap.answer import Status
from bootstrap.configuration import Configuration
from bootstrap.errors import EventError, NotOursError
from bootstrap.package import Package
from bootstrap.plan import (
    Alias,
    Create,
    Deployed,
    Found,
    FunctionPlan,
    SetConcurrency,
    SetRecursion,
    SetRetries,
    TakeOver,
    UpdateCode,
    UpdateConfiguration,
    plan_deployment,
)
from bootstrap.record import Record
from bootstrap.spec import DeploymentSpec, DeploymentWishes, merge

ROLE = "arn:aws:iam::123456789012:role/wukong"
PACKAGE = Package("bucket", "deployment.zip", "v1", "etag", 1000, "new code")
WANTED = Configuration(
    handler="executor.function.lambda_handler",
    runtime="python3.13",
    role=ROLE,
    memory_size=3008,
    timeout=900,
    environment={"WUKONG_PLATFORM": "aws", "WUKONG_STORE_URL": "redis://store", "MORE": "1"},
    log_group="/aws/lambda/WukongExecutor",
)


def spec(adopt: bool = False, **executor: Any) -> DeploymentSpec:
    wishes = {"executor": {"role": ROLE, **executor}, "invoker": {"role": ROLE}}
    return merge(
        DeploymentWishes.model_validate({**wishes, "adopt": adopt}),
        DeploymentWishes(store_url="redis://store"),
        "owner",
    )


def deployed(configuration: Configuration = WANTED, code: str = "new code") -> Deployed:
    return Deployed("1", "arn", configuration, code, "revision")


def found(**changes: Any) -> Found:
    return Found(
        **{
            "latest": deployed(),
            "owner": "owner",
            "reserved_concurrency": None,
            "recursive_loop": "Allow",
            "alias": Alias("1", "revision"),
            "live": deployed(),
            "asynchronous_retries": 0,
            **changes,
        }
    )


def plan(wanted: DeploymentSpec, exists: Found | None) -> FunctionPlan:
    return plan_deployment(wanted, PACKAGE, (exists, None)).functions[0]


def test_what_is_live_already_needs_nothing() -> None:
    made = plan(spec(), found())
    assert (made.preparations, made.release, made.settings) == ((), False, ())
    assert made.status is Status.UNCHANGED


def test_latest_does_not_matter_while_live_is_right() -> None:
    assert plan(spec(), found(latest=deployed(code="old"))).status is Status.UNCHANGED


def test_live_is_brought_up_to_a_latest_that_is_right_already() -> None:
    made = plan(spec(), found(live=deployed(code="old")))
    assert (made.preparations, made.release) == ((), True)
    assert made.status is Status.CODE_CHANGED


def test_both_changes_are_a_code_change_that_lists_all() -> None:
    old = deployed(replace(WANTED, timeout=3), code="old")
    made = plan(spec(), found(latest=old, live=old))
    assert made.preparations == (UpdateConfiguration(("timeout",)), UpdateCode())
    assert made.status is Status.CODE_CHANGED
    assert str(made).splitlines() == [
        "WukongExecutor: CODE_CHANGED",
        "  code: old -> new code",
        "  timeout: 3 -> 900",
    ]


def test_an_architecture_is_written_with_the_code() -> None:
    made = plan(spec(architecture="arm64"), found())
    assert made.preparations == (UpdateCode(),)
    assert made.status is Status.CONFIGURATION_CHANGED


def test_nothing_that_a_broken_latest_says_is_taken_as_done() -> None:
    broken = replace(deployed(), broken="SubnetOutOfIPAddresses")
    made = plan(spec(), found(latest=broken, live=deployed(code="old")))
    first = made.preparations[0]
    assert isinstance(first, UpdateConfiguration)
    assert "subnet_ids" in first.fields


def test_unspecified_is_left_alone_and_null_clears() -> None:
    layers = ("layer:1",)
    now = deployed(replace(WANTED, layers=layers, subnet_ids=frozenset({"s"})))
    exists = found(latest=now, live=now, reserved_concurrency=5)
    assert plan(spec(), exists).status is Status.UNCHANGED
    made = plan(spec(layers=None, subnet_ids=None, reserved_concurrency=None), exists)
    assert made.wanted.layers == ()
    assert made.wanted.subnet_ids == frozenset()
    assert made.settings == (SetConcurrency(None),)


def test_the_order_of_layers_matters_and_that_of_subnets_does_not() -> None:
    now = deployed(replace(WANTED, layers=("a", "b"), subnet_ids=frozenset({"a", "b"})))
    exists = found(latest=now, live=now)
    assert plan(spec(subnet_ids=["b", "a"]), exists).status is Status.UNCHANGED
    assert plan(spec(layers=["b", "a"]), exists).status is Status.CONFIGURATION_CHANGED


def test_other_variables_stay_unless_the_environment_is_given() -> None:
    assert plan(spec(), found()).wanted.environment["MORE"] == "1"
    made = plan(spec(environment={}), found())
    assert dict(made.wanted.environment) == {
        "WUKONG_PLATFORM": "aws",
        "WUKONG_STORE_URL": "redis://store",
    }


def test_a_diff_names_variables_without_their_values() -> None:
    old = deployed(replace(WANTED, environment={"WUKONG_STORE_URL": "redis://:secret@old"}))
    text = str(plan(spec(), found(latest=old, live=old)))
    assert "WUKONG_STORE_URL" in text
    assert "secret" not in text
    assert "redis://store" not in text


def test_settings_of_the_function_as_a_whole_need_no_new_version() -> None:
    made = plan(spec(reserved_concurrency=7), found(recursive_loop="Terminate"))
    assert made.release is False
    assert made.settings == (SetRecursion("Allow"), SetConcurrency(7))
    assert made.status is Status.CONFIGURATION_CHANGED


def test_an_alias_on_two_versions_is_made_whole() -> None:
    made = plan(spec(), found(alias=Alias("1", "revision", weighted=True)))
    assert made.release is True
    assert [str(change) for change in made.changes] == ["routing: two versions -> one version"]


def test_a_new_function_gets_everything() -> None:
    made = plan(spec(), None)
    assert made.preparations == (Create(),)
    assert made.settings == (SetRecursion("Allow"), SetRetries(0))
    assert made.wanted.memory_size == 3008
    assert made.wanted.log_group == "/aws/lambda/WukongExecutor"


def test_a_new_function_needs_a_role() -> None:
    nothing = merge(DeploymentWishes(), DeploymentWishes(), "owner")
    with pytest.raises(EventError, match=r"executor\.role"):
        plan(nothing, None)


@pytest.mark.parametrize("owner", [None, "somebody"])
def test_what_is_not_ours_is_refused_before_anything_else(owner: str | None) -> None:
    with pytest.raises(NotOursError, match="WukongExecutor"):
        plan(spec(), found(owner=owner))


@pytest.mark.parametrize("owner", [None, "somebody"])
def test_adopting_tags_first(owner: str | None) -> None:
    made = plan(spec(adopt=True), found(owner=owner, live=deployed(code="old")))
    assert made.preparations[0] == TakeOver()
    assert f"owner: {owner or 'none'} -> owner" in [str(change) for change in made.changes]


def test_a_record_reads_back_and_always_fits() -> None:
    record = Record.now("v" * 1000, "sha/+=" * 9, None, "request-id-0")
    assert Record.parse(str(record)) == record
    assert len(str(record)) <= 256
    assert Record.parse("switched by hand") is None
