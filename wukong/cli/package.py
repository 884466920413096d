"""`wukong package`: build deployment.zip and bootstrap.zip, and say what is in them."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from wukong.packaging.build import build_bootstrap, build_deployment
from wukong.packaging.target import Target


def target_of(runtime: str | None, arch: str | None) -> Target:
    """Give the target that options name; what is not named is this machine's."""
    here = Target.this_machine()
    if runtime is None and arch is None:
        return here
    return Target.parse(runtime or here.runtime, arch or here.architecture)


def package(out: Path, runtime: str | None, arch: str | None) -> None:
    """Build both zips into a folder."""
    console = Console()
    target = target_of(runtime, arch)
    out.mkdir(parents=True, exist_ok=True)
    for archive in (
        build_deployment(target, out / "deployment.zip"),
        build_bootstrap(target, out / "bootstrap.zip"),
    ):
        console.print(
            f"{archive.path}: {archive.size / 1e6:.2f} MB, unzipped "
            f"{archive.unzipped_size / 1e6:.2f} MB, sha256 {archive.sha256}",
            highlight=False,
        )
