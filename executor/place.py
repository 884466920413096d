"""Where an Executor runs, as it says in its notes: which function, environment and invocation."""

from __future__ import annotations

import itertools
import os
import time
from functools import lru_cache
from pathlib import Path

from wukong.platform.context import settings
from wukong.storage.notes import Place


def place_of(request: str) -> Place:
    """Describe where this is, at the beginning of an invocation.

    The variables are those that Lambda sets.
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    here = settings()
    function = here.get("AWS_LAMBDA_FUNCTION_NAME", "")
    version = here.get("AWS_LAMBDA_FUNCTION_VERSION", "")
    return Place(
        function=f"{function}:{version}" if version else function,
        memory_mb=int(here.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")),
        request=request,
        process=here.get("AWS_LAMBDA_LOG_STREAM_NAME", "") or str(os.getpid()),
        born=round(_age(), 6),
        earlier=next(_count()),
    )


VCPU_MB = 1769
"""So much memory comes with one vCPU, and twice as much with two.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
"""


def threads_for(memory_mb: int) -> int:
    """Give how many threads run tasks where a function has so much memory; 0 MB: no function."""
    return max(1, round(memory_mb / VCPU_MB))


@lru_cache(maxsize=1)
def _count() -> itertools.count[int]:
    """Count the invocations of this process; one object for all of them."""
    return itertools.count()


def _age() -> float:
    """Give the seconds since this process was started; 0 where the system does not say."""
    started = _started()
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started) if started else 0.0


@lru_cache(maxsize=1)
def _started() -> float:
    """Give when this process was started, in seconds since the machine was.

    Field 22 of its status, in ticks: proc_pid_stat(5).
    """
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")
