"""A task that wants more memory than the function has gets an error, and is named by it.

Lambda kills a function that takes more than its memory, and nobody learns which task that was. So
the system is asked to refuse what would go beyond it: Python and NumPy then raise `MemoryError`.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
"""

from __future__ import annotations

import resource
from functools import lru_cache

LIBRARIES_MB = 128
"""For what is mapped besides data: the interpreter and libraries."""

LEAST_MB = 256


@lru_cache(maxsize=1)
def limit_memory(memory_mb: int) -> int | None:
    """Have the system refuse data beyond a function's memory; once for each process.

    The limit is on private memory that can be written (RLIMIT_DATA, since Linux 4.7).

    Returns
    -------
    The limit in bytes; None if there is none, as outside of a function (0 MB).
    """
    if not memory_mb:
        return None
    wanted = max(LEAST_MB, memory_mb - LIBRARIES_MB) * 1024 * 1024
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    return wanted


def explain(error: BaseException, memory_mb: int) -> None:
    """Add to an error of memory what can be done about it."""
    if isinstance(error, MemoryError) and memory_mb:
        error.add_note(
            f"The function has {memory_mb} MB: give it more (ExecutorMemorySize), or have smaller "
            "chunks"
        )
