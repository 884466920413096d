"""Fields of a function that are variables of it: set, cleared, and otherwise left alone."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bootstrap.configuration import Configuration
from bootstrap.settings import Settings
from bootstrap.spec import FunctionSpec, merge
from bootstrap.variables import OURS
from bootstrap.wishes import DeploymentWishes

BEFORE = Configuration(
    handler="h",
    runtime="python3.13",
    role="r",
    environment={"MINE": "1", "AWS_LAMBDA_EXEC_WRAPPER": "/opt/otel-instrument"},
)


def variables(**executor: Any) -> dict[str, str]:
    """Give the Executor's variables after these wishes."""
    wishes = DeploymentWishes.model_validate({"executor": executor})
    configured = merge([wishes], "owner").executor.configuration(BEFORE)
    ours = {"WUKONG_PLATFORM", "WUKONG_STORE_URL"}
    return {name: value for name, value in configured.environment.items() if name not in ours}


def test_what_nobody_says_is_left_alone() -> None:
    assert variables() == BEFORE.environment


def test_an_empty_wrapper_is_taken_away_and_nothing_else() -> None:
    """A layer that goes must not leave the variable: no function would start without its file."""
    assert variables(exec_wrapper="") == {"MINE": "1"}
    assert variables(exec_wrapper=None) == {"MINE": "1"}


def test_a_variable_is_set_beside_those_that_are_there() -> None:
    found = variables(metrics="off", exec_wrapper="/opt/other")
    told = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/other", "WUKONG_METRICS": "off"}
    assert found == {"MINE": "1", **told}


def test_a_field_that_nobody_gives_stays_also_where_the_environment_is_given() -> None:
    wrapper = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/otel-instrument"}
    assert variables(environment={"OTHER": "2"}) == {"OTHER": "2", **wrapper}


@pytest.mark.parametrize(("variable", "field"), OURS.items())
def test_a_variable_that_has_a_field_is_refused_by_its_name(variable: str, field: str) -> None:
    """Nobody has to guess which of two ways to say it counts."""
    assert field in FunctionSpec.__slots__
    with pytest.raises(ValidationError, match=f"{variable} is set by {field}"):
        variables(environment={variable: "/opt/mine"})


def test_the_environment_of_the_bootstrap_says_the_same() -> None:
    told = {
        "WUKONG_PACKAGE_BUCKET": "bucket",
        "WUKONG_PACKAGE_KEY": "key",
        "WUKONG_METRICS": "off",
        "WUKONG_EXEC_WRAPPER": "",
        "WUKONG_TRACING_LAYER": "",
    }
    said = Settings.from_environment(told).said
    same = {"metrics": "off", "exec_wrapper": "", "tracing_layer": ""}
    assert said["executor"] == said["invoker"] == same
