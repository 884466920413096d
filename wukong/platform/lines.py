"""The log of a function: lines of JSON, each with its run, so that one query shows a run.

On Lambda they go to standard output, which is the function's log group. On this machine they would
be in the user's terminal, so they go to the file that WUKONG_LOG names, if it names one. The last
line of an invocation carries its metrics (`metrics.py`).
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from wukong.platform import metrics
from wukong.platform.context import inside_function

FILE = "WUKONG_LOG"

LINE = 500
"""So many characters of an error go into the log; its client is told all of it."""

Write = Callable[[str], object]


class Lines:
    """The lines of one invocation.

    Parameters
    ----------
    component
        `executor` or `invoker`.
    run, request
        Ids of the run and of the invocation.
    cold
        Whether it is the first one of its process.
    """

    def __init__(self, component: str, run: str, request: str, *, cold: bool) -> None:
        self._write = _destination()
        self._component = component
        self._common = {"component": component, "run": run, "request": request, "cold": cold}

    def say(self, what: str, **fields: Any) -> None:
        """Write a line."""
        if self._write is not None:
            line = {"at": round(time.time() * 1000), "wukong": what, **self._common, **fields}
            self._write(json.dumps(line, separators=(",", ":")))

    def measure(self, what: str, values: Mapping[str, float], **fields: Any) -> None:
        """Write the line that ends an invocation, with values that become metrics if wanted."""
        if self._write is not None:
            self.say(what, **metrics.embedded(self._component, values), **fields)


class _NoLines(Lines):
    def __init__(self) -> None:
        self._write = None


NO_LINES: Lines = _NoLines()


def is_first() -> bool:
    """Tell whether this is the first invocation of its process; to be asked once by each."""
    return next(_invocations()) == 0


@lru_cache(maxsize=1)
def _invocations() -> itertools.count[int]:
    """Count the invocations of this process; one object for all of them."""
    return itertools.count()


def _destination() -> Write | None:
    """Say where lines go; None for nowhere."""
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ and not inside_function():
        return _to_standard_output
    file = os.environ.get(FILE)
    return None if not file else lambda line: _append(file, line)


def _to_standard_output(line: str) -> None:
    # In one piece, as Lambda makes an event of each.
    sys.stdout.write(f"{line}\n")


def _append(file: str, line: str) -> None:
    """Add a line; a log that cannot be written fails no run."""
    with suppress(OSError):
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, f"{line}\n".encode())
        finally:
            os.close(handle)
