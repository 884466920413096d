"""`wukong run`: a Dask script, unchanged, with Wukong as the scheduler of all that it computes."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from wukong.errors import WukongError


class ScriptError(WukongError):
    """The script is not there."""


def run_script(
    script: Path, arguments: Sequence[str], on_this_machine: bool, config: Path | None
) -> None:
    """Run a script as `python SCRIPT ARGUMENTS` would, its `compute` calls on Executors."""
    if not script.is_file():
        raise ScriptError(f"{script}: no such script", "Give the path of a Python file.")
    from wukong.client import Client

    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.resolve().parent))
    with Client(config, platform="local" if on_this_machine else None):
        # As __main__, so that what the script defines is pickled by value.
        runpy.run_path(str(script), run_name="__main__")
