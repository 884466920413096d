"""Verbs of the group Compute: run a script, and look after runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wukong.cli import options
from wukong.cli.helping import Verb
from wukong.cli.output import Output, verb

PANEL = "Compute"

# What follows the script is the script's.
_PASSED_ON = {"allow_interspersed_args": False, "ignore_unknown_options": True}


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(cls=Verb, rich_help_panel=PANEL, context_settings=_PASSED_ON)(verb(run))
    for act in (runs, cancel):
        app.command(cls=Verb, rich_help_panel=PANEL)(verb(act))


def run(
    script: Annotated[Path, typer.Argument(help="A Dask script, unchanged.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="Its arguments.")] = None,
    on_this_machine: Annotated[
        bool, typer.Option("--local", help="On worker processes of this machine.")
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Run a Dask script with Wukong as its scheduler.

    Example: wukong run --local examples/gemm.py --n 512
    """
    from wukong.cli.run import run_script as act

    act(Output(as_json=as_json), script, arguments or [], on_this_machine, config)


def runs(
    count: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """List the latest runs: those that go on, and those that have ended.

    Example: wukong runs --count 5
    """
    from wukong.cli.runs import runs as act

    act(Output(as_json=as_json), count, config)


def cancel(run: options.Run, config: options.Config = None, as_json: options.Json = False) -> None:
    """Stop a run: its Executors stop with their next step.

    Example: wukong cancel 3f2a91
    """
    from wukong.cli.cancel import cancel as act

    act(Output(as_json=as_json), run, config)
