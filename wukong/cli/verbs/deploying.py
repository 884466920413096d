"""Verbs of the group Deploy: from the packages to a release, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wukong.cli import options
from wukong.cli.helping import Verb
from wukong.cli.output import Output, verb

PANEL = "Deploy"


def register(app: typer.Typer) -> None:
    """Add the verbs, in the order in which they are used."""
    for act in (package, plan, deploy, status, history, rollback, delete):
        app.command(cls=Verb, rich_help_panel=PANEL)(verb(act))


def package(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the zips go: dist.")] = Path(
        "dist"
    ),
    layers: options.Layers = None,
    bundle: options.Bundles = None,
    runtime: options.Runtime = None,
    arch: options.Architecture = None,
    here: Annotated[
        bool, typer.Option("--here", help="For this machine's workers, not for Lambda.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Build deployment.zip, bootstrap.zip, and layers with what tasks import.

    Example: wukong package --runtime python3.13 --arch arm64
    Example: wukong package --layers numpy,dask --out build
    Example: wukong package --layers numpy,scipy,dask --bundle dask-ml
    """
    from wukong.cli.package import package as act

    act(Output(as_json=as_json), out, runtime, arch, layers, bundle, here=here)


def plan(
    stack: options.Stack = None,
    storage: options.Storage = None,
    store_url: options.StoreUrl = None,
    parameter: options.Parameters = None,
    template: options.Template = None,
    package: options.Package = None,
    layers: options.Layers = None,
    bundle: options.Bundles = None,
    runtime: options.Runtime = None,
    arch: options.Architecture = None,
    as_json: options.Json = False,
) -> None:
    """Show what `deploy` would change, and change nothing.

    Example: wukong plan -p ExecutorMemorySize=2048
    """
    from wukong.cli.deploy import Wishes
    from wukong.cli.plan import plan as act

    wishes = Wishes(
        *(stack, storage, store_url, tuple(parameter or ()), template, package),
        *(runtime, arch, layers, bundle),
    )
    act(Output(as_json=as_json), wishes)


def deploy(
    stack: options.Stack = None,
    storage: options.Storage = None,
    store_url: options.StoreUrl = None,
    parameter: options.Parameters = None,
    template: options.Template = None,
    package: options.Package = None,
    layers: options.Layers = None,
    bundle: options.Bundles = None,
    runtime: options.Runtime = None,
    arch: options.Architecture = None,
    as_json: options.Json = False,
) -> None:
    """Create or update the stack, upload the package, wait until it is live.

    Example: wukong deploy --store-url valkeys://my-cache:6379 -p ExecutorMemorySize=2048
    """
    from wukong.cli.deploy import Wishes
    from wukong.cli.deploy import deploy as act

    wishes = Wishes(
        *(stack, storage, store_url, tuple(parameter or ()), template, package),
        *(runtime, arch, layers, bundle),
    )
    act(Output(as_json=as_json), wishes)


def status(stack: options.Stack = None, as_json: options.Json = False) -> None:
    """Tell what is live, and how it differs from what is wanted.

    Example: wukong status --stack wukong-app
    """
    from wukong.cli.deploy import status as act

    act(Output(as_json=as_json), stack)


def history(
    stack: options.Stack = None,
    count: Annotated[int, typer.Option(min=1, max=100, help="How many, the newest first.")] = 10,
    as_json: options.Json = False,
) -> None:
    """List the releases that can be rolled back to.

    Example: wukong history --count 5
    """
    from wukong.cli.history import history as act

    act(Output(as_json=as_json), stack, count)


def rollback(
    to: Annotated[
        str, typer.Option(metavar="RELEASE", help="As `history` names it; default: the previous.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Switch though a ping fails.")] = False,
    stack: options.Stack = None,
    as_json: options.Json = False,
) -> None:
    """Make an earlier release live again.

    Example: wukong rollback --to 8.7
    """
    from wukong.cli.rollback import rollback as act

    act(Output(as_json=as_json), stack, to, force=force)


def delete(
    stack: options.Stack = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also delete the packages: all versions, the bucket.")
    ] = False,
    bucket: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this bucket, kept by an earlier deletion."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Delete the stack with all that it made; its packages stay unless they are purged.

    Example: wukong delete --stack wukong-app --purge
    """
    from wukong.cli.delete import delete as act
    from wukong.cli.delete import delete_bucket

    out = Output(as_json=as_json)
    if bucket is not None:
        delete_bucket(out, bucket, is_confirmed=yes)
    else:
        act(out, stack, is_confirmed=yes, purge=purge)
