"""`wukong run`: a Dask script, unchanged, with Wukong as the scheduler of all that it computes."""

from __future__ import annotations

import contextlib
import runpy
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from wukong.cli.output import Output
from wukong.errors import WukongError


class ScriptError(WukongError):
    """The script is not there."""


def run_script(
    out: Output,
    script: Path,
    arguments: Sequence[str],
    on_this_machine: bool,
    config: Path | None,
) -> None:
    """Run a script as `python SCRIPT ARGUMENTS` would, its `compute` calls on Executors.

    For a program that reads JSON, what the script prints goes to stderr.
    """
    if not script.is_file():
        raise ScriptError(f"{script}: no such script", "Give the path of a Python file.")
    from wukong.client import Client

    sys.argv = [str(script), *arguments]
    # Modules beside the script are found, here and (`wukong.modules`) by Executors.
    sys.path.insert(0, str(script.resolve().parent))
    begun, clock = time.time(), time.monotonic()
    client = Client(config, platform="local" if on_this_machine else None)
    printed = contextlib.redirect_stdout(sys.stderr) if out.as_json else contextlib.nullcontext()
    with printed, client:
        # As __main__, so that what the script defines is pickled by value.
        runpy.run_path(str(script), run_name="__main__")
    out.give(
        {
            "script": str(script),
            "platform": client.config.platform,
            "seconds": round(time.monotonic() - clock, 3),
            "runs": _runs_since(begun) if out.as_json else [],
        }
    )


def _runs_since(begun: float) -> list[str]:
    """Give the runs that the script has made, the first one first."""
    from wukong import history

    summaries = list(history.summaries())
    return [one.run for one in reversed(summaries) if one.started >= begun]
