"""The lines of a function's log by which `wukong logs` finds the invocations of a run."""

from __future__ import annotations

import json
import os
from typing import Any

from wukong.platform.context import inside_function


def log(**fields: Any) -> None:
    """Write a line of JSON; only on Lambda, as elsewhere it would be in the user's terminal."""
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ and not inside_function():
        print(json.dumps(fields))  # noqa: T201 - what Lambda takes for the log
