"""The template's alarms and dashboard speak of metrics that there are, and are documented."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bootstrap.tell import _METRICS
from executor.function import _metrics
from executor.work import Tally
from tests.bootstrap.test_template import RESOURCES, TEMPLATE

DOCS = Path(__file__).parents[2] / "docs"
ALARMS = {
    name: one["Properties"]
    for name, one in RESOURCES.items()
    if one["Type"] == "AWS::CloudWatch::Alarm"
}
LAMBDA = {
    *("Invocations", "Errors", "Throttles", "Duration"),
    *("ConcurrentExecutions", "AsyncEventsDropped"),
}
"""https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html"""
EXECUTOR = set(_metrics(Tally(), cold=False))
INVOKER = {"Started", "Refused", "Unsure", "Throttled", "ColdStarts", "BusySeconds"}


def dashboard() -> dict[str, Any]:
    body: str = RESOURCES["Watching"]["Properties"]["DashboardBody"]
    found: dict[str, Any] = json.loads(re.sub(r"\$\{[^}]+\}", "x", body))
    return found


def test_every_alarm_is_in_the_runbook_and_in_the_page_on_watching() -> None:
    for page in ("runbook.md", "watching.md"):
        text = (DOCS / page).read_text()
        for name in ALARMS:
            assert f"| `{name}` |" in text, f"{page} does not say what to do about {name}"


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_an_alarm_is_sent_to_whom_the_parameters_name(name: str) -> None:
    """First to AlarmTopicArn, else to TopicArn, else to nobody."""
    actions = ALARMS[name]["AlarmActions"]
    assert actions == [
        "HasAlarmTopic",
        ["AlarmTopicArn"],
        ["HasTopic", ["TopicArn"], "AWS::NoValue"],
    ]


@pytest.mark.parametrize("name", sorted(ALARMS))
def test_a_function_that_does_nothing_gives_no_alarm(name: str) -> None:
    assert ALARMS[name]["TreatMissingData"] == "notBreaching"


def test_alarms_are_of_metrics_that_lambda_has() -> None:
    used = {
        alarm["MetricName"] for alarm in ALARMS.values() if alarm.get("Namespace") == "AWS/Lambda"
    }
    used |= {
        one["MetricStat"]["Metric"]["MetricName"]
        for one in ALARMS["HourlySpend"]["Metrics"]
        if "MetricStat" in one
    }
    assert used <= LAMBDA


def test_the_dashboard_shows_metrics_that_functions_report() -> None:
    bootstrap = set(_METRICS.values())
    known = {"executor": EXECUTOR, "invoker": INVOKER, "bootstrap": bootstrap}
    for widget in dashboard()["widgets"]:
        namespace, service = "", ""
        for row in widget["properties"].get("metrics", []):
            if not isinstance(row[0], str):
                continue
            namespace = row[0] if row[0] != "." else namespace
            service = row[3] if namespace == "Wukong" and row[3] != "." else service
            if namespace == "Wukong":
                assert row[1] in known[service], row
            elif namespace == "AWS/Lambda":
                assert row[1] in LAMBDA, row


def test_the_dashboard_has_every_alarm_that_there_always_is() -> None:
    always = {name for name in ALARMS if "Condition" not in RESOURCES[name]}
    body = RESOURCES["Watching"]["Properties"]["DashboardBody"]
    assert set(re.findall(r"\$\{(\w+)\.Arn\}", body)) == always


def test_every_metric_is_in_the_page_on_watching() -> None:
    text = (DOCS / "watching.md").read_text()
    for name in EXECUTOR | INVOKER:
        assert f"| `{name}` |" in text
    # The parameter's description counts them.
    assert len(EXECUTOR) + len(INVOKER) == 16
    assert "the sixteen of them" in " ".join(
        TEMPLATE["Parameters"]["Metrics"]["Description"].split()
    )


def test_spend_is_reckoned_with_the_prices_that_the_package_has() -> None:
    prices = yaml.safe_load((Path(__file__).parents[2] / "wukong" / "prices.yaml").read_text())
    region = prices["lambda"]["regions"]["us-east-1"]
    (expression, values) = ALARMS["HourlySpend"]["Metrics"][0]["Expression"]
    assert values["Price"] == ["IsArm", f"{region['arm64']:.10f}", f"{region['x86_64']:.10f}"]
    assert f"{region['million_requests'] / 1e6:.7f}" in expression


def test_the_spend_of_an_hour_is_what_lambda_asks_for() -> None:
    """An hour of ten Executors with 3,008 MB, and one call of an Invoker for a second."""
    expression, values = ALARMS["HourlySpend"]["Metrics"][0]["Expression"]
    told = {"ExecutorMemorySize": "3008", "InvokerMemorySize": "512", "Price": values["Price"][2]}
    for name, value in told.items():
        expression = expression.replace("${" + name + "}", value)
    metrics = {"executor": 36_000_000.0, "invoker": 1_000.0, "executors": 40.0, "invokers": 1.0}
    spent = eval(expression, {"FILL": lambda found, _: found, **metrics})
    assert spent == pytest.approx(36_000 * 3008 / 1024 * 0.0000166667, rel=1e-3)


def test_a_layer_for_spans_is_laid_over_all_others_of_both_functions() -> None:
    variables = RESOURCES["BootstrapFunction"]["Properties"]["Environment"]["Variables"]
    functions = RESOURCES["Functions"]["Properties"]
    for component, named in (("Executor", [",", "ExecutorLayers"]), ("Invoker", "")):
        layers = functions[component]["Layers"]
        assert layers == named == variables[f"WUKONG_{component.upper()}_LAYERS"]
        layer = functions[component]["TracingLayer"]
        assert layer == "TracingLayerArn" == variables["WUKONG_TRACING_LAYER"]
        wrapper = ["HasTracingLayer", "/opt/otel-instrument", ""]
        assert functions[component]["ExecWrapper"] == wrapper == variables["WUKONG_EXEC_WRAPPER"]
