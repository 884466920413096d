"""Layers of ours: `layers/NAME.zip` in the package's bucket becomes the layer `<prefix>NAME`.

A function lists a layer by NAME, between ARNs of other layers if it likes, and gets the version
that was published from the object as it is now. Each state of the object is published once: what a
layer version was made from is written in its description.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from pydantic import ValidationError

from bootstrap import package as packages
from bootstrap.contents import MANIFEST, Contents, read_contents
from bootstrap.errors import BootstrapError, PackageError
from bootstrap.events import LAYERS_FOLDER
from bootstrap.package import Package
from bootstrap.record import short
from bootstrap.wishes import Architecture, Runtime, Wishes

if TYPE_CHECKING:
    from bootstrap.lambda_api import LambdaApi
    from bootstrap.lambda_reader import LayerVersion
    from bootstrap.surroundings import Surroundings

TRIES = 2
"""How often to try to delete a layer, as nobody comes back for it."""

logger = Logger(service="bootstrap", child=True)


class LayerManifest(Wishes):
    """`wukong.json` in a layer's zip: what it fits; nothing said fits everything."""

    compatible_runtimes: tuple[Runtime, ...] = ()
    compatible_architectures: tuple[Architecture, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that is wanted by name.

    Attributes
    ----------
    arn
        Of the version to use; says that it is yet to be published if nothing may be written.
    unzipped
        Bytes of its files.
    runtimes, architectures
        What it is for; all if it does not say.
    """

    name: str
    package: Package
    arn: str
    unzipped: int
    runtimes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()

    def misfit(self, runtime: str, architecture: str) -> str:
        """Say what else the layer is for; empty if it fits.

        Lambda attaches it all the same, and the first import fails.
        https://docs.aws.amazon.com/lambda/latest/api/API_PublishLayerVersion.html
        """
        if self.runtimes and runtime not in self.runtimes:
            return f"{', '.join(self.runtimes)}, and not for {runtime}"
        if self.architectures and architecture not in self.architectures:
            return f"{', '.join(self.architectures)}, and not for {architecture}"
        return ""


def find_uploads(around: Surroundings, names: Iterable[str]) -> dict[str, Package | None]:
    """Look the zips of layers up."""
    settings = around.settings
    return {
        name: packages.resolve(around.s3, settings.bucket, f"{LAYERS_FOLDER}{name}.zip")
        for name in names
    }


def provide(around: Surroundings, name: str, package: Package, *, writes: bool) -> Layer:
    """Give the layer version of a zip; it is published if it is not yet, and `writes` allows it."""
    layer = f"{around.settings.layer_prefix}{name}"
    for version, source in _published(around, layer):
        if source.package == short(package.id):
            fits = version.runtimes, version.architectures
            return Layer(name, package, version.arn, source.unzipped, *fits)
    contents = read_contents(around.s3, package)
    manifest = _manifest(package, contents)
    arn = f"layer:{layer} (to be published from {package.where})"
    if writes:
        source = _Source(short(package.id), contents.unzipped)
        arn = around.api.publish_layer(layer, package, str(source), _fits(manifest))
        around.progress.tick(f"publish layer {name}")
        logger.info("published layer", layer=arn)
    fits = manifest.compatible_runtimes, manifest.compatible_architectures
    return Layer(name, package, arn, contents.unzipped, *fits)


def prune(around: Surroundings, had: Iterable[str], attached: Iterable[str]) -> None:
    """Delete the versions of our layers that no version of a function has, but for the newest."""
    for layer in _ours(around, had):
        for version, _ in _published(around, layer)[1:]:
            if version.arn not in attached:
                around.api.delete_layer_version(layer, version.number)
                logger.info("pruned", layer=version.arn)


def delete(around: Surroundings, arns: Iterable[str]) -> None:
    """Delete all that was published of these layers; what cannot be is no reason to fail."""
    left = _ours(around, arns)
    for _ in range(TRIES):
        left = [layer for layer in left if not _is_deleted(around, layer)]


def _is_deleted(around: Surroundings, layer: str) -> bool:
    """Delete what we published of a layer, and tell whether that went well."""
    try:
        for version, _ in _published(around, layer):
            around.api.delete_layer_version(layer, version.number)
    except BootstrapError as error:
        logger.warning("left a layer", layer=layer, problem=error.message)
        return False
    return True


def _ours(around: Surroundings, arns: Iterable[str]) -> list[str]:
    """Name the layers among ARNs that may be ours by their names."""
    names = {arn.split(":")[6] for arn in arns if arn.startswith("arn:")}
    return sorted(name for name in names if name.startswith(around.settings.layer_prefix))


def _published(around: Surroundings, layer: str) -> list[tuple[LayerVersion, _Source]]:
    """List the versions of a layer that we published, the newest first.

    Somebody else's layer can have a name that begins like ours.
    """
    versions = around.api.list_layer_versions(layer)
    sources = [(version, _Source.parse(version.description)) for version in versions]
    return [(version, source) for version, source in sources if source]


def attached(layers: Iterable[str], prefix: str, name: str) -> str | None:
    """Find a layer of ours among ARNs."""
    return next((arn for arn in layers if arn.split(":")[6:7] == [f"{prefix}{name}"]), None)


def unzipped_size(api: LambdaApi, arns: Iterable[str], known: Mapping[str, Layer]) -> int:
    """Add up the bytes of layers; of those that are not ours only the zipped size is known."""
    ours = {layer.arn: layer.unzipped for layer in known.values()}
    return sum(ours[arn] if arn in ours else api.read_layer_size(arn) for arn in arns)


@dataclass(frozen=True, slots=True)
class _Source:
    """Prints as `src=<id> size=<bytes>`, in a layer version's description."""

    package: str
    unzipped: int

    @classmethod
    def parse(cls, description: str) -> _Source | None:
        found = re.search(r"src=(\S+) size=(\d+)", description)
        return cls(found.group(1), int(found.group(2))) if found else None

    def __str__(self) -> str:
        return f"src={self.package} size={self.unzipped}"


def _manifest(package: Package, contents: Contents) -> LayerManifest:
    if contents.manifest is None:
        return LayerManifest()
    try:
        return LayerManifest.model_validate_json(contents.manifest)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise PackageError(
            f"{package.where}: {MANIFEST}, field '{field}': {first['msg']}.",
            f"Known here: {', '.join(LayerManifest.model_fields)}.",
        ) from None


def _fits(manifest: LayerManifest) -> dict[str, list[str]]:
    runtimes = list(manifest.compatible_runtimes)
    architectures: list[str] = list(manifest.compatible_architectures)
    return {
        **({"CompatibleRuntimes": runtimes} if runtimes else {}),
        **({"CompatibleArchitectures": architectures} if architectures else {}),
    }
