"""The template's alarms and dashboard speak of metrics that there are, and are documented."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from bootstrap.tell import _METRICS
from executor.function import _metrics as executor_metrics
from executor.work import Tally
from invoker.function import _metrics as invoker_metrics
from tests.templates import BOOTSTRAP, ROOT, Template

DOCS = ROOT / "docs"
ALARM = "AWS::CloudWatch::Alarm"
TEMPLATE = Template(BOOTSTRAP, HourlySpendLimit="5")
ALARMS = TEMPLATE.of_type(ALARM)
LAMBDA = {
    *("Invocations", "Errors", "Throttles", "Duration"),
    *("ConcurrentExecutions", "AsyncEventsDropped"),
}
"""https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html"""
QUEUE = {"ApproximateNumberOfMessagesVisible"}
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html"""
OURS = {
    "executor": set(executor_metrics(Tally(), cold=False)),
    "invoker": set(invoker_metrics(Counter(), 0.0, cold=False)),
    "bootstrap": set(_METRICS.values()),
}
FUNCTIONS = {"WukongExecutor", "WukongInvoker"}


def dashboard() -> dict[str, Any]:
    body: str = TEMPLATE.properties("Watching")["DashboardBody"]
    found: dict[str, Any] = json.loads(re.sub(r"\$\{[^}]+\}", "x", body))
    return found


def rows(page: str, heading: str) -> list[list[str]]:
    """Give the cells of the tables of a section, without their heads."""
    text = (DOCS / page).read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section, f"{page} has no section {heading}"
    lines = section.splitlines()
    heads = {number - 1 for number, line in enumerate(lines) if line.startswith("|---")}
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for number, line in enumerate(lines)
        if line.startswith("| ") and number not in heads
    ]


def watched() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each metric that an alarm looks at."""
    for name, alarm in ALARMS.items():
        if "MetricName" in alarm:
            yield name, alarm
        for one in alarm.get("Metrics", []):
            if "MetricStat" in one:
                yield name, one["MetricStat"]["Metric"]


@pytest.mark.parametrize(
    ("page", "heading"), [("runbook.md", "The alarms"), ("watching.md", "Alarms")]
)
def test_the_alarms_of_a_page_are_those_of_the_template(page: str, heading: str) -> None:
    assert {row[0] for row in rows(page, heading)} == {f"`{name}`" for name in ALARMS}


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_an_alarm_is_sent_to_whom_the_parameters_name(name: str) -> None:
    """First to AlarmTopicArn, else to TopicArn, else to nobody."""
    ours, theirs = {"AlarmTopicArn": "alarms"}, {"TopicArn": "all"}
    for parameters, told in ((ours, ["alarms"]), (theirs, ["all"]), (ours | theirs, ["alarms"])):
        found = Template(BOOTSTRAP, HourlySpendLimit="5", **parameters).properties(name)
        assert found["AlarmActions"] == told
    assert "AlarmActions" not in ALARMS[name]


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_a_function_that_does_nothing_gives_no_alarm(name: str) -> None:
    assert ALARMS[name]["TreatMissingData"] == "notBreaching"


def test_every_alarm_looks_at_a_metric_that_there_is() -> None:
    """By its whole name: CloudWatch shows nothing where one dimension is missing or too much."""
    seen = set()
    for name, metric in watched():
        seen.add(name)
        dimensions = {one["Name"]: one["Value"] for one in metric["Dimensions"]}
        match metric["Namespace"]:
            case "Wukong":
                assert metric["MetricName"] in OURS[dimensions.pop("service")]
                assert dimensions == {"FunctionName": {"Ref": "BootstrapFunction"}}
            case "AWS/Lambda":
                assert metric["MetricName"] in LAMBDA
                assert dimensions.keys() == {"FunctionName"}
                assert dimensions["FunctionName"] in FUNCTIONS
            case "AWS/SQS":
                assert metric["MetricName"] in QUEUE
                assert dimensions == {"QueueName": {"Fn::GetAtt": ["FailedEvents", "QueueName"]}}
            case other:
                pytest.fail(f"{name} looks into {other}")
    assert seen == ALARMS.keys()


def test_starts_that_lambda_refuses_give_an_alarm_for_both_functions() -> None:
    refused = {name: one for name, one in watched() if one["MetricName"] == "Throttles"}
    assert refused.keys() == {"ExecutorThrottled", "InvokerThrottled"}


def test_the_dashboard_shows_metrics_that_functions_report() -> None:
    for widget in dashboard()["widgets"]:
        namespace, service = "", ""
        for row in widget["properties"].get("metrics", []):
            if not isinstance(row[0], str):
                continue
            namespace = row[0] if row[0] != "." else namespace
            service = row[3] if namespace == "Wukong" and row[3] != "." else service
            if namespace == "Wukong":
                assert row[1] in OURS[service], row
            elif namespace == "AWS/Lambda":
                assert row[1] in LAMBDA, row
            else:
                assert row[1] in QUEUE, row


def test_the_dashboard_has_every_alarm_that_there_always_is() -> None:
    body = TEMPLATE.properties("Watching")["DashboardBody"]
    always = Template(BOOTSTRAP).of_type(ALARM).keys()
    assert set(re.findall(r"\$\{(\w+)\.Arn\}", body)) == always
    assert ALARMS.keys() - always == {"HourlySpend"}


def test_the_metrics_of_the_page_on_watching_are_those_that_functions_report() -> None:
    names = [row[0] for row in rows("watching.md", "Metrics")]
    reported = [*sorted(OURS["executor"]), *sorted(OURS["invoker"])]
    assert sorted(names) == sorted(f"`{name}`" for name in reported)
    # The parameter's description counts them.
    assert len(reported) == 16
    description = TEMPLATE.body["Parameters"]["Metrics"]["Description"]
    assert "the sixteen of them" in " ".join(description.split())


def test_the_lines_of_the_page_on_watching_are_those_that_functions_write() -> None:
    told = {(row[0], row[1].strip("`")) for row in rows("watching.md", "Logs")}
    written = {
        (component, found[1])
        for component in ("executor", "invoker")
        for file in (ROOT / component).glob("*.py")
        for found in re.finditer(r'lines\.(?:say|measure)\(\s*"([^"]+)"', file.read_text())
    }
    assert told == written


def spending(**parameters: str) -> tuple[str, float]:
    """Give the alarm's expression, and the price of a gigabyte for a second in it."""
    alarm = Template(BOOTSTRAP, HourlySpendLimit="5", **parameters).properties("HourlySpend")
    expression, values = alarm["Metrics"][0]["Expression"]["Fn::Sub"]
    return expression.replace("${Price}", values["Price"]), values["Price"]


def test_spend_is_reckoned_with_the_prices_that_the_package_has() -> None:
    prices = yaml.safe_load((ROOT / "wukong" / "prices.yaml").read_text())
    region = prices["lambda"]["regions"]["us-east-1"]
    for architecture in ("arm64", "x86_64"):
        expression, price = spending(Architecture=architecture)
        assert price == f"{region[architecture]:.10f}"
        assert f"{region['million_requests'] / 1e6:.7f}" in expression


def test_the_spend_of_an_hour_is_what_lambda_asks_for() -> None:
    """An hour of ten Executors with 3,008 MB, and one call of an Invoker for a second."""
    expression, _ = spending()
    for name, megabytes in (("ExecutorMemorySize", "3008"), ("InvokerMemorySize", "512")):
        expression = expression.replace(f"${{{name}}}", megabytes)
    metrics = {"executor": 36_000_000.0, "invoker": 1_000.0, "executors": 40.0, "invokers": 1.0}
    spent = eval(expression, {"FILL": lambda found, _: found, **metrics})
    assert spent == pytest.approx(36_000 * 3008 / 1024 * 0.0000166667, rel=1e-3)


def test_a_layer_for_spans_is_laid_over_all_others_of_both_functions() -> None:
    layer = "arn:aws:lambda:eu-west-1:615299751070:layer:Otel:19"
    for tracing, wrapper in ((layer, "/opt/otel-instrument"), ("", "")):
        found = Template(BOOTSTRAP, ExecutorLayers="numpy", TracingLayerArn=tracing)
        variables = found.properties("BootstrapFunction")["Environment"]["Variables"]
        functions = found.properties("Functions")
        for component, named in (("Executor", "numpy"), ("Invoker", "")):
            told = functions[component]
            assert told["Layers"] == named == variables[f"WUKONG_{component.upper()}_LAYERS"]
            assert told["TracingLayer"] == tracing == variables["WUKONG_TRACING_LAYER"]
            assert told["ExecWrapper"] == wrapper == variables["WUKONG_EXEC_WRAPPER"]
