"""Overflow bundles: what a release needs beside code and layers, which Executors fetch themselves.

The package's manifest names them, in parts, which lie under `bundles/` in the package's bucket and
are there before the package is. Here they are only looked at: a release whose Executors could not
use them is refused before Lambda is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bootstrap import package as packages
from bootstrap.configuration import Configuration
from bootstrap.errors import PackageError
from bootstrap.spec import DeploymentSpec
from bootstrap.surroundings import Surroundings
from bootstrap.wishes import BundleFields

HEADROOM_MB = 256
"""What is left in /tmp beside bundles, for the user's modules and files; as the package's builder
counts, which asks for so much in the manifest."""


def with_place(
    spec: DeploymentSpec, bundles: Sequence[BundleFields], bucket: str
) -> DeploymentSpec:
    """Tell the Executor where its bundles are, if it has any."""
    if not bundles:
        return spec
    return replace(spec, executor=replace(spec.executor, bundle_place=f"s3://{bucket}"))


def check(
    around: Surroundings, bundles: Sequence[BundleFields], executor: Configuration, where: str
) -> None:
    """Refuse bundles that are not in the bucket, or that the Executor could not unpack or import.

    Raises
    ------
    PackageError
        That names the bundle, what is wrong and what to do.
    """
    for bundle in bundles:
        _check_target(bundle, executor, where)
    _check_room(bundles, executor, where)
    for bundle in bundles:
        _check_parts(around, bundle, where)


def _check_target(bundle: BundleFields, executor: Configuration, where: str) -> None:
    built, runs = f"python{bundle.python}", executor.runtime
    if (runs, executor.architecture) != (built, bundle.architecture):
        raise PackageError(
            f"{where}: bundle {bundle.name} was built for {built} on {bundle.architecture}, and "
            f"the Executor runs {runs} on {executor.architecture}.",
            f"Build the package for {runs} on {executor.architecture}, or set runtime and "
            f"architecture to {built} and {bundle.architecture}.",
        )


def _check_room(bundles: Sequence[BundleFields], executor: Configuration, where: str) -> None:
    unpacked = sum(bundle.unpacked for bundle in bundles)
    if not unpacked:
        return
    wanted = -(-unpacked // (1 << 20)) + HEADROOM_MB
    if executor.ephemeral_storage < wanted:
        raise PackageError(
            f"{where}: its bundles have {unpacked >> 20:,} MB unpacked, for which the Executor "
            f"needs {wanted:,} MB of ephemeral storage; it would have "
            f"{executor.ephemeral_storage:,}.",
            f"Set executor.ephemeral_storage to at least {wanted} (10,240 at most), in the "
            "package's manifest or by hand.",
        )


def _check_parts(around: Surroundings, bundle: BundleFields, where: str) -> None:
    bucket = around.settings.bucket
    for part in bundle.parts:
        found = packages.resolve(around.s3, bucket, part.key)
        if found is not None and found.size == part.size:
            continue
        what = "is not there" if found is None else f"has {found.size:,} bytes, not {part.size:,}"
        raise PackageError(
            f"{where}: of its bundle {bundle.name}, s3://{bucket}/{part.key} {what}.",
            "Upload the folder bundles/ that was built with the package, then the package again: "
            "`wukong deploy` does both.",
        )
