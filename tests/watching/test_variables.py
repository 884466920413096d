"""Fields of a function that are variables of it: set, cleared, and otherwise left alone."""

from __future__ import annotations

from typing import Any

from bootstrap.configuration import Configuration
from bootstrap.settings import Settings
from bootstrap.spec import DeploymentWishes, merge

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


def test_variables_that_are_wished_by_name_stay_when_a_field_is_empty() -> None:
    wished = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/mine"}
    assert variables(exec_wrapper="", environment=wished) == wished


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
