"""The probe: asks an Executor what it runs on, before anything is computed there.

    client ──Probe──> Executor ──Environment──> client

The same is told of the client's own process (`environment_here`), so that both can be compared.
"""

from __future__ import annotations

import json
import os
import pkgutil
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from wukong import __version__
from wukong.errors import WukongError
from wukong.messages import PROTOCOL, field_of, header
from wukong.platform import surroundings

COMPARED = ("dask", "numpy", "cloudpickle", "pandas", "pyarrow", "scipy", "scikit-learn")
"""Distributions whose objects travel between client and Executors."""

LAYERS = "/opt"
"""Where Lambda unzips layers: https://docs.aws.amazon.com/lambda/latest/dg/chapter-layers.html"""


@dataclass(frozen=True, slots=True)
class Probe:
    """Asks an Executor what it runs on.

    Attributes
    ----------
    find
        Top-level modules of which it says whether they can be imported, however they are installed.
    thorough
        Whether it also reaches for its store, and measures its code and layers.
    """

    find: tuple[str, ...] = ()
    thorough: bool = False

    def to_bytes(self) -> bytes:
        """Give the payload of an `Invoke` call."""
        message = {"wukong": "probe", "protocol": PROTOCOL}
        return json.dumps({**message, "find": self.find, "thorough": self.thorough}).encode()

    @classmethod
    def from_event(cls, event: object) -> Self:
        """Check and read a payload; raises `MessageError` that names the field."""
        message = header(event, "probe")
        find = tuple(map(str, field_of(message, "find", list)))
        return cls(find, message.get("thorough") is True)


@dataclass(frozen=True, slots=True)
class Environment:
    """What a process runs on.

    Attributes
    ----------
    release, python, machine
        Of Wukong, of Python, and the processor's architecture.
    versions
        Of distributions that both sides of a run should have alike; those that are there.
    modules
        Top-level modules that can be imported, without the standard library's.
    memory_bytes, processors
        How much of either the process may use.
    unzipped_bytes
        The size of code and layers; None if it was not measured.
    store
        What was wrong with the store; empty if it answered, None if it was not asked.
    """

    release: str
    python: str
    machine: str
    versions: Mapping[str, str]
    modules: frozenset[str]
    memory_bytes: int
    processors: int
    unzipped_bytes: int | None = None
    store: str | None = None

    def to_event(self) -> dict[str, Any]:
        """Give the JSON object that goes over the wire."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields |= {"versions": dict(self.versions), "modules": sorted(self.modules)}
        return {"wukong": "environment", "protocol": PROTOCOL, **fields}

    @classmethod
    def from_event(cls, event: object) -> Self:
        """Check and read an answer; raises `MessageError` that names the field."""
        message = header(event, "environment")
        return cls(
            release=field_of(message, "release", str),
            python=field_of(message, "python", str),
            machine=field_of(message, "machine", str),
            versions=dict(field_of(message, "versions", dict)),
            modules=frozenset(map(str, field_of(message, "modules", list))),
            memory_bytes=field_of(message, "memory_bytes", int),
            processors=field_of(message, "processors", int),
            unzipped_bytes=message.get("unzipped_bytes"),
            store=message.get("store"),
        )


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
    found = environment_here()
    also = {name for name in probe.find if _can_be_imported(name)}
    found = replace(found, modules=found.modules | also)
    if not probe.thorough:
        return found
    return replace(found, unzipped_bytes=_unzipped(), store=_store())


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
