"""What a run takes with it, and what it must find: the modules that its tasks import.

Modules of the user's own (neither installed nor of the standard library) travel as a zip that is
put into the run's storage once; Executors unpack it and import from it. Everything else must be
where Executors run, which they are asked before anything is started.

    references of the pickled tasks ─┬─> own modules, and those that they import ─> Bundle
                                     └─> packages ─> compared with what an Executor has

A zip and not pickles by value: so imports inside functions, relative imports, several modules that
share state, data beside the code, and the identity of classes are all as they are here.
"""

from __future__ import annotations

import ast
import hashlib
import io
import os
import site
import sys
import sysconfig
import zipfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, resolve_name
from pathlib import Path

from wukong.errors import WukongError
from wukong.graph.references import References
from wukong.packaging import archive

OURS = frozenset({"wukong", "executor", "invoker", "bootstrap"})

FILE_BYTES = 1 << 20
"""Files of a package up to this size travel with its sources; data belongs into the graph."""

MOST_BYTES = 20 << 20
"""So large may a bundle be; what is larger is better installed."""


class ModulesError(WukongError):
    """Modules that Executors cannot import, or that cannot be taken to them."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What Executors must be able to import for a run.

    Attributes
    ----------
    own
        Top-level modules of the user's own.
    packages
        Top-level modules that must be installed there.
    """

    own: frozenset[str]
    packages: frozenset[str]


@dataclass(frozen=True, slots=True)
class Packed:
    """Own modules as a zip, and the digest of its bytes."""

    data: bytes
    digest: str


def needs_of(references: References) -> Needs:
    """Say what the objects that were pickled need, own modules followed through their imports."""
    named = {name for name in references.modules if is_own(_top(name))}
    own: set[str] = set()
    waiting = {_top(name) for name in references.imports if is_own(_top(name))}
    waiting |= {_top(name) for name in named}
    while waiting:
        name = waiting.pop()
        own.add(name)
        waiting |= {one for one in _imported_by(name) if is_own(one)} - own
    packages = {_top(name) for name in references.modules | _imported_with(named)}
    return Needs(frozenset(own), frozenset(filter(_is_package, packages - own)))


def _imported_by(name: str) -> set[str]:
    """Give the top-level modules that the sources of an own module import, whenever they do."""
    sources = [file for _, file in _files(name) if file.suffix == ".py"]
    return {_top(one) for file in sources for one in _imports(file, *_stamp(file)).ever if one}


def _imported_with(names: set[str]) -> set[str]:
    """Give the full names of what is imported when these own modules are, one after another.

    Only what stands at the top of a source counts: what is tried there, or imported by a function,
    may be missing.
    """
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        found.add(name)
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if module is None or file is None or not file.endswith(".py"):
            continue
        first = set(_imports(Path(file), *_stamp(Path(file))).first)
        package = name if hasattr(module, "__path__") else name.rpartition(".")[0]
        absolute = {_absolute(one, package) for one in first} | set(_parents(name))
        installed = {one for one in absolute if not is_own(_top(one))}
        found |= installed
        waiting |= absolute - installed - found
    return found


def _absolute(name: str, package: str) -> str:
    """Give the full name of a module that is imported in a package, relative or not."""
    return resolve_name(name, package) if name.startswith(".") else name


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def pack(own: Collection[str]) -> Packed:
    """Zip own modules; the same files always give the same bytes.

    Raises
    ------
    ModulesError
        If they are too large.
    """
    files = {inside: file for name in sorted(own) for inside, file in _files(name)}
    size = sum(file.stat().st_size for file in files.values())
    if size > MOST_BYTES:
        raise ModulesError(
            f"the modules {listed(own)} have {size / 1e6:.0f} MB, more than the "
            f"{MOST_BYTES / 1e6:.0f} MB that a run takes with it",
            "Install them, here and in a layer (docs/surroundings.md), or move data out of them.",
        )
    stamps = ((inside, str(file), *_stamp(file)) for inside, file in sorted(files.items()))
    return _packed(tuple(stamps))


@lru_cache(maxsize=8)
def _packed(files: tuple[tuple[str, str, int, int], ...]) -> Packed:
    """Zip files; each comes with its time and size, by which a changed one is known."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for inside, file, *_ in files:
            zipped.writestr(archive.entry(inside), Path(file).read_bytes())
    data = buffer.getvalue()
    return Packed(data, hashlib.sha256(data).hexdigest())


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size


def is_own(name: str) -> bool:
    """Tell whether a top-level module is the user's own: found, but not installed."""
    if name in OURS or name == "__main__" or name in sys.stdlib_module_names:
        return False
    spec = _spec(name)
    places = [] if spec is None else _places(spec)
    return bool(places) and not any(_is_of_python(place) for place in places)


@dataclass(frozen=True, slots=True)
class Imports:
    """What a source imports, as it is written: `first`, when it is imported itself; or `ever`."""

    first: frozenset[str]
    ever: frozenset[str]


@lru_cache(maxsize=1024)
def _imports(file: Path, *_stamp: int) -> Imports:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        # Of a package, a file that nobody imports may be a template or for another Python.
        return Imports(frozenset(), frozenset())
    first = frozenset(_imported(tree.body))
    return Imports(first, first | frozenset(_imported(ast.walk(tree))))


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Give the names of import statements; what is imported from a module may be one, too."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            inside = base if base.endswith(".") else f"{base}."
            yield from (inside + one.name for one in node.names if one.name != "*")


def _files(name: str) -> Iterator[tuple[str, Path]]:
    """Give the files of an own module with their names in the zip."""
    spec = _spec(name)
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        if spec.origin is not None:
            yield Path(spec.origin).name, Path(spec.origin)
        return
    for place in map(Path, spec.submodule_search_locations):
        for file in _tree(place):
            yield f"{name}/{file.relative_to(place).as_posix()}", file


def _tree(folder: Path) -> Iterator[Path]:
    """Give what travels of a package: sources, and small files beside them."""
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if _may_be_entered(Path(base, one)))
        for file in (Path(base, one) for one in sorted(files)):
            is_small = file.suffix == ".py" or file.stat().st_size <= FILE_BYTES
            if is_small and not file.name.startswith("."):
                yield file


def _may_be_entered(folder: Path) -> bool:
    """Tell folders of code from caches, hidden ones, and virtual environments."""
    hidden = folder.name.startswith(".") or folder.name == "__pycache__"
    return not hidden and not (folder / "pyvenv.cfg").exists()


def _spec(name: str) -> ModuleSpec | None:
    """Find a top-level module, as it was loaded if it was."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        return getattr(loaded, "__spec__", None)
    try:
        return find_spec(name)
    except (ImportError, ValueError):
        return None


def _places(spec: ModuleSpec) -> list[Path]:
    """Say where a module is on the disk; nowhere if it is built in or in a zip."""
    if spec.submodule_search_locations is not None:
        found = [Path(place) for place in spec.submodule_search_locations]
    else:
        found = [Path(spec.origin)] if spec.origin and spec.has_location else []
    return [place.resolve() for place in found if place.exists()]


@lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    """Give the folders of the standard library and of installed packages."""
    paths = sysconfig.get_paths()
    named = [paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    named += [*site.getsitepackages(), site.getusersitepackages()]
    return tuple({Path(place).resolve() for place in named})


def _is_of_python(place: Path) -> bool:
    if {"site-packages", "dist-packages"} & set(place.parts):
        return True
    return any(place.is_relative_to(folder) for folder in _installed())


def _is_package(name: str) -> bool:
    """Tell what has to be installed from what Python or Wukong has."""
    with_python = name in sys.stdlib_module_names or name in sys.builtin_module_names
    return not with_python and name not in OURS | {"__main__"} and _spec(name) is not None


def _top(name: str) -> str:
    """Give the first part of a name; nothing for one that is relative."""
    return name.partition(".")[0]


def listed(names: Collection[str]) -> str:
    """Name a few things in a sentence."""
    return ", ".join(sorted(names))
