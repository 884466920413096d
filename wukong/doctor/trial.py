"""A tiny run, by which it is seen that a graph gets through, its fan-out and fan-in included.

1 ─┬─ 2 ─┐     An Executor is started for the first, becomes one of the children,
   └─ 3 ─┴─ 4  and has another Executor started for the other.
"""

from __future__ import annotations

import operator
import time

from wukong.client import Client
from wukong.config import Config
from wukong.doctor.finding import Check, failed, ok, problem
from wukong.errors import WukongError

SECONDS = 45.0
"""A cold start takes seconds. What was not started is started again after a minute, which would
hide that Executors may not start each other."""

EXPECTED = 7


def trial(config: Config, remedy: str) -> Check[None]:
    """Compute four tasks.

    Parameters
    ----------
    remedy
        What to do if they are not done in time.
    """
    from dask.delayed import delayed

    add = delayed(operator.add)
    first = add(1, 1)
    total = add(add(first, 1), add(first, 2))
    begun = time.monotonic()
    client = Client(config, deadline=SECONDS, record=False)
    try:
        got = client.compute(total).result()
    except WukongError as error:
        found = failed("trial run", error)
        yield problem("trial run", found.message, remedy)
    else:
        seconds = time.monotonic() - begun
        if got == EXPECTED:
            yield ok("trial run", f"four tasks with a fan-out took {seconds:.1f} s")
        else:
            yield problem("trial run", f"it gave {got} instead of {EXPECTED}", "Please report it.")
    finally:
        client.close()
