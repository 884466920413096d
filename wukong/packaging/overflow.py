"""An overflow bundle from a tree of files: zips of their own, and the entry of the manifest.

    tree of files ──sorted, cut──> parts ──compressed side by side──> bundles/NAME-DIGEST.zip ...
                                                                  └──> OverflowBundle

Parts are cut where their files reach `PART_BYTES`, so that an Executor unpacks one while it reads
others. A part is named by its own digest: what has not changed is uploaded once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from wukong.packaging import archive
from wukong.packaging.target import Target
from wukong.platform.overflow import (
    FOLDER,
    HEADROOM_MB,
    BundleError,
    OverflowBundle,
    Part,
    storage_mb,
)

PART_BYTES = 32 << 20
"""Of files, before they are compressed; a file that is larger is a part alone."""

LEVEL = 6
"""Of zlib; 9 takes three times as long to save a hundredth (docs/bundles.md)."""

DIGITS = 16
"""So much of a digest is in a name."""

MOST_STORAGE_MB = 10_240
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-ephemeral-storage.html"""

_NO_MODULES = (".dist-info", ".data", ".libs", "__pycache__")


def build_bundle(
    name: str,
    files: Mapping[str, Path],
    versions: Mapping[str, str],
    target: Target,
    folder: Path,
    level: int = LEVEL,
) -> OverflowBundle:
    """Write the parts of a bundle into `folder`/bundles, and describe it.

    Parameters
    ----------
    name
        What it is called.
    files
        What it holds, by names as in a folder of `sys.path`.
    versions
        Of the distributions that the files belong to.
    level
        How hard zlib tries, from 1 to 9.

    Raises
    ------
    BundleError
        If there are no modules in it.
    """
    modules = modules_in(files)
    if not modules:
        raise BundleError(
            f"bundle {name} would hold nothing: all of it is in the package or its layers",
            "Leave it out.",
        )
    sizes = {inside: file.stat().st_size for inside, file in files.items()}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        parts = tuple(
            pool.map(
                lambda numbered: _write(name, numbered, files, folder, level),
                enumerate(_cut(sizes)),
            )
        )
    return OverflowBundle(
        name=name,
        python=target.python,
        architecture=target.architecture,
        unpacked=sum(sizes.values()),
        modules=modules,
        versions=versions,
        parts=parts,
    )


def check_storage(bundles: Sequence[OverflowBundle]) -> None:
    """Refuse bundles that together are larger than the disk of a function; raises `BundleError`."""
    if storage_mb(bundles) <= MOST_STORAGE_MB:
        return
    told = ", ".join(f"{one.name} {one.unpacked >> 20:,} MB" for one in bundles)
    raise BundleError(
        f"bundles are too large unpacked ({told}); with {HEADROOM_MB} MB beside them that is more "
        f"than the {MOST_STORAGE_MB:,} MB that a function may have",
        "Leave packages out.",
    )


def modules_in(files: Mapping[str, Path]) -> frozenset[str]:
    """Give the top-level modules among files: sources, bytecode and compiled ones."""
    code = (PurePosixPath(inside) for inside in files if inside.endswith((".py", ".pyc", ".so")))
    return frozenset(
        path.parts[0].partition(".")[0] for path in code if not path.parts[0].endswith(_NO_MODULES)
    )


def _cut(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    group: list[str] = []
    filled = 0
    for inside in sorted(sizes):
        if group and filled + sizes[inside] > PART_BYTES:
            yield group
            group, filled = [], 0
        group.append(inside)
        filled += sizes[inside]
    if group:
        yield group


def _write(
    name: str,
    numbered: tuple[int, list[str]],
    files: Mapping[str, Path],
    folder: Path,
    level: int,
) -> Part:
    number, group = numbered
    unnamed = folder / FOLDER / f"{name}-{number}.unnamed"
    made = archive.write({inside: files[inside] for inside in group}, unnamed, level)
    key = f"{FOLDER}{name}-{made.sha256[:DIGITS]}.zip"
    unnamed.replace(folder / key)
    return Part(key, made.sha256, made.size)
