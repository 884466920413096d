"""Metrics of an invocation, as CloudWatch reads them out of a log line (embedded metric format).

No call is made and nothing waits: CloudWatch takes the values from the line. Each combination of a
metric's name and its dimensions is billed as one metric, so dimensions are the function only; the
run is another field of the line, by which Logs Insights can sum up.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

NAMESPACE = "Wukong"

SWITCH = "WUKONG_METRICS"
"""`on` or `off`; without it they are on where functions run on Lambda."""

DIMENSIONS = ("service", "FunctionName")
"""As the Bootstrap's metrics have them."""

UNITS: Mapping[str, str] = {
    "BusySeconds": "Seconds",
    "BytesStored": "Bytes",
}
"""Those of metrics that are not counts."""


def is_on() -> bool:
    """Tell whether metrics are wanted here."""
    wanted = os.environ.get(SWITCH, "").lower()
    return wanted != "off" if "AWS_LAMBDA_FUNCTION_NAME" in os.environ else wanted == "on"


def embedded(component: str, values: Mapping[str, float]) -> dict[str, Any]:
    """Give the fields of a line: the values, and what makes metrics of them if they are wanted.

    Parameters
    ----------
    component
        `executor` or `invoker`.
    values
        By the name of the metric; at most 100.
    """
    if not is_on():
        return dict(values)
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(DIMENSIONS)],
        "Metrics": [{"Name": name, "Unit": UNITS.get(name, "Count")} for name in values],
    }
    function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "local")
    return {
        "_aws": {"Timestamp": round(time.time() * 1000), "CloudWatchMetrics": [directive]},
        "service": component,
        "FunctionName": function,
        **values,
    }
