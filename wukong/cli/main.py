"""The `wukong` command: its verbs, and how errors leave it.

Each verb has its options in `verbs/`, by the group that help shows it in, and what it does in a
file of its own, which is imported when it runs. docs/cli.md says what each exit status means.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from wukong import __version__
from wukong.cli.helping import Verbs
from wukong.cli.output import FAILED, tell
from wukong.cli.verbs import computing, deploying, looking, machine
from wukong.errors import WukongError

app = typer.Typer(
    name="wukong",
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for group in (deploying, computing, looking, machine):
    group.register(app)


def run() -> None:
    """Run the command line; what a script raises on purpose becomes one clear message too."""
    try:
        app(prog_name="wukong")
    except WukongError as error:
        tell(error, as_json=False)
        sys.exit(FAILED)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wukong {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run Dask graphs on AWS Lambda, without a cluster."""
