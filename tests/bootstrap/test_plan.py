"""The plan is a pure function of what is wanted and what was found; no AWS here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from bootstrap.answer import Status
from bootstrap.configuration import Configuration
from bootstrap.errors import EventError, NotOursError
from bootstrap.found import Alias, Asynchronous, Deployed, Found
from bootstrap.package import Package
from bootstrap.plan import (
    Claim,
    Create,
    FunctionPlan,
    SetAsynchronous,
    SetConcurrency,
    SetRecursion,
    SetTags,
    UpdateCode,
    UpdateConfiguration,
    plan_deployment,
)
from bootstrap.record import Origin, Record, later, short
from bootstrap.spec import DEFAULTS, DeploymentSpec, merge
from bootstrap.wishes import DeploymentWishes, Manifest

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


LAYERS = tuple(f"arn:aws:lambda:eu-west-1:123456789012:layer:{name}:1" for name in "ab")


def spec(adopt: bool = False, **executor: Any) -> DeploymentSpec:
    wishes = {
        "executor": {**DEFAULTS["executor"], "role": ROLE, **executor},
        "invoker": {"role": ROLE},
        "store_url": "redis://store",
    }
    return merge([DeploymentWishes.model_validate(wishes)], "owner", adopt=adopt)


def deployed(configuration: Configuration = WANTED, code: str = "new code") -> Deployed:
    return Deployed("1", "arn", configuration, code, "revision")


def found(owner: str | None = "owner", **changes: Any) -> Found:
    return Found(
        **{
            "latest": deployed(),
            "marks": {"wukong:owner": owner} if owner else {},
            "reserved_concurrency": None,
            "recursive_loop": "Allow",
            "alias": Alias("1", "revision"),
            "live": deployed(),
            "asynchronous": Asynchronous(0),
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
    layers = (LAYERS[0],)
    now = deployed(replace(WANTED, layers=layers, subnet_ids=frozenset({"s"})))
    exists = found(latest=now, live=now, reserved_concurrency=5)
    assert plan(spec(), exists).status is Status.UNCHANGED
    made = plan(spec(layers=None, subnet_ids=None, reserved_concurrency=None), exists)
    assert made.wanted.layers == ()
    assert made.wanted.subnet_ids == frozenset()
    assert made.settings == (SetConcurrency(None),)


def test_the_order_of_layers_matters_and_that_of_subnets_does_not() -> None:
    now = deployed(replace(WANTED, layers=LAYERS, subnet_ids=frozenset({"a", "b"})))
    exists = found(latest=now, live=now)
    assert plan(spec(subnet_ids=["b", "a"]), exists).status is Status.UNCHANGED
    assert plan(spec(layers=list(reversed(LAYERS))), exists).status is Status.CONFIGURATION_CHANGED


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
    assert made.settings == (SetRecursion("Allow"), SetAsynchronous(Asynchronous(0)))
    assert made.wanted.memory_size == 3008
    assert made.wanted.log_group == "/aws/lambda/WukongExecutor"


def test_a_new_function_needs_a_role() -> None:
    nothing = merge([], "owner")
    with pytest.raises(EventError, match=r"executor\.role"):
        plan(nothing, None)


@pytest.mark.parametrize("owner", [None, "somebody"])
def test_what_is_not_ours_is_refused_before_anything_else(owner: str | None) -> None:
    with pytest.raises(NotOursError, match="WukongExecutor"):
        plan(spec(), found(owner=owner))


@pytest.mark.parametrize("owner", [None, "somebody"])
def test_adopting_tags_last_before_the_switch(owner: str | None) -> None:
    made = plan(spec(adopt=True), found(owner=owner, live=deployed(code="old")))
    tags = {"wukong:owner": "owner", "wukong:adopted-from": owner or "none"}
    assert made.settings[0] == Claim(tags)
    assert f"owner: {owner or 'none'} -> owner" in [str(change) for change in made.changes]


def test_null_clears_every_field_to_what_lambda_has_where_nothing_was_set() -> None:
    full = replace(
        WANTED,
        ephemeral_storage=1024,
        tracing="Active",
        log_format="JSON",
        snap_start="PublishedVersions",
        kms_key="arn:aws:kms:eu-west-1:123456789012:key/1",
        layers=LAYERS,
    )
    now = deployed(full)
    exists = found(
        latest=now,
        live=now,
        asynchronous=Asynchronous(1, "arn:aws:sqs:::q"),
        tags={"team": "a", "cost": "b"},
    )
    assert plan(spec(asynchronous_retries=1), exists).status is Status.UNCHANGED
    cleared = dict.fromkeys(
        [
            "ephemeral_storage",
            "tracing",
            "log_format",
            "snap_start",
            "kms_key",
            "layers",
            "memory_size",
            "asynchronous_retries",
            "failure_destination",
            "tags",
            "recursive_loop",
        ]
    )
    made = plan(spec(**cleared), exists)
    assert made.wanted == WANTED
    assert made.settings == (
        SetRecursion("Terminate"),
        SetAsynchronous(Asynchronous()),
        SetTags({}, ("cost", "team")),
    )


def test_the_executor_is_told_where_the_signing_key_is_and_the_package_cannot_say() -> None:
    secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key"
    with_key = {**WANTED.environment, "WUKONG_STORE_SIGNING_KEY": secret}
    told = plan(spec(signing_key=secret), found(latest=deployed(WANTED), live=deployed(WANTED)))
    assert told.wanted.environment == with_key
    has = deployed(replace(WANTED, environment=with_key))
    assert plan(spec(), found(latest=has, live=has)).wanted.environment == with_key
    cleared = plan(spec(signing_key=""), found(latest=has, live=has))
    assert cleared.wanted.environment == WANTED.environment
    with pytest.raises(ValidationError, match="signing_key"):
        Manifest.model_validate({"executor": {"signing_key": secret}})


def test_only_the_tags_that_differ_are_written() -> None:
    made = plan(spec(tags={"team": "b", "kept": "1"}), found(tags={"kept": "1", "gone": "2"}))
    assert made.settings == (SetTags({"team": "b"}, ("gone",)),)
    assert made.release is False
    assert [str(change) for change in made.changes] == ["tags: gone -> team"]


def test_where_nobody_says_a_function_is_left_as_it_is_and_a_new_one_has_the_defaults() -> None:
    only = {"executor": {"role": ROLE}, "invoker": {"role": ROLE}}
    silent = merge([DeploymentWishes.model_validate(only)], "owner")
    odd = deployed(replace(WANTED, memory_size=5000, timeout=7, handler="other.handler"))
    assert plan(silent, found(latest=odd, live=odd)).wanted.memory_size == 5000
    assert plan(silent, found(latest=odd, live=odd)).status is Status.UNCHANGED
    assert plan(silent, None).wanted.memory_size == 3008


def test_the_event_wins_over_the_manifest_and_that_over_the_template() -> None:
    template = DeploymentWishes.model_validate(
        {"executor": {"memory_size": 1024, "timeout": 10, "tracing": "Active"}}
    )
    manifest = Manifest.model_validate({"executor": {"memory_size": 2048, "timeout": 20}})
    event = DeploymentWishes.model_validate({"executor": {"memory_size": 4096}})
    wanted = merge([event, manifest, template], "owner").executor
    assert (wanted.memory_size, wanted.timeout, wanted.tracing) == (4096, 20, "Active")


TRACING = "arn:aws:lambda:eu-west-1:615299751070:layer:AWSOpenTelemetryDistroPython:19"


def test_the_layer_for_tracing_is_last_whatever_layers_the_manifest_names() -> None:
    manifest = Manifest.model_validate({"executor": {"layers": [TRACING, "numpy", LAYERS[1]]}})
    stack = {"layers": LAYERS[1], "tracing_layer": TRACING, "role": ROLE}
    wishes = DeploymentWishes.model_validate(
        {"executor": stack, "invoker": {**stack, "layers": ""}}
    )
    both = merge([manifest, wishes], "owner")
    made = plan_deployment(both, PACKAGE, (found(), None), {"numpy": LAYERS[0]})
    executor, invoker = (function.wanted for function in made.functions)
    assert executor.layers == (*LAYERS, TRACING)
    assert invoker.layers == (TRACING,)
    assert executor.environment["WUKONG_TRACING_LAYER"] == TRACING
    with pytest.raises(ValidationError, match="tracing_layer"):
        Manifest.model_validate({"executor": {"tracing_layer": TRACING}})


def test_the_layer_for_tracing_is_taken_away_alone_and_stays_where_nobody_says() -> None:
    traced = plan(spec(layers=list(LAYERS), tracing_layer=TRACING), found()).wanted
    now = found(latest=deployed(traced), live=deployed(traced))
    assert plan(spec(), now).wanted == traced
    assert plan(spec(environment={"MINE": "1"}), now).wanted.layers == (*LAYERS, TRACING)
    assert plan(spec(layers=[LAYERS[0]]), now).wanted.layers == (LAYERS[0], TRACING)
    for nothing in ("", None):
        cleared = plan(spec(tracing_layer=nothing), now).wanted
        assert cleared.layers == LAYERS
        assert cleared.environment == WANTED.environment
    other = TRACING.replace(":19", ":20")
    assert plan(spec(tracing_layer=other), now).wanted.layers == (*LAYERS, other)


def test_layers_given_by_name_become_the_versions_that_were_published() -> None:
    wishes = spec(layers=[LAYERS[0], "numpy"])
    assert wishes.executor.layer_names == ("numpy",)
    made = plan_deployment(wishes, PACKAGE, (found(), None), {"numpy": LAYERS[1]}).functions[0]
    assert made.wanted.layers == LAYERS


RECORD = Record("12345.12345", "12344.12344", "v" * 64, "sha/+=123456", "c" * 12, "2026", "r", "b")


def test_a_record_reads_back_and_always_fits() -> None:
    full = replace(RECORD, rollback=True, held=("01234567",) * 4, request="12345678", by="x" * 24)
    full = replace(full, at="20260102T030405.678Z")
    assert Record.parse(str(full)) == full
    assert len(str(full)) <= 256
    assert Record.parse("switched by hand") is None
    longer = replace(full, package="p" * 1000, by="who ever = this may be " * 9)
    assert len(str(longer)) <= 256
    read = Record.parse(str(longer))
    assert read is not None
    assert read.package == short("p" * 1000)


def test_the_later_of_two_records_counts() -> None:
    earlier, last = replace(RECORD, at="20260101"), replace(RECORD, at="20260102")
    assert later(earlier, last) is later(last, earlier) is later(None, last) is last
    assert later(None, None) is None


def test_an_origin_reads_back() -> None:
    origin = Origin("v1", "7", "20260102T030405.678Z", "s3:alice")
    assert Origin.parse(str(origin)) == origin
    assert Origin.parse("") is None
