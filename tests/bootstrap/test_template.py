"""The template and the code say the same, and CloudFormation takes the template as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bootstrap.settings import Settings
from bootstrap.spec import DEFAULTS
from bootstrap.wishes import FunctionWishes
from tests.templates import BOOTSTRAP, ROOT, Template

TEMPLATE = Template(BOOTSTRAP)
PARAMETERS = TEMPLATE.body["Parameters"]
SETTINGS = {
    *("PACKAGE_BUCKET", "PACKAGE_KEY", "PACKAGE_VERSION", "OWNER", "STORE_URL", "KEEP_RELEASES"),
    *("LAYER_PREFIX", "TOPIC"),
}
"""What bootstrap/settings.py reads besides fields of functions."""

BY_HAND = {
    *("asynchronous_retries", "environment", "ephemeral_storage", "log_format"),
    *("recursive_loop", "reserved_concurrency", "snap_start", "tags"),
}
"""Fields that only an event or a package's manifest gives."""

ALL_OF_IT = {
    "FunctionPrefix": "Mine",
    "StoreUrl": "valkeys://cache.example:6379",
    "PackageVersion": "v1",
    "ExecutorLayers": "numpy,dask",
    "FailureDestinationArn": "arn:aws:sqs:eu-west-1:111122223333:failed",
    "SubnetIds": "subnet-1,subnet-2",
    "SecurityGroupIds": "sg-1",
    "Tracing": "Active",
    "TracingLayerArn": "arn:aws:lambda:eu-west-1:615299751070:layer:Otel:19",
    "Metrics": "off",
    "KmsKeyArn": "arn:aws:kms:eu-west-1:111122223333:key/1",
}
"""Parameters that differ from their defaults."""


def variables(found: Template) -> dict[str, Any]:
    """Give the bootstrap's environment."""
    told: dict[str, Any] = found.properties("BootstrapFunction")["Environment"]["Variables"]
    return told


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
    assert PARAMETERS[parameter]["Default"] == DEFAULTS[component][field]


def test_the_prefix_gives_the_default_names() -> None:
    prefix = PARAMETERS["FunctionPrefix"]["Default"]
    for component in ("executor", "invoker"):
        assert DEFAULTS[component]["function_name"] == f"{prefix}{component.capitalize()}"


def test_the_bootstrap_is_given_each_variable_that_it_reads_and_no_other() -> None:
    given = {name.removeprefix("WUKONG_") for name in variables(TEMPLATE) if "WUKONG" in name}
    fields = {name.upper() for name in FunctionWishes.model_fields}
    known = {f"{owner}{name}" for name in fields for owner in ("", "EXECUTOR_", "INVOKER_")}
    assert given - known == SETTINGS
    told = {name.removeprefix("EXECUTOR_").removeprefix("INVOKER_") for name in given & known}
    assert told == fields - {name.upper() for name in BY_HAND}


@pytest.mark.parametrize("parameters", [{}, ALL_OF_IT], ids=["defaults", "all of it"])
def test_the_custom_resource_and_the_environment_say_the_same(parameters: dict[str, str]) -> None:
    """An S3 event deploys with the one, CloudFormation with the other."""
    found = Template(BOOTSTRAP, **parameters)
    said = Settings.from_environment({k: str(v) for k, v in variables(found).items()}).said
    properties = found.properties("Functions")
    for component in ("executor", "invoker"):
        told = {
            re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): str(value)
            for name, value in properties[component.capitalize()].items()
        }
        assert told == said[component]
    assert str(properties["StoreUrl"]) == said["store_url"]
    assert properties["PackageVersion"] == said["package_version"]


def test_tracing_is_a_parameter_of_all_three_functions() -> None:
    found = Template(BOOTSTRAP, Tracing="Active")
    functions = found.properties("Functions")
    bootstrap = found.properties("BootstrapFunction")
    for properties in (bootstrap, functions["Executor"], functions["Invoker"]):
        assert properties["Tracing"] == "Active"
    assert variables(found)["WUKONG_TRACING"] == "Active", "an upload's event configures with it"


@pytest.mark.parametrize(
    ("parameters", "who"),
    [
        ({}, set()),
        ({"Tracing": "Active"}, {"BootstrapRole", "ExecutorRole", "InvokerRole"}),
        ({"TracingLayerArn": ALL_OF_IT["TracingLayerArn"]}, {"ExecutorRole", "InvokerRole"}),
    ],
)
def test_a_function_may_write_traces_only_if_it_is_to(
    parameters: dict[str, str], who: set[str]
) -> None:
    found = Template(BOOTSTRAP, **parameters)
    told = {role: found.statements(role) for role in found.of_type("AWS::IAM::Role")}
    assert {role for role, statements in told.items() if "xray:" in str(statements)} == who
    for role in who:
        allowed = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
        assert set(told[role]["Traces"]["Action"]) == allowed


def test_there_are_no_yaml_aliases_which_cloudformation_refuses() -> None:
    tokens = {type(token).__name__ for token in yaml.scan(TEMPLATE.text)}
    assert not tokens & {"AliasToken", "AnchorToken"}


def test_every_action_that_the_code_calls_is_allowed_and_no_other() -> None:
    code = "\n".join(
        (ROOT / "bootstrap" / name).read_text() for name in ("lambda_api.py", "lambda_reader.py")
    )
    called = set(re.findall(r"(?:self\._)?client\.([a-z_]+)\b", code)) - {"lambda"}
    called = {"".join(word.capitalize() for word in name.split("_")) for name in called}
    other_names = {"Invoke": "InvokeFunction", "GetLayerVersionByArn": "GetLayerVersion"}
    called = {other_names.get(name, name) for name in called}
    # Lambda gives tags with GetFunction only to those who may list them.
    called.add("ListTags")
    allowed: set[str] = set()
    for statement in TEMPLATE.statements("BootstrapRole").values():
        actions = statement["Action"]
        allowed |= {actions} if isinstance(actions, str) else set(actions)
    lambdas = {action.removeprefix("lambda:") for action in allowed if action.startswith("lambda:")}
    assert lambdas == called


def test_the_filters_of_the_buckets_notifications_do_not_overlap() -> None:
    """S3 refuses a notification whose filters could both take one key."""
    found = TEMPLATE.properties("PackageBucket")["NotificationConfiguration"]
    prefixes = [
        rule["Value"]
        for configuration in found["LambdaConfigurations"]
        for rule in configuration["Filter"]["S3Key"]["Rules"]
        if rule["Name"] == "prefix"
    ]
    assert prefixes == ["deployment.zip", "layers/"]
    pattern = PARAMETERS["PackageKey"]["AllowedPattern"]
    assert re.fullmatch(pattern, "deployment.zip")
    assert not re.fullmatch(pattern, "layers/deployment.zip")


def test_only_the_stacks_own_bucket_may_trigger_the_function() -> None:
    """A bucket's name can be somebody else's after it was deleted."""
    properties = TEMPLATE.properties("UploadPermission")
    assert {"SourceAccount", "SourceArn"} <= properties.keys()


def test_cloudformation_waits_a_minute_longer_than_the_function_runs() -> None:
    function = TEMPLATE.properties("BootstrapFunction")
    assert TEMPLATE.properties("Functions")["ServiceTimeout"] == function["Timeout"] + 60
    assert function["EventInvokeConfig"]["MaximumRetryAttempts"] == 1
    assert "VpcConfig" not in function, "CloudFormation's answer goes to a public address"


def test_every_trap_and_every_test_that_the_guide_names_is_there() -> None:
    guide = (ROOT / "docs" / "deploying.md").read_text()
    assert {f"P{number}" for number in range(1, 45)} <= set(re.findall(r"\bP\d+\b", guide))
    sources = [file.read_text() for file in Path(__file__).parent.glob("test_*.py")]
    tests = set(re.findall(r"def (test_\w+)", "\n".join(sources)))
    assert set(re.findall(r"\btest_\w+(?!\w|\.py)", guide)) - tests == set()
