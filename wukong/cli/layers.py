"""Layers and bundles in `package`, `deploy` and `plan`: which ones, their table, their way up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wukong.cli.output import Output
from wukong.config import Packages
from wukong.errors import WukongError
from wukong.packaging.archive import Archive
from wukong.packaging.layers import MOST, Built, Layer, LayerError
from wukong.packaging.layers import build as build_layers
from wukong.packaging.requirements import name_of, split, wanted
from wukong.packaging.sizes import UNZIPPED_BYTES
from wukong.packaging.target import Target
from wukong.platform.overflow import OverflowBundle, storage_mb
from wukong.stack.embedded import is_in_use
from wukong.stack.releases import Releases

NEEDED = ("numpy", "dask")
"""Without these no Executor on AWS can run a graph."""

OVERFLOWING = frozenset({"dask-ml"})
"""Larger with what it requires than a function may be (docs/bundles.md)."""

PARAMETER = "ExecutorLayers"


class LayersTwiceError(WukongError):
    """Layers that are named in two places, of which only one can hold."""


def references_of(layers: Sequence[str] | None, packages: Packages) -> tuple[str, ...] | None:
    """Give the layers that the option names, else those of the configuration; None if neither."""
    said = layers if layers is not None else packages.layers
    return None if said is None else split(said)


def deployed_references(
    said: tuple[str, ...] | None,
    given: Mapping[str, str],
    stack: Mapping[str, Any] | None,
    before: tuple[str, ...] | None,
    *,
    has_package: bool,
) -> tuple[str, ...]:
    """Give the layers that a deployment is to have.

    If nobody says, these are the ones of the deployment before; at first, the ones that Executors
    cannot do without. But not if the stack has layers of its own, nor if a package is given, whose
    manifest names them; and the embedded AWS uses what this machine has.

    Parameters
    ----------
    said
        What the option or the configuration says; None if neither does.
    given
        The template's parameters that are given now.
    stack
        What CloudFormation says of the stack; None if there is none.
    before
        What the package in the bucket was deployed with; None if that is not known.

    Raises
    ------
    LayersTwiceError
    """
    if said and given.get(PARAMETER):
        raise LayersTwiceError(
            f"layers are named by --layers (or packages.layers) and by -p {PARAMETER}",
            "Name all of them with --layers; it takes ARNs as well.",
        )
    if said and has_package:
        raise LayersTwiceError(
            "layers are named by --layers (or packages.layers), and a package is given, which "
            "names its own",
            "Build the package with them: `wukong package --layers ...`; or leave out --package.",
        )
    if said is not None:
        return said
    if given.get(PARAMETER) or has_package:
        return ()
    if before is not None:
        return before
    has_own = bool(given.get(PARAMETER, _parameter(stack)))
    return () if has_own or is_in_use() else NEEDED


def _parameter(stack: Mapping[str, Any] | None) -> str:
    found = (stack or {}).get("Parameters", [])
    values = [one.get("ParameterValue", "") for one in found if one["ParameterKey"] == PARAMETER]
    return values[0] if values else ""


def names_of(references: Sequence[str]) -> tuple[str, ...]:
    """Give the names and ARNs of layers, in order; raises `LayerError` if there are too many."""
    if len(references) > MOST:
        raise LayerError(
            f"{len(references)} layers are too many: {', '.join(map(name_of, references))}",
            f"A function has {MOST} at most; put several into one: NAME=requirements.txt.",
        )
    return tuple(map(name_of, references))


def parted(
    references: Sequence[str], bundled: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Part what goes into layers from what goes into overflow bundles.

    Parameters
    ----------
    references
        What was asked for as layers; what can never fit in one goes into a bundle all the same.
    bundled
        What was asked for as bundles.
    """
    over = split(bundled or ())
    over += tuple(one for one in references if one in OVERFLOWING and one not in over)
    return tuple(one for one in references if one not in over), over


def build(
    out: Output,
    references: Sequence[str],
    target: Target,
    folder: Path,
    bundled: Sequence[str] = (),
) -> Built:
    """Build the layers and bundles that are to be built, if any; ARNs are of what is there."""
    asked, over = wanted(references), wanted(bundled)
    if not asked and not over:
        return Built(())
    told = [f"layer {one.name}" for one in asked] + [f"bundle {one.name}" for one in over]
    out.say(f"Building {', '.join(told)} for {target}.")
    # Executors on AWS have these in any case, so no bundle need hold them.
    assumed = wanted(NEEDED) if over else ()
    return build_layers(asked, target, folder, over, assumed)


def show(out: Output, deployment: Archive, layers: Sequence[Layer], left: int) -> None:
    """Print what is in the layers, and how many bytes are left of the limit."""
    rows = [
        (layer.name, part.name, part.version, _mb(part.zipped), _mb(part.unzipped))
        for layer in layers
        for part in layer.parts
    ]
    columns = ("layer", "distribution", "version", "zipped MB", "MB")
    out.table("Layers", columns, rows)
    for layer in layers:
        one = layer.archive
        out.say(
            f"{one.path}: {_mb(one.size)} MB ({_mb(one.unzipped_size)} MB), left out "
            f"{_mb(sum(layer.left_out.values()))} MB\nsha256 {one.sha256}"
        )
    out.say(
        f"{deployment.path.name} with {len(layers)} of {MOST} layers: "
        f"{_mb(UNZIPPED_BYTES - left)} MB unzipped of {_mb(UNZIPPED_BYTES)}; {_mb(left)} are left."
    )


def show_bundles(out: Output, built: Built) -> None:
    """Print what is in overflow bundles, the largest first, and the disk that they take."""
    rows = [
        (bundle.name, name, bundle.versions[name], _mb(size))
        for bundle in built.bundles
        for name, size in sorted(built.unpacked[bundle.name].items(), key=lambda one: -one[1])
    ]
    out.table("Overflow bundles", ("bundle", "distribution", "version", "MB"), rows)
    for bundle in built.bundles:
        out.say(
            f"{bundle.name}: {_mb(bundle.size)} MB in {len(bundle.parts)} parts "
            f"({_mb(bundle.unpacked)} MB unpacked), digest {bundle.digest}"
        )
    out.say(f"Executors get {storage_mb(built.bundles):,} MB of ephemeral storage for them.")


def described_bundle(bundle: OverflowBundle) -> dict[str, object]:
    """Give the JSON of a bundle."""
    return {**bundle.to_manifest(), "digest": bundle.digest, "bytes": bundle.size}


def upload(out: Output, layers: Sequence[Layer], releases: Releases) -> list[str]:
    """Put layers into the bucket where they differ from what it has; gives the names of these."""
    changed = [
        layer.name
        for layer in layers
        if releases.upload_layer(layer.name, layer.archive.path, layer.archive.sha256)
    ]
    for layer in layers:
        how = "uploaded" if layer.name in changed else "unchanged"
        out.say(f"Layer {layer.name}: {how}.")
    return changed


def described(layer: Layer) -> dict[str, object]:
    """Give the JSON of a layer."""
    return {
        "name": layer.name,
        "path": str(layer.archive.path),
        "bytes": layer.archive.size,
        "unzipped_bytes": layer.archive.unzipped_size,
        "sha256": layer.archive.sha256,
        "left_out_bytes": dict(layer.left_out),
        "distributions": [
            {
                "name": part.name,
                "version": part.version,
                "bytes": part.zipped,
                "unzipped_bytes": part.unzipped,
            }
            for part in layer.parts
        ],
    }


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f}"
