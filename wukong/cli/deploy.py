"""`wukong deploy` and `wukong status`: the stack, the package, and what is live."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from wukong.cli.package import target_of
from wukong.config import load_config
from wukong.errors import WukongError
from wukong.packaging.build import build_bootstrap, build_deployment
from wukong.stack.cloudformation import Stack
from wukong.stack.embedded import is_in_use
from wukong.stack.releases import Release, Releases

TEMPLATE = "template-bootstrap.yaml"
LIVE_SECONDS = 120.0


class ParameterError(WukongError):
    """A parameter, or the template, that cannot be used."""


def deploy(
    stack: str | None,
    store_url: str | None,
    parameters: Sequence[str],
    template: Path | None,
    package: Path | None,
    runtime: str | None,
    arch: str | None,
) -> None:
    """Create or update the stack, upload the package, and wait until it is live."""
    console = Console()
    config = load_config()
    target = target_of(runtime, arch)
    given = dict(map(_parameter, parameters))
    given.setdefault("Runtime", target.runtime)
    given.setdefault("Architecture", target.architecture)
    if url := store_url or config.store.url:
        given.setdefault("StoreUrl", url)
    if is_in_use():
        given.setdefault("Embedded", "true")
    where = Stack(
        stack or config.aws_lambda.aws_sam_app_name,
        region=config.aws_lambda.region,
        endpoint_url=config.aws_lambda.endpoint_url,
    )
    with tempfile.TemporaryDirectory() as folder:
        bootstrap = build_bootstrap(target, Path(folder) / "bootstrap.zip")
        changed = where.deploy(template or template_file(), bootstrap.path, given)
        console.print(f"Stack {where.name}: {'deployed' if changed else 'unchanged'}.")
        if package is None:
            package = build_deployment(target, Path(folder) / "deployment.zip").path
        releases = Releases(where, endpoint_url=config.aws_lambda.endpoint_url)
        uploaded = releases.upload(package)
    console.print(f"Uploaded {package.name} to {releases.bucket}; its event deploys it.")
    show(console, releases.wait_until_live(uploaded, LIVE_SECONDS))


def status(stack: str | None) -> None:
    """Print what is live."""
    config = load_config()
    where = Stack(
        stack or config.aws_lambda.aws_sam_app_name,
        region=config.aws_lambda.region,
        endpoint_url=config.aws_lambda.endpoint_url,
    )
    show(Console(), Releases(where, endpoint_url=config.aws_lambda.endpoint_url).status())


def show(console: Console, release: Release) -> None:
    """Print a release as a table."""
    table = Table(title=f"{release.status} · {release.answer['message']}", title_justify="left")
    for column in ("function", "invoke as", "version", "package", "code"):
        table.add_column(column, overflow="fold")
    for one in release.answer["functions"].values():
        code = (one["code_sha256"] or "")[:12]
        table.add_row(one["name"], one["invoke"], one["version"], one["package"], code)
    console.print(table)
    if release.failure is not None:
        console.print(release.failure)


def template_file() -> Path:
    """Find the template: beside us in a checkout, or where an installed wheel puts it."""
    places = [
        Path(__file__).parents[2] / TEMPLATE,
        Path(sys.prefix) / "share" / "wukong" / TEMPLATE,
    ]
    for place in places:
        if place.is_file():
            return place
    raise ParameterError(f"{TEMPLATE} was not found", "Give it with --template.")


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ParameterError(f"--parameter {text!r}: expected NAME=VALUE", "As in the template.")
    return name, value
