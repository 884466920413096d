"""Layers as a function sees them: unpacked, with nothing else on the path but Lambda's runtime."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from wukong.packaging.archive import Archive
from wukong.stack.confine import RUNTIME


def unpacked(archives: Iterable[Archive], folder: Path) -> list[str]:
    """Unpack zips, each into a folder of its own; gives what of each Lambda has on the path."""
    places = []
    for archive in archives:
        place = folder / archive.path.stem
        zipfile.ZipFile(archive.path).extractall(place)
        inside = place / "python"
        places.append(str(inside if inside.is_dir() else place))
    runtime = folder / "runtime"
    runtime.mkdir()
    for name in RUNTIME:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        file = Path(spec.origin)
        home = file.parent if spec.submodule_search_locations else file
        (runtime / home.name).symlink_to(home)
    return [*places, str(runtime)]


FOREIGN = """
homes = {m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)}
print([h for h in sorted(homes)
       if not h.startswith((*PLACES, sys.base_prefix)) or 'site-packages' in h])
"""
"""Prints the files of loaded modules that are from somewhere else."""


def run(places: list[str], code: str) -> str:
    """Run code in an interpreter that sees some places and the standard library; what it prints."""
    path = f"import sys; PLACES = {places!r}; sys.path[:0] = PLACES\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", path + code],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
