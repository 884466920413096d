"""Overflow bundles at work: an import of what is in one waits until it is there.

The Executor's manifest says which top-level modules are in bundles. When the first of them is
imported, wherever (a task's function, a value that is unpickled, another library), its bundle is
fetched, and its folder put on `sys.path`: behind the code and its layers, before what else this
Python has. So a run that imports none of it never waits, and nothing has to be foretold.

The waiting is the loader's and not the finder's: while Python searches for a module, no other
thread can import anything, and those that fetch have to.

An import fails with a `BundleError` and not with an ImportError: `try: import` would take that for
"not installed", and go on in another way than its user expects.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, cast

from wukong.platform.context import inside_function, settings
from wukong.platform.lines import Lines
from wukong.platform.overflow import PLACE, OverflowBundle, bundles_here, check_target
from wukong.storage.notes import Place

if TYPE_CHECKING:
    from importlib.abc import Loader


TRIED = frozenset({"jinja2", "psutil", "sparse", "tblib"})
"""What Dask imports if it is there, at its own import (dask/system.py, widgets, multiprocessing,
array/chunk_types.py), and does without: no reason to fetch a bundle for each run."""


class Overflow:
    """Finds what is in bundles, before the path is searched, and has it unpacked when it is loaded.

    Parameters
    ----------
    bundles
        Those of the release.
    place
        Where they lie: as in the setting `WUKONG_BUNDLES`.
    base
        The folder to unpack into.

    Attributes
    ----------
    lines
        The log of the invocation, if there is one.
    """

    lines: Lines | None = None

    def __init__(self, bundles: Sequence[OverflowBundle], place: str, base: Path) -> None:
        self._place = place
        self._base = base
        self._bundles = {name: one for one in bundles for name in one.modules}
        self._ready: set[str] = set()
        self._lock = threading.Lock()
        self._own = threading.local()
        self._cost = (0.0, 0)
        self._counting = threading.Lock()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a top-level module that is in a bundle which is not ready; its loader waits.

        Raises
        ------
        ModuleNotFoundError
            For Dask, if it only tries.
        """
        bundle = self._bundles.get(name) if path is None else None
        # What fetching itself imports must not wait for it.
        if bundle is None or bundle.name in self._ready or getattr(self._own, "fetches", False):
            return None
        if name in TRIED and _importer() == "dask":
            # Not None: another copy, of this machine, would not be that of the bundle.
            raise ModuleNotFoundError(f"{name} is in a bundle that nobody needs yet", name=name)
        waiting = cast("Loader", _Waiting(self, bundle))
        return ModuleSpec(name, waiting, origin=f"bundle {bundle.name}")

    def need(self, bundle: OverflowBundle) -> None:
        """Have a bundle ready, whoever unpacks it; raises `BundleError`."""
        if bundle.name in self._ready:
            return
        with self._lock:
            if bundle.name in self._ready:
                return
            self._fetches()
            try:
                self._make_ready(bundle)
            finally:
                self._own.fetches = False
            self._ready.add(bundle.name)

    def _fetches(self) -> None:
        self._own.fetches = True

    def _make_ready(self, bundle: OverflowBundle) -> None:
        from executor.fetching import Reader, source_of
        from executor.unpacking import private, unpack

        began = time.monotonic()
        check_target(bundle)
        folder, is_new = unpack(
            bundle,
            lambda: Reader(bundle, source_of(self._place)),
            private(self._base),
            self._fetches,
        )
        sys.path.insert(_behind_layers(), str(folder))
        importlib.invalidate_caches()
        seconds, size = time.monotonic() - began, bundle.size if is_new else 0
        with self._counting:
            self._cost = (self._cost[0] + seconds, self._cost[1] + size)
        if self.lines is not None:
            self.lines.say("unpacked", bundle=bundle.name, seconds=round(seconds, 3), bytes=size)

    def take_cost(self) -> tuple[float, int]:
        """Give the seconds and bytes that bundles took since this was asked last."""
        with self._counting:
            taken, self._cost = self._cost, (0.0, 0)
        return taken


def _importer() -> str:
    """Give the top-level package of the code that imports, past Python's own import system."""
    frame = sys._getframe(2)
    while frame.f_back is not None and _name_of(frame).startswith("importlib."):
        frame = frame.f_back
    return _name_of(frame).partition(".")[0]


def _name_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


class _Waiting:
    """Has a bundle ready, and leaves the module to the loader that it has then."""

    def __init__(self, overflow: Overflow, bundle: OverflowBundle) -> None:
        self._overflow = overflow
        self._bundle = bundle

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Turn the specification into that of the module itself, whose loader goes on.

        Raises
        ------
        BundleError
            If the bundle cannot be had.
        """
        found = self._found(spec.name)
        spec.loader, spec.origin = found.loader, found.origin
        spec.submodule_search_locations = found.submodule_search_locations
        spec.has_location, spec.cached = found.has_location, found.cached
        return None if found.loader is None else found.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run a module for who has wrapped this loader, such as `importlib.util.LazyLoader`.

        Python itself asks the loader that the specification has by then.
        """
        loader = self._found(module.__name__).loader
        if loader is not None:
            loader.exec_module(module)

    def _found(self, name: str) -> ModuleSpec:
        self._overflow.need(self._bundle)
        found = PathFinder.find_spec(name)
        if found is None:
            raise ModuleNotFoundError(
                f"bundle {self._bundle.name} has no module {name!r}", name=name
            )
        return found


def _behind_layers() -> int:
    """Give the place on `sys.path` behind code and layers: that of what this Python has itself."""
    import site
    import sysconfig

    paths = sysconfig.get_paths()
    own = {paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages()}
    return next((place for place, one in enumerate(sys.path) if one in own), len(sys.path))


def install(lines: Lines) -> None:
    """Have imports find what this release has in bundles, if it has any; once for each process.

    Parameters
    ----------
    lines
        Where this invocation tells what it unpacks.

    Raises
    ------
    BundleError
        If the manifest cannot be read.
    """
    found = _here()
    if found is not None:
        found.lines = lines


def _here() -> Overflow | None:
    place = settings().get(PLACE, "")
    # Where Executors are threads of the user's program, its imports are its own concern.
    return _installed(place) if place and not inside_function() else None


@cache
def _installed(place: str) -> Overflow | None:
    bundles = bundles_here()
    if not bundles:
        return None
    from tempfile import gettempdir

    base = Path(gettempdir()) / f"wukong-bundles-{os.getuid()}"
    overflow = Overflow(bundles, place, base)
    sys.meta_path.insert(0, overflow)
    return overflow


def with_cost(place: Place) -> Place:
    """Give an Executor's place with what bundles have cost there since this was asked last."""
    overflow = _here()
    seconds, size = overflow.take_cost() if overflow is not None else (0.0, 0)
    return replace(place, unpacking=round(seconds, 6), unpacked=size)
