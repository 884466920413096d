"""A function's environment variables: which are ours, which Lambda's, and how much they may be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

RESERVED_VARIABLES = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)
"""Names that Lambda keeps for itself.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
"""

ENVIRONMENT_BYTES = 4096
"""Limit of all variables of a function together.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""


TRACING_LAYER = "WUKONG_TRACING_LAYER"
"""Which of its layers a function has for tracing, so that this one can be taken away again."""

OURS: Mapping[str, str] = {
    "AWS_LAMBDA_EXEC_WRAPPER": "exec_wrapper",
    "WUKONG_BUNDLES": "bundle_place",
    "WUKONG_METRICS": "metrics",
    "WUKONG_STORE_SIGNING_KEY": "signing_key",
    TRACING_LAYER: "tracing_layer",
}
"""Variables that have a field of their own, by which alone they are set.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html#runtime-wrapper"""


def sized(variables: dict[str, str]) -> dict[str, str]:
    """Give variables that are taken as they are; else raise `ValueError` that says why not."""
    reserved = sorted(variables.keys() & RESERVED_VARIABLES)
    if reserved:
        raise ValueError(f"Lambda reserves {', '.join(reserved)}")
    if ours := sorted(variables.keys() & OURS.keys()):
        raise ValueError(f"{ours[0]} is set by {OURS[ours[0]]}")
    wrong = sorted(name for name in variables if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]+", name))
    if wrong:
        raise ValueError(f"Lambda takes no variable named {wrong[0]!r:.100}")
    if (size := environment_bytes(variables)) > ENVIRONMENT_BYTES:
        raise ValueError(f"{size} bytes of variables; Lambda allows {ENVIRONMENT_BYTES}")
    return variables


def environment_bytes(variables: Mapping[str, str]) -> int:
    """Give what Lambda measures: the variables written as JSON, with quotes and commas."""
    written = json.dumps(dict(variables), separators=(",", ":"), ensure_ascii=False)
    return len(written.encode())
