"""The template and the code say the same, and CloudFormation takes the template as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bootstrap.settings import Settings
from bootstrap.spec import DEFAULTS, FunctionWishes

TEXT = (Path(__file__).parents[2] / "template-bootstrap.yaml").read_text()


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short functions as what they are given."""


def _function(loader: Loader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


Loader.add_multi_constructor("!", _function)
TEMPLATE: dict[str, Any] = yaml.load(TEXT, Loader)  # the loader is a safe one
RESOURCES = TEMPLATE["Resources"]


@pytest.mark.parametrize(
    ("parameter", "component", "field"),
    [
        ("Runtime", "executor", "runtime"),
        ("Runtime", "invoker", "runtime"),
        ("Architecture", "executor", "architecture"),
        ("ExecutorHandler", "executor", "handler"),
        ("InvokerHandler", "invoker", "handler"),
        ("ExecutorMemorySize", "executor", "memory_size"),
        ("InvokerMemorySize", "invoker", "memory_size"),
        ("ExecutorTimeout", "executor", "timeout"),
        ("InvokerTimeout", "invoker", "timeout"),
    ],
)
def test_a_parameters_default_is_the_codes(parameter: str, component: Any, field: str) -> None:
    assert TEMPLATE["Parameters"][parameter]["Default"] == DEFAULTS[component][field]


def test_the_prefix_gives_the_default_names() -> None:
    prefix = TEMPLATE["Parameters"]["FunctionPrefix"]["Default"]
    for component in ("executor", "invoker"):
        assert DEFAULTS[component]["function_name"] == f"{prefix}{component.capitalize()}"


def test_every_variable_of_the_bootstrap_is_one_that_it_reads() -> None:
    variables = RESOURCES["BootstrapFunction"]["Properties"]["Environment"]["Variables"]
    known = {
        f"WUKONG_{name}"
        for name in (
            "PACKAGE_BUCKET",
            "PACKAGE_KEY",
            "PACKAGE_VERSION",
            "OWNER",
            "STORE_URL",
            "KEEP_RELEASES",
            "LAYER_PREFIX",
            "TOPIC",
        )
    }
    for name in FunctionWishes.model_fields:
        for prefix in ("WUKONG", "WUKONG_EXECUTOR", "WUKONG_INVOKER"):
            known.add(f"{prefix}_{name.upper()}")
    assert {name for name in variables if name.startswith("WUKONG_")} <= known


def test_the_custom_resource_and_the_environment_say_the_same() -> None:
    """An S3 event deploys with the one, CloudFormation with the other."""
    variables = RESOURCES["BootstrapFunction"]["Properties"]["Environment"]["Variables"]
    told = {name: str(value) for name, value in variables.items()} | {"WUKONG_KEEP_RELEASES": "9"}
    settings = Settings.from_environment(told)
    properties = RESOURCES["Functions"]["Properties"]
    for component in ("executor", "invoker"):
        told = {
            re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): value
            for name, value in properties[component.capitalize()].items()
        }
        assert told.keys() == settings.said[component].keys()


def test_tracing_is_a_parameter_of_all_three_functions() -> None:
    resources = RESOURCES["Functions"]["Properties"]
    three = (RESOURCES["BootstrapFunction"]["Properties"], resources["Executor"])
    for properties in (*three, resources["Invoker"]):
        assert properties["Tracing"] == "Tracing"
    variables = RESOURCES["BootstrapFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["WUKONG_TRACING"] == "Tracing", "an upload's event configures both with it"


@pytest.mark.parametrize(
    ("role", "condition"),
    [
        ("BootstrapRole", "HasTracing"),
        ("ExecutorRole", "SendsTraces"),
        ("InvokerRole", "SendsTraces"),
    ],
)
def test_a_function_may_write_traces_only_if_it_is_to(role: str, condition: str) -> None:
    (policy,) = RESOURCES[role]["Properties"]["Policies"]
    statements = policy["PolicyDocument"]["Statement"]
    about_traces = [one for one in statements if "xray:" in str(one)]
    assert [one[0] for one in about_traces] == [condition]
    assert about_traces[0][2] == "AWS::NoValue"
    allowed = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
    assert set(about_traces[0][1]["Action"]) == allowed


def test_there_are_no_yaml_aliases_which_cloudformation_refuses() -> None:
    tokens = {type(token).__name__ for token in yaml.scan(TEXT)}
    assert not tokens & {"AliasToken", "AnchorToken"}


def test_every_action_that_the_code_calls_is_allowed_and_no_other() -> None:
    code = "\n".join(
        (Path(__file__).parents[2] / "bootstrap" / name).read_text()
        for name in ("lambda_api.py", "lambda_reader.py")
    )
    called = set(re.findall(r"(?:self\._)?client\.([a-z_]+)\b", code)) - {"lambda"}
    called = {"".join(word.capitalize() for word in name.split("_")) for name in called}
    other_names = {"Invoke": "InvokeFunction", "GetLayerVersionByArn": "GetLayerVersion"}
    called = {other_names.get(name, name) for name in called}
    # Lambda gives tags with GetFunction only to those who may list them.
    called.add("ListTags")
    statements = RESOURCES["BootstrapRole"]["Properties"]["Policies"][0]["PolicyDocument"]
    allowed: set[str] = set()
    for statement in statements["Statement"]:
        if isinstance(statement, dict):
            actions = statement["Action"]
            allowed |= {actions} if isinstance(actions, str) else set(actions)
    lambdas = {action.removeprefix("lambda:") for action in allowed if action.startswith("lambda:")}
    assert lambdas == called


def test_the_filters_of_the_buckets_notifications_do_not_overlap() -> None:
    """S3 refuses a notification whose filters could both take one key."""
    found = RESOURCES["PackageBucket"]["Properties"]["NotificationConfiguration"]
    prefixes = [
        rule["Value"]
        for configuration in found["LambdaConfigurations"]
        for rule in configuration["Filter"]["S3Key"]["Rules"]
        if rule["Name"] == "prefix"
    ]
    assert prefixes == ["PackageKey", "layers/"]
    pattern = TEMPLATE["Parameters"]["PackageKey"]["AllowedPattern"]
    assert re.fullmatch(pattern, "deployment.zip")
    assert not re.fullmatch(pattern, "layers/deployment.zip")


def test_only_the_stacks_own_bucket_may_trigger_the_function() -> None:
    """A bucket's name can be somebody else's after it was deleted."""
    properties = RESOURCES["UploadPermission"]["Properties"]
    assert {"SourceAccount", "SourceArn"} <= properties.keys()


def test_cloudformation_waits_a_minute_longer_than_the_function_runs() -> None:
    function = RESOURCES["BootstrapFunction"]["Properties"]
    assert RESOURCES["Functions"]["Properties"]["ServiceTimeout"] == function["Timeout"] + 60
    assert function["EventInvokeConfig"]["MaximumRetryAttempts"] == 1
    assert "VpcConfig" not in function, "CloudFormation's answer goes to a public address"


def test_every_trap_and_every_test_that_the_guide_names_is_there() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "deploying.md").read_text()
    assert {f"P{number}" for number in range(1, 45)} <= set(re.findall(r"\bP\d+\b", guide))
    sources = [file.read_text() for file in Path(__file__).parent.glob("test_*.py")]
    tests = set(re.findall(r"def (test_\w+)", "\n".join(sources)))
    assert set(re.findall(r"\btest_\w+(?!\w|\.py)", guide)) - tests == set()
