"""`wukong package`: build deployment.zip and bootstrap.zip, and say what is in them."""

from __future__ import annotations

from pathlib import Path

from wukong.cli.output import Output
from wukong.packaging.archive import Archive
from wukong.packaging.build import build_all
from wukong.packaging.sizes import sizes_of
from wukong.packaging.target import Target
from wukong.stack.embedded import is_in_use


def target_of(runtime: str | None, arch: str | None) -> Target:
    """Give the target that options name; what is not named is as on this machine.

    Without options it is Lambda's own system, except where the embedded AWS runs the functions
    with this machine's Python.
    """
    here = Target.this_machine()
    if runtime is None and arch is None:
        return here if is_in_use() else here.for_lambda
    return Target.parse(runtime or here.runtime, arch or here.architecture)


def package(out: Output, folder: Path, runtime: str | None, arch: str | None) -> None:
    """Build both zips into a folder, and print what takes how much of them."""
    target = target_of(runtime, arch)
    archives = build_all(target, folder)
    for archive in archives:
        _show(out, archive)
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
