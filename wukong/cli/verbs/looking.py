"""Verbs of the group Look: what happened in a run, and whether everything works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wukong.cli import options
from wukong.cli.helping import Verb
from wukong.cli.output import Output, verb

PANEL = "Look"


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for act in (report, logs, doctor):
        app.command(cls=Verb, rich_help_panel=PANEL)(verb(act))


def report(
    run: options.Run,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The page; default: wukong-RUN.html here."),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write the report of a run, one HTML page.

    Example: wukong report 3f2a91 --open
    """
    from wukong.cli.report import report as act

    act(Output(as_json=as_json), run, out, is_shown=open_)


def logs(
    run: options.Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    insights: Annotated[
        bool, typer.Option("--insights", help="Print the query for CloudWatch Logs Insights.")
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Print what the functions wrote into CloudWatch for a run.

    Example: wukong logs 3f2a91 --follow
    """
    from wukong.cli.logs import logs as act
    from wukong.cli.logs import query

    if insights:
        query(Output(as_json=as_json), run, config)
        return
    act(Output(as_json=as_json), run, config, is_followed=follow)


def doctor(
    stack: options.Stack = None,
    on_this_machine: Annotated[
        bool, typer.Option("--local", help="Look at this machine's workers, not at AWS.")
    ] = False,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """See whether everything works, and say what to do where it does not.

    Example: wukong doctor
    """
    from wukong.cli.doctor import doctor as act

    act(Output(as_json=as_json), stack, on_this_machine, config)
