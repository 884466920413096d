"""Verbs of the group This machine: configuration, the embedded AWS, and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wukong.cli import options
from wukong.cli.helping import Verb, Verbs
from wukong.cli.output import Output, verb

PANEL = "This machine"


def register(app: typer.Typer) -> None:
    """Add the verbs and the groups of verbs."""
    config = typer.Typer(cls=Verbs, rich_markup_mode=None)
    config.callback(invoke_without_command=True)(verb(show))
    config.command(cls=Verb)(verb(init))
    config.command(cls=Verb)(verb(check))
    local = typer.Typer(cls=Verbs, rich_markup_mode=None, no_args_is_help=True)
    for act in (up, env, down):
        local.command(cls=Verb)(verb(act))
    local.command("status", cls=Verb)(verb(local_status))
    app.add_typer(config, name="config", rich_help_panel=PANEL)
    local.callback()(local_aws)
    app.add_typer(local, name="local", rich_help_panel=PANEL)
    app.command(cls=Verb, rich_help_panel=PANEL)(verb(demo))


def show(
    context: typer.Context, config: options.Config = None, as_json: options.Json = False
) -> None:
    """Show what is configured, and where each value comes from.

    Example: wukong config
    """
    if context.invoked_subcommand is None:
        from wukong.cli.config import show as act

        act(Output(as_json=as_json), config)


def init(
    file: Annotated[
        Path, typer.Argument(help="The file to write; default: wukong-config.yaml here.")
    ] = Path("wukong-config.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write a file that has every key with its default, as comments.

    Example: wukong config init
    """
    from wukong.cli.config import init as act

    act(Output(as_json=as_json), file, is_replaced=force)


def check(
    file: Annotated[
        Path | None, typer.Argument(help="The file; default: wukong-config.yaml here.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Check a configuration; the error names the key.

    Example: wukong config check wukong-config.yaml
    """
    from wukong.cli.config import check as act

    act(Output(as_json=as_json), file)


def local_aws() -> None:
    """Start, use and stop the embedded AWS.

    Example: wukong local up
    """


def up(as_json: options.Json = False) -> None:
    """Start the embedded AWS and Valkey; they stay until `wukong local down`.

    Example: wukong local up && eval "$(wukong local env)" && wukong deploy
    """
    from wukong.cli.local import up as act

    act(Output(as_json=as_json))


def env(as_json: options.Json = False) -> None:
    """Print the variables that lead to the embedded AWS, for the shell to evaluate.

    Example: eval "$(wukong local env)"
    """
    from wukong.cli.local import env as act

    act(Output(as_json=as_json))


def down(as_json: options.Json = False) -> None:
    """Stop the embedded AWS and delete all that it holds.

    Example: wukong local down
    """
    from wukong.cli.local import down as act

    act(Output(as_json=as_json))


def local_status(as_json: options.Json = False) -> None:
    """Tell whether the embedded AWS is up, and whether this shell uses it.

    Example: wukong local status
    """
    from wukong.cli.local import status as act

    act(Output(as_json=as_json))


def demo(as_json: options.Json = False) -> None:
    """Show the whole path on this machine: deploy, compute, redeploy, delete.

    Example: wukong demo
    """
    from wukong.cli.demo import demo as act

    act(Output(as_json=as_json))
