"""Options that several verbs have, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wukong.stack.stores import StorageKind

Stack = Annotated[
    str | None,
    typer.Option("--stack", metavar="NAME", help="The stack; default: the configuration's."),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Default: wukong-config.yaml of this folder."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON, and nothing else, to standard output.")
]
Runtime = Annotated[
    str | None,
    typer.Option(metavar="PYTHON", help="Such as python3.13; default: this Python's version."),
]
Architecture = Annotated[
    str | None,
    typer.Option("--arch", metavar="ARCH", help="x86_64 or arm64; default: this machine's."),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layers",
        metavar="NAMES",
        help="Such as numpy,dask or NAME=FILE, a requirements file; default: the configuration's.",
    ),
]
Bundles = Annotated[
    list[str] | None,
    typer.Option(
        "--bundle",
        metavar="NAMES",
        help="What does not fit: named as --layers, fetched by Executors when it is imported.",
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter", "-p", metavar="NAME=VALUE", help="A parameter of the template; repeatable."
    ),
]
Template = Annotated[Path | None, typer.Option(metavar="FILE", help="Another template.")]
Package = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A deployment package; default: built now.")
]
Storage = Annotated[
    StorageKind | None,
    typer.Option(
        metavar="KIND",
        help="Where runs are kept: dynamodb (a table), valkey (a cache in a VPC), or url "
        "(--store-url); default: as it is, and for a new stack dynamodb.",
    ),
]
StoreUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Store of the Executors, such as valkeys://HOST:6379."),
]
Run = Annotated[str, typer.Argument(help="The run's id; its first characters are enough.")]
