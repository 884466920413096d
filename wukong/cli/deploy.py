"""`wukong deploy` and `wukong status`: the stack, the package, and what is live."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wukong.cli import layers
from wukong.cli.output import Output
from wukong.cli.package import target_of
from wukong.cli.storing import Choice, ensure_network, sentence, told
from wukong.cli.where import stack_of
from wukong.config import Config, load_config
from wukong.errors import WukongError
from wukong.packaging.build import build_bootstrap, build_deployment
from wukong.packaging.layers import check_fit
from wukong.packaging.target import Target
from wukong.stack.cloudformation import Stack
from wukong.stack.embedded import is_in_use
from wukong.stack.releases import Noted, Release, Releases
from wukong.stack.stores import StorageKind, kind_of, network_of

TEMPLATE = "template-bootstrap.yaml"
NETWORK_TEMPLATE = "template-network.yaml"
LIVE_SECONDS = 120.0


class ParameterError(WukongError):
    """A parameter, or the template, that cannot be used."""


class ReleaseError(WukongError):
    """The bootstrap did not do what it was asked; its own message and hint."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the options of `deploy` and of `plan` say; None or empty for what they do not."""

    stack: str | None = None
    storage: StorageKind | None = None
    store_url: str | None = None
    parameters: tuple[str, ...] = ()
    template: Path | None = None
    package: Path | None = None
    runtime: str | None = None
    arch: str | None = None
    layers: Sequence[str] | None = None
    bundles: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Refuse a parameter that is none, before anything is asked of AWS."""
        dict(map(_parameter, self.parameters))

    def target(self, config: Config) -> Target:
        """Give what the packages are built for."""
        return target_of(self.runtime, self.arch, config.packages)

    def given(self, config: Config, current: StorageKind | None) -> dict[str, str]:
        """Give the template's parameters; those that are not named keep their values.

        Parameters
        ----------
        current
            The storage that the stack uses now; None if there is none.
        """
        given = dict(map(_parameter, self.parameters))
        choice = Choice(self.storage, self.store_url, config.store.url, is_in_use())
        if "Storage" not in given:
            given = {**choice.parameters(current), **given}
        given.setdefault("Runtime", self.target(config).runtime)
        given.setdefault("Architecture", self.target(config).architecture)
        if is_in_use():
            given.setdefault("Embedded", "true")
        return given

    def references(self, config: Config, where: Stack) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Give the layers that the Executor is to have, and the overflow bundles."""
        said = layers.references_of(self.layers, config.packages)
        over = self.bundles if self.bundles is not None else config.packages.bundles
        stack = where.describe()
        before: Noted = Noted(None, None)
        if (said is None or over is None) and stack is not None and stack.get("Outputs"):
            before = Releases(where, endpoint_url=config.aws_lambda.endpoint_url).noted()
        given = dict(map(_parameter, self.parameters))
        has_package = self.package is not None
        asked = layers.deployed_references(
            said, given, stack, before.layers, has_package=has_package
        )
        found, over = layers.parted(asked, before.bundles if over is None else over)
        return found, () if has_package else over


def deploy(out: Output, wishes: Wishes) -> None:
    """Create or update the stack, upload the package, and wait until it is live."""
    config = load_config()
    where, target = stack_of(wishes.stack, config), wishes.target(config)
    before = outputs_of(where)
    given = wishes.given(config, kind_of(before))
    references, over = wishes.references(config, where)
    names = layers.names_of(references)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # All that can be wrong with what is built is found before anything is changed.
        built = layers.build(out, references, target, folder, over)
        package = wishes.package
        if package is None:
            zipped = folder / "deployment.zip"
            deployment = build_deployment(target, zipped, names, built.bundles)
            package = deployment.path
            if built.layers:
                layers.show(out, deployment, built.layers, check_fit(deployment, built.layers))
            if built.bundles:
                layers.show_bundles(out, built)
        bootstrap = build_bootstrap(target, folder / "bootstrap.zip")
        if network := network_of(given):
            ensure_network(out, network, where, template_file(NETWORK_TEMPLATE), given)
        changed = where.deploy(wishes.template or template_file(), bootstrap.path, given)
        out.say(f"Stack {where.name}: {'deployed' if changed else 'unchanged'}.")
        after = where.outputs()
        _discard(out, where, before, after)
        releases = Releases(where, endpoint_url=config.aws_lambda.endpoint_url)
        # The package names its layers, so they come first.
        new = layers.upload(out, built.layers, releases)
        uploaded = releases.upload(package, None if wishes.package else Noted(references, over))
    out.say(f"Uploaded {package.name} to {releases.bucket}; its event deploys it.")
    release = releases.wait_until_live(uploaded, LIVE_SECONDS, exactly=bool(new))
    show(out, release)
    out.say(sentence(after))
    deployed = {
        "stack": where.name,
        "stack_changed": changed,
        "storage": told(after),
        "layers": new,
    }
    out.give({**deployed, **release.answer})


def outputs_of(where: Stack) -> Mapping[str, str]:
    """Give the outputs of a stack; none if there is no such stack."""
    return where.outputs() if where.describe() is not None else {}


def _discard(
    out: Output, where: Stack, before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    """Delete the bucket of a storage no longer used, which CloudFormation leaves if it is full."""
    bucket = before.get("StoreBucketName")
    if bucket is None or bucket == after.get("StoreBucketName"):
        return
    if not where.discard(bucket):
        out.say(f"Bucket {bucket} of the storage before is left; what is in it expires.")


def status(out: Output, stack: str | None) -> None:
    """Tell what is live."""
    config = load_config()
    where = stack_of(stack, config)
    release = Releases(where, endpoint_url=config.aws_lambda.endpoint_url).status()
    show(out, release)
    outputs = where.outputs()
    out.say(sentence(outputs))
    out.give({**release.answer, "storage": told(outputs)})
    refuse_failure(release)


def show(out: Output, release: Release) -> None:
    """Print a release as a table, and how it differs from what is wanted."""
    functions: Mapping[str, Mapping[str, object]] = release.answer["functions"]
    rows = [
        (one["name"], one["invoke"], one["version"], one["package"], str(one["code_sha256"])[:12])
        for one in functions.values()
    ]
    title = f"{release.status} · {release.answer['message']}"
    out.table(title, ("function", "invoke as", "version", "package", "code"), rows)
    for one in functions.values():
        drift = one["drift"]
        for line in drift if isinstance(drift, list) else []:
            out.say(f"{one['name']} differs from what is wanted: {line}")


def refuse_failure(release: Release) -> None:
    """Raise `ReleaseError` if an answer of the bootstrap is that it failed."""
    error = release.answer.get("error")
    if error is not None:
        raise ReleaseError(f"{error['code']}: {error['message']}", error["hint"])


def template_file(name: str = TEMPLATE) -> Path:
    """Find a template: beside us in a checkout, or where an installed wheel puts it."""
    places = [Path(__file__).parents[2] / name, Path(sys.prefix) / "share" / "wukong" / name]
    for place in places:
        if place.is_file():
            return place
    raise ParameterError(f"{name} was not found", "Give it with --template.")


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ParameterError(f"--parameter {text!r}: expected NAME=VALUE", "As in the template.")
    return name, value
