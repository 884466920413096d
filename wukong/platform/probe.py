"""What a process runs on: an Executor that is asked (`answer`), or this one (`environment_here`).

Both say it in the same words (wukong/platform/environment.py), so that they can be compared.
"""

from __future__ import annotations

import os
import pkgutil
import platform
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from wukong import __version__
from wukong.errors import WukongError
from wukong.platform import surroundings
from wukong.platform.environment import Environment, Probe
from wukong.platform.overflow import bundles_here

COMPARED = ("dask", "numpy", "cloudpickle", "pandas", "pyarrow", "scipy", "scikit-learn")
"""Distributions whose objects travel between client and Executors."""

LAYERS = "/opt"
"""Where Lambda unzips layers: https://docs.aws.amazon.com/lambda/latest/dg/chapter-layers.html"""


def environment_here() -> Environment:
    """Say what this process runs on; takes some milliseconds, and imports nothing large."""
    return Environment(
        release=__version__,
        python=platform.python_version(),
        machine=platform.machine(),
        versions={name: found for name in COMPARED if (found := _version(name))},
        modules=frozenset(one.name for one in pkgutil.iter_modules()) - sys.stdlib_module_names,
        memory_bytes=_memory(),
        processors=_processors(),
    )


def answer(probe: Probe) -> Environment:
    """Answer a probe, in the function that was asked."""
    found = _with_bundles(environment_here())
    also = {name for name in probe.find if name in found.modules or _can_be_imported(name)}
    found = replace(found, modules=found.modules | also)
    if not probe.thorough:
        return found
    return replace(found, unzipped_bytes=_unzipped(), store=_store())


def _with_bundles(found: Environment) -> Environment:
    """Add what overflow bundles have, as they say themselves: they are not unpacked for this."""
    bundles = bundles_here()
    versions = {
        name: one.versions[name] for one in bundles for name in COMPARED & one.versions.keys()
    }
    modules = frozenset(name for one in bundles for name in one.modules)
    return replace(found, versions={**found.versions, **versions}, modules=found.modules | modules)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _can_be_imported(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _memory() -> int:
    """Give the memory in bytes that Lambda allows this function, or that the machine has."""
    allowed = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    if allowed:
        return int(allowed) << 20
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _unzipped() -> int:
    """Measure code and layers, which together may have 250 MB."""
    places = {os.environ.get("LAMBDA_TASK_ROOT", ""), LAYERS} - {""}
    files = (file for place in places for file in Path(place).rglob("*"))
    return sum(file.stat().st_size for file in files if file.is_file())


def _store() -> str:
    """Say what is wrong with the store, as seen from here; nothing if it answers."""
    try:
        surroundings.store().ping()
    except WukongError as error:
        return str(error)
    return ""
