"""`wukong package`: build both zips, layers and bundles, and say what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wukong.cli import layers
from wukong.cli.output import Output
from wukong.config import Packages, load_config
from wukong.packaging.archive import Archive
from wukong.packaging.build import build_all, manifest_of
from wukong.packaging.layers import check_fit
from wukong.packaging.sizes import sizes_of
from wukong.packaging.target import Target
from wukong.platform.overflow import MANIFEST
from wukong.stack.embedded import is_in_use


def target_of(runtime: str | None, arch: str | None, packages: Packages) -> Target:
    """Give the target that options name, else the configuration; the rest is as on this machine.

    Without options it is Lambda's own system, except where the embedded AWS runs the functions
    with this machine's Python.
    """
    here = Target.this_machine()
    runtime, arch = runtime or packages.runtime, arch or packages.architecture
    if runtime is None and arch is None:
        return here if is_in_use() else here.for_lambda
    return Target.parse(runtime or here.runtime, arch or here.architecture)


def package(
    out: Output,
    folder: Path,
    runtime: str | None,
    arch: str | None,
    named: Sequence[str] | None = None,
    bundled: Sequence[str] | None = None,
    *,
    here: bool = False,
) -> None:
    """Build zips, layers and bundles into a folder, and print what takes how much of them."""
    packages = load_config().packages
    target = Target.this_machine() if here else target_of(runtime, arch, packages)
    asked = layers.references_of(named, packages) or ()
    over = bundled if bundled is not None else packages.bundles
    references, over = layers.parted(asked, over)
    names = layers.names_of(references)
    built = layers.build(out, references, target, folder, over)
    archives = build_all(target, folder, names, built.bundles)
    for archive in archives:
        _show(out, archive)
    if built.layers:
        layers.show(out, archives[0], built.layers, check_fit(archives[0], built.layers))
    manifest = folder / MANIFEST
    manifest.unlink(missing_ok=True)
    if built.bundles:
        # For workers of this machine, which have no code folder of their own.
        manifest.write_bytes(manifest_of(names, built.bundles))
        layers.show_bundles(out, built)
    out.say(f"Built for {target}.")
    out.give(
        {
            "runtime": target.runtime,
            "architecture": target.architecture,
            "packages": [
                {
                    "path": str(archive.path),
                    "bytes": archive.size,
                    "unzipped_bytes": archive.unzipped_size,
                    "sha256": archive.sha256,
                }
                for archive in archives
            ],
            "layers": [layers.described(one) for one in built.layers],
            "bundles": [layers.described_bundle(one) for one in built.bundles],
        }
    )


def _show(out: Output, archive: Archive) -> None:
    sizes = sizes_of(archive)
    title = f"{archive.path}: {archive.size / 1e6:.2f} MB ({archive.unzipped_size / 1e6:.2f} MB)"
    rows = [
        (row.part, row.version, *(f"{n / 1e3:,.0f}" for n in (row.zipped, row.files, row.bytecode)))
        for row in sizes.rows
    ]
    columns = ("part", "version", "zipped kB", "files kB", "bytecode kB")
    out.table(title, columns, rows)
    out.say(f"{sizes.note}\nsha256 {archive.sha256}\n")
