"""`wukong package`: build deployment.zip and bootstrap.zip, and say what is in them."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

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


def package(out: Path, runtime: str | None, arch: str | None) -> None:
    """Build both zips into a folder, and print what takes how much of them."""
    console = Console()
    target = target_of(runtime, arch)
    for archive in build_all(target, out):
        _show(console, archive)
    console.print(f"Built for {target}.", highlight=False)


def _show(console: Console, archive: Archive) -> None:
    sizes = sizes_of(archive)
    title = f"{archive.path}: {archive.size / 1e6:.2f} MB ({archive.unzipped_size / 1e6:.2f} MB)"
    table = Table(title=title, title_justify="left", caption=sizes.note, caption_justify="left")
    table.add_column("part")
    table.add_column("version")
    for column in ("zipped kB", "files kB", "bytecode kB"):
        table.add_column(column, justify="right")
    for row in sizes.rows:
        kilobytes = (f"{size / 1e3:,.0f}" for size in (row.zipped, row.files, row.bytecode))
        table.add_row(row.part, row.version, *kilobytes)
    console.print(table)
    console.print(f"sha256 {archive.sha256}\n", highlight=False, soft_wrap=True)
