"""The `wukong` command: its verbs, and how errors leave it.

Exit status: 0 done; 1 something the message explains; 2 the command line itself was wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from wukong import __version__
from wukong.errors import WukongError

app = typer.Typer(
    name="wukong",
    help="Run Dask graphs on AWS Lambda, without a cluster.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
local = typer.Typer(help="The embedded AWS on this machine.", no_args_is_help=True)
app.add_typer(local, name="local")

StackOption = Annotated[
    str | None, typer.Option("--stack", help="Name of the stack; default from the configuration.")
]
RuntimeOption = Annotated[
    str | None, typer.Option(help="Python of the functions, such as python3.13; default: this one.")
]
ArchitectureOption = Annotated[
    str | None, typer.Option("--arch", help="x86_64 or arm64; default: this machine's.")
]


def run() -> None:
    """Run the command line; errors that Wukong raises on purpose become one clear message."""
    try:
        app()
    except WukongError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - where messages belong
        sys.exit(1)


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


@app.command()
def package(
    out: Annotated[Path, typer.Option(help="Folder for the zips.")] = Path("dist"),
    runtime: RuntimeOption = None,
    arch: ArchitectureOption = None,
) -> None:
    """Build deployment.zip and bootstrap.zip.

    Example: wukong package --runtime python3.13 --arch arm64
    """
    from wukong.cli.package import package as act

    act(out, runtime, arch)


@app.command()
def deploy(
    stack: StackOption = None,
    store_url: Annotated[
        str | None, typer.Option(help="Store of the Executors, such as valkeys://HOST:6379.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="A parameter of the template: NAME=VALUE."),
    ] = None,
    template: Annotated[Path | None, typer.Option(help="Another template.")] = None,
    package: Annotated[
        Path | None, typer.Option(help="A deployment package; default: built now.")
    ] = None,
    runtime: RuntimeOption = None,
    arch: ArchitectureOption = None,
) -> None:
    """Create or update the stack, upload the package, and wait until it is live.

    Example: wukong deploy --store-url valkeys://my-cache:6379 -p ExecutorMemorySize=2048
    """
    from wukong.cli.deploy import deploy as act

    act(stack, store_url, parameter or [], template, package, runtime, arch)


@app.command()
def status(stack: StackOption = None) -> None:
    """Tell what is live.

    Example: wukong status --stack wukong-app
    """
    from wukong.cli.deploy import status as act

    act(stack)


@app.command(
    "run", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True}
)
def run_script(
    script: Annotated[Path, typer.Argument(help="A Dask script, unchanged.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="Its arguments.")] = None,
    on_this_machine: Annotated[
        bool, typer.Option("--local", help="On worker processes of this machine.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="A configuration file.")] = None,
) -> None:
    """Run a Dask script with Wukong as its scheduler.

    Example: wukong run --local examples/gemm.py --n 512
    """
    from wukong.cli.run import run_script as act

    act(script, arguments or [], on_this_machine, config)


@local.command()
def up() -> None:
    """Start the embedded AWS and Valkey; they stay until `wukong local down`.

    Example: wukong local up && eval "$(wukong local env)" && wukong deploy
    """
    from wukong.cli.local import up as act

    act()


@local.command()
def env() -> None:
    """Print the variables that lead to the embedded AWS, for the shell to evaluate.

    Example: eval "$(wukong local env)"
    """
    from wukong.cli.local import env as act

    act()


@local.command()
def down() -> None:
    """Stop the embedded AWS and delete all that it holds.

    Example: wukong local down
    """
    from wukong.cli.local import down as act

    act()


@app.command()
def demo() -> None:
    """Show the whole path on this machine: deploy, compute, redeploy, delete.

    Example: wukong demo
    """
    from wukong.cli.demo import demo as act

    act()
