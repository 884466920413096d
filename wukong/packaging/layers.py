"""Layers: zips with a folder `python`, for the libraries that tasks import.

    wanted ─> resolve ─> share ─> fetch ─> unpack, strip ─> compile ─> layers/NAME.zip, layers.json

All layers are resolved together, so their versions fit and no distribution is in two of them. Each
has `wukong.json`, in which the bootstrap reads what the layer fits, and a record of what is in it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from packaging.utils import canonicalize_name

from wukong.errors import WukongError
from wukong.packaging import archive, wheels
from wukong.packaging.archive import Archive
from wukong.packaging.bytecode import bytecode_of, in_place
from wukong.packaging.overflow import build_bundle, check_storage
from wukong.packaging.requirements import Wanted
from wukong.packaging.resolve import Chosen, Resolution, resolve
from wukong.packaging.sizes import UNZIPPED_BYTES, Part, parts_of
from wukong.packaging.target import Target
from wukong.packaging.wheels import Unpacked
from wukong.platform.overflow import MANIFEST, OverflowBundle

T = TypeVar("T")
R = TypeVar("R")

MOST = 5
"""Layers that a function may have.
https://docs.aws.amazon.com/lambda/latest/dg/chapter-layers.html"""

LEVEL = 6
"""Of compression: at 9 the zips are 0.3 % smaller, and take more than twice as long."""

RECORD = "python/wukong-layer-{name}.json"
LOCK = "layers.json"


class LayerError(WukongError):
    """Layers that a function could not have."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that was built.

    Attributes
    ----------
    archive
        Its zip.
    distributions
        What is in it.
    parts
        How large each of these is, the largest first.
    left_out
        Bytes that were left out of the wheels, by the reason why.
    """

    name: str
    archive: Archive
    distributions: tuple[Chosen, ...]
    parts: tuple[Part, ...]
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Built:
    """What was built of what was asked for: layers, and overflow bundles for the rest.

    Attributes
    ----------
    unpacked
        For each bundle by name, the bytes of each of its distributions.
    """

    layers: tuple[Layer, ...]
    bundles: tuple[OverflowBundle, ...] = ()
    unpacked: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shares:
    """Which distributions each layer gets, and each bundle, by their names."""

    layers: Mapping[str, tuple[Chosen, ...]]
    bundles: Mapping[str, tuple[Chosen, ...]]

    @property
    def names(self) -> set[str]:
        """All distributions that somebody gets."""
        every = (*self.layers.values(), *self.bundles.values())
        return {one.name for mine in every for one in mine}


def build(
    wanted: Sequence[Wanted],
    target: Target,
    folder: Path,
    bundled: Sequence[Wanted] = (),
    assumed: Sequence[Wanted] = (),
) -> Built:
    """Write `layers/NAME.zip` for each layer into a folder, and `layers.json` that lists them.

    For bundles it writes `bundles/NAME-DIGEST.zip`, one for each of their parts.

    Parameters
    ----------
    bundled
        What goes into bundles instead, as far as no layer has it.
    assumed
        What Executors have from elsewhere, so that no bundle holds it.

    Raises
    ------
    LayerError
        If one would be empty.
    BundleError
        If bundles are more than the disk of a function may hold.
    ResolveError, WheelError, PipError
        If their wheels cannot be had.
    """
    resolution = resolve([*wanted, *assumed, *bundled], target)
    shares = share_with_bundles(wanted, bundled, resolution, assumed)
    resolution = resolution.without(resolution.chosen.keys() - shares.names)
    found = wheels.fetch(resolution.chosen.values(), target)
    with tempfile.TemporaryDirectory() as scratch:
        contents = _unpacked(resolution, found, Path(scratch))
        layers = _together(
            lambda share: _write(*share, contents, target, folder, Path(scratch)),
            shares.layers.items(),
        )
        bundles = tuple(
            _bundle(*share, contents, target, folder) for share in shares.bundles.items()
        )
        check_storage(bundles)
        unpacked = {
            name: {one.name: _bytes(contents[one.name]) for one in chosen}
            for name, chosen in shares.bundles.items()
        }
    write_lock(layers, target, folder)
    return Built(layers, bundles, unpacked)


def _bytes(unpacked: Unpacked) -> int:
    return sum(file.stat().st_size for file in unpacked.files.values())


def _bundle(
    name: str,
    chosen: tuple[Chosen, ...],
    contents: Mapping[str, Unpacked],
    target: Target,
    folder: Path,
) -> OverflowBundle:
    files = {inside: file for one in chosen for inside, file in contents[one.name].files.items()}
    versions = {one.name: one.version for one in chosen}
    return build_bundle(name, files, versions, target, folder)


def share_with_bundles(
    wanted: Sequence[Wanted],
    bundled: Sequence[Wanted],
    resolution: Resolution,
    assumed: Sequence[Wanted] = (),
) -> Shares:
    """Share among layers all that they need, and among bundles what nobody has then.

    Parameters
    ----------
    assumed
        What Executors have from elsewhere; layers have what they need of it all the same.
    """
    mine, elsewhere = _needs(wanted, resolution), _needs(assumed, resolution)
    rest = resolution.chosen.keys() - mine - elsewhere
    return Shares(share(wanted, resolution, mine), share(bundled, resolution, rest))


def _needs(asking: Sequence[Wanted], resolution: Resolution) -> set[str]:
    return set(resolution.reached(one for each in asking for one in each.requirements))


def share(
    wanted: Sequence[Wanted], resolution: Resolution, among: Collection[str] | None = None
) -> dict[str, tuple[Chosen, ...]]:
    """Give each distribution to one layer: that of its name, else one that asks for it by name.

    What no layer asks for goes into the first that needs it.

    Parameters
    ----------
    among
        The distributions to share; all unless it says so.

    Raises
    ------
    LayerError
        If nothing is left for one.
    """
    named = {layer.name: _named(layer) for layer in wanted}
    needs = {layer.name: resolution.reached(layer.requirements) for layer in wanted}
    shares: dict[str, list[Chosen]] = {layer.name: [] for layer in wanted}
    for name in sorted(resolution.chosen if among is None else among):
        asking = [layer for layer, names in named.items() if name in names & needs[layer]]
        owners = [layer for layer in asking if canonicalize_name(layer) == name]
        owners += asking + [layer for layer, names in needs.items() if name in names]
        shares[owners[0]].append(resolution.chosen[name])
    for name, mine in shares.items():
        if not mine:
            raise LayerError(
                f"nothing is left for {name}: Lambda's runtime, the deployment package or "
                "another layer has all that it asks for",
                "Leave it out.",
            )
    return {name: tuple(mine) for name, mine in shares.items()}


def _named(layer: Wanted) -> set[str]:
    return {canonicalize_name(one.name) for one in layer.requirements}


def _unpacked(
    resolution: Resolution, found: Mapping[str, Path], scratch: Path
) -> dict[str, Unpacked]:
    """Unpack all wheels; with bytecode in place of the sources if it is this Python's."""

    def one(chosen: Chosen) -> Unpacked:
        name = chosen.name
        unpacked = wheels.unpack(found[name], chosen, scratch / "files" / name)
        if not resolution.target.is_this_python:
            return unpacked
        # Each distribution alone, so that its bytecode is the same whatever else is in the layer.
        bytecode = bytecode_of(unpacked.files, scratch / "compiled" / name)
        return Unpacked(in_place(unpacked.files, bytecode), unpacked.left_out)

    every = _together(one, resolution.chosen.values())
    return dict(zip(resolution.chosen, every, strict=True))


def _together(act: Callable[[T], R], every: Iterable[T]) -> tuple[R, ...]:
    """Do the same for each, on all processors: what takes time here lets other threads run."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return tuple(pool.map(act, every))


def _write(
    name: str,
    chosen: tuple[Chosen, ...],
    contents: Mapping[str, Unpacked],
    target: Target,
    folder: Path,
    scratch: Path,
) -> Layer:
    owners = {f"python/{inside}": one.name for one in chosen for inside in contents[one.name].files}
    files = {
        f"python/{inside}": file
        for one in chosen
        for inside, file in contents[one.name].files.items()
    }
    for inside, value in _descriptions(name, chosen, target).items():
        files[inside] = scratch / f"{name}-{Path(inside).name}"
        files[inside].write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")
    written = archive.write(files, folder / "layers" / f"{name}.zip", LEVEL)
    left_out: dict[str, int] = {}
    for one in chosen:
        for reason, size in contents[one.name].left_out.items():
            left_out[reason] = left_out.get(reason, 0) + size
    versions = {one.name: one.version for one in chosen}
    return Layer(name, written, chosen, parts_of(written, owners, versions), left_out)


def _descriptions(name: str, chosen: Iterable[Chosen], target: Target) -> dict[str, object]:
    """Give what a layer says of itself: to the bootstrap, and to whoever looks into it."""
    fits = {
        "compatible_runtimes": [target.runtime],
        "compatible_architectures": [target.architecture],
    }
    record = {
        "name": name,
        "runtime": target.runtime,
        "architecture": target.architecture,
        "distributions": _listed(chosen),
    }
    return {MANIFEST: fits, RECORD.format(name=name): record}


def _listed(chosen: Iterable[Chosen]) -> list[dict[str, str]]:
    return [{"name": one.name, "version": one.version, "wheel": one.sha256} for one in chosen]


def write_lock(layers: Iterable[Layer], target: Target, folder: Path) -> Path:
    """Write what each layer holds and the digests of zips and wheels, in hexadecimal."""
    value = {
        "runtime": target.runtime,
        "architecture": target.architecture,
        "layers": [
            {
                "name": layer.name,
                "path": f"layers/{layer.name}.zip",
                "bytes": layer.archive.size,
                "unzipped_bytes": layer.archive.unzipped_size,
                "sha256": layer.archive.sha256,
                "distributions": _listed(layer.distributions),
            }
            for layer in layers
        ],
    }
    file = folder / LOCK
    file.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return file


def check_fit(deployment: Archive, layers: Sequence[Layer]) -> int:
    """Give the bytes that are left of what code and layers may have together.

    Raises
    ------
    LayerError
        If that is less than nothing, with what is largest.
    """
    sizes = [deployment.unzipped_size, *(layer.archive.unzipped_size for layer in layers)]
    left = UNZIPPED_BYTES - sum(sizes)
    if left < 0:
        largest = sorted(
            (part for layer in layers for part in layer.parts), key=lambda part: -part.unzipped
        )
        told = ", ".join(f"{part.name} {part.unzipped / 1e6:.0f} MB" for part in largest[:6])
        raise LayerError(
            f"deployment.zip with its layers has {sum(sizes) / 1e6:.1f} MB unzipped, "
            f"{-left / 1e6:.1f} MB more than Lambda's {UNZIPPED_BYTES / 1e6:.1f}",
            "Leave out what no task needs, or move it into an overflow bundle with --bundle; the "
            f"largest are {told}.",
        )
    return left
