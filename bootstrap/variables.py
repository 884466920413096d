"""What Lambda takes for a function's environment variables: which names, and how much together."""

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


def sized(variables: dict[str, str]) -> dict[str, str]:
    """Give variables that Lambda takes as they are; else raise `ValueError` that says why not."""
    reserved = sorted(variables.keys() & RESERVED_VARIABLES)
    if reserved:
        raise ValueError(f"Lambda reserves {', '.join(reserved)}")
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
