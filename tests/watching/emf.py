"""What CloudWatch's embedded metric format demands of a line: the schema of its specification.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

UNITS = (
    "Seconds|Microseconds|Milliseconds|Bytes|Kilobytes|Megabytes|Gigabytes|Terabytes|Bits|Kilobits|"
    "Megabits|Gigabits|Terabits|Percent|Count|None"
)


def _text(longest: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": longest}


def _listed(item: dict[str, Any], least: int, most: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": least, "maxItems": most}


def _object(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields}


METRIC = {
    **_object(
        Name=_text(1024),
        Unit={"type": "string", "pattern": f"^({UNITS})(/Second)?$"},
        StorageResolution={"enum": [1, 60]},
    ),
    "required": ["Name"],
    "additionalProperties": False,
}
DIRECTIVE = {
    **_object(
        Namespace=_text(1024),
        Dimensions=_listed(_listed(_text(250), 0, 30), 1, 100),
        Metrics=_listed(METRIC, 0, 100),
    ),
    "required": ["Namespace", "Dimensions", "Metrics"],
    "additionalProperties": False,
}
METADATA = {
    **_object(
        Timestamp={"type": "integer"}, CloudWatchMetrics={"type": "array", "items": DIRECTIVE}
    ),
    "required": ["Timestamp", "CloudWatchMetrics"],
    "additionalProperties": False,
}
ROOT = {**_object(_aws=METADATA), "required": ["_aws"]}


def assert_valid(document: dict[str, Any]) -> None:
    """Check a line against the schema, and that every name it refers to is among its members."""
    Draft202012Validator(ROOT).validate(document)
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            for name in names:
                value = document[name]
                assert isinstance(value, str)
                assert 1 <= len(value) <= 1024
        for metric in directive["Metrics"]:
            value = document[metric["Name"]]
            assert isinstance(value, int | float)
            assert not isinstance(value, bool)
