"""Lines, metrics, alarms and the dashboard of a deployed stack, on the embedded AWS."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import dask
import pytest

import wukong
from tests.conftest import until
from tests.watching.emf import assert_valid
from wukong.cli.logs import MARGIN_SECONDS
from wukong.stack.cloudformation import Stack

pytestmark = pytest.mark.embedded

ALARMS = {
    *("DeploymentFailed", "EventsFailed", "ExecutorErrors", "ExecutorThrottled"),
    *("ExecutorEventsDropped", "InvokerErrors", "InvokerThrottled"),
}


def logs(run: str, *words: str, cwd: Path) -> Any:
    """Give what `wukong logs` says to programs."""
    done = subprocess.run(
        [sys.executable, "-m", "wukong", "logs", run, *words, "--json"],
        cwd=cwd,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout)


def lines_of(told: Any) -> list[dict[str, Any]]:
    """Give the functions' own lines."""
    texts = [event["text"] for event in told["events"]]
    return [json.loads(text) for text in texts if text.startswith('{"')]


@dask.delayed(pure=True)
def spread(value: int) -> int:
    time.sleep(0.3)
    return value + 1


def test_the_log_of_a_run_is_lines_of_json_that_all_name_it(
    client: wukong.Client, tmp_path: Path
) -> None:
    other = client.compute(dask.delayed(abs)(-1))
    assert other.result() == 1
    first = dask.delayed(abs)(-1)
    future = client.compute(dask.delayed(sum)([spread(first + i) for i in range(3)]))
    assert future.result() == 9

    def whole() -> Any:
        told = logs(future.run, cwd=tmp_path)
        kinds = [line["wukong"] for line in lines_of(told)]
        return told if kinds.count("begins") == kinds.count("executed") > 1 else None

    told = until(whole, lambda: f"{logs(future.run, cwd=tmp_path)} to be whole", 120.0)
    found = lines_of(told)
    assert {line["run"] for line in found} == {future.run}
    assert other.run not in json.dumps(told)
    requests = {line["request"] for line in found if line["component"] == "executor"}
    assert len(requests) > 1, "several Executors"
    assert {one["request"] for one in told["events"]} >= requests
    times = [event["at"] for event in told["events"]]
    assert times == sorted(times)
    begun = [name for line in found if line["wukong"] == "begins" for name in line["lineages"]]
    assert len(begun) == len(set(begun)) > 1

    last = [line for line in found if line["wukong"] in {"executed", "invoked"}]
    for line in last:
        assert_valid(line)
        assert line["FunctionName"] == f"Wukong{line['component'].capitalize()}"
    executed = [line for line in last if line["wukong"] == "executed"]
    status = client.record(future.run).summary
    assert sum(line["Segments"] for line in executed) == status.segments
    assert sum(line["TasksFailed"] for line in executed) == 0
    assert sum(line["BusySeconds"] for line in executed) > 0.5


def test_the_query_for_logs_insights_names_the_run_and_the_groups(
    client: wukong.Client, tmp_path: Path
) -> None:
    before = time.time()
    future = client.compute(dask.delayed(abs)(-1))
    assert future.result() == 1
    begun = time.time()
    told = logs(future.run, "--insights", cwd=tmp_path)
    assert f'filter run = "{future.run}"' in told["query"]
    assert told["groups"] == [
        f"/aws/lambda/Wukong{x}" for x in ("Executor", "Invoker", "Bootstrap")
    ]
    assert told["query"] in told["command"]
    words = shlex.split(told["command"])
    since = int(words[words.index("--start-time") + 1])
    assert before - MARGIN_SECONDS - 1 <= since <= begun - MARGIN_SECONDS + 1
    assert int(words[words.index("--end-time") + 1]) >= int(begun)


def test_alarms_and_the_dashboard_are_there(deployed: Stack) -> None:
    resources: Any = boto3.client("cloudformation").describe_stack_resources(
        StackName=deployed.name
    )
    found = {one["LogicalResourceId"]: one for one in resources["StackResources"]}
    assert found.keys() >= ALARMS
    assert "HourlySpend" not in found, "nobody has given a limit"
    cloudwatch: Any = boto3.client("cloudwatch")
    names = [found[name]["PhysicalResourceId"].rpartition(":")[2] for name in ALARMS]
    alarms = cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
    assert len(alarms) == len(ALARMS)
    body = cloudwatch.get_dashboard(DashboardName="Wukong-us-east-1")["DashboardBody"]
    titles = {widget["properties"]["title"] for widget in json.loads(body)["widgets"]}
    assert {"Executors", "Segments", "Runs", "Alarms"} <= titles


def test_metrics_are_a_variable_of_both_functions(deployed: Stack) -> None:
    functions: Any = boto3.client("lambda")
    for name in ("WukongExecutor", "WukongInvoker"):
        found = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        assert found["WUKONG_METRICS"] == "on"
        assert "AWS_LAMBDA_EXEC_WRAPPER" not in found


def test_what_is_watched_is_changed_by_parameters(deployed: Stack) -> None:
    """The last one, as it leaves the stack changed."""
    topic = "arn:aws:sns:us-east-1:000000000000:alarms"
    told = {"Metrics": "off", "Dashboard": "false", "AlarmTopicArn": topic}
    cloudformation: Any = boto3.client("cloudformation")
    before = cloudformation.describe_stacks(StackName=deployed.name)["Stacks"][0]["Parameters"]
    kept = [one["ParameterKey"] for one in before if one["ParameterKey"] not in told]
    cloudformation.update_stack(
        StackName=deployed.name,
        UsePreviousTemplate=True,
        Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[
            *({"ParameterKey": key, "ParameterValue": value} for key, value in told.items()),
            *({"ParameterKey": key, "UsePreviousValue": True} for key in kept),
        ],
    )
    deployed._settle(time.sleep)
    functions: Any = boto3.client("lambda")
    for name in ("WukongExecutor", "WukongInvoker"):
        found = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        assert found["WUKONG_METRICS"] == "off"
    cloudwatch: Any = boto3.client("cloudwatch")
    dashboards = cloudwatch.list_dashboards()["DashboardEntries"]
    assert "Wukong-us-east-1" not in {one["DashboardName"] for one in dashboards}
    alarms = cloudwatch.describe_alarms()["MetricAlarms"]
    told_to = {tuple(alarm["AlarmActions"]) for alarm in alarms if "Wukong" in str(alarm)}
    assert (topic,) in told_to
