"""Bytecode for a zip: Lambda's code folder is read-only, so without it every cold start compiles.

The files are of the kind that is used unchecked (PEP 552), so they hold no time stamp. They are
made in a fresh process with a fixed hash seed and none of our settings, and name their source
relative to the zip, so that the same source gives the same bytes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import cache_from_source
from pathlib import Path

_COMPILE = """
import compileall, py_compile, sys
compileall.compile_dir(
    sys.argv[1], quiet=2, force=True, stripdir=sys.argv[1], maxlevels=50,
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"""


def bytecode_of(files: Mapping[str, Path], scratch: Path) -> dict[str, Path]:
    """Compile the files that are Python, by their names in the zip, for this interpreter.

    A file that does not compile (a template, or syntax of another version) is not in the answer.
    """
    tree = scratch / "tree"
    for inside, file in sorted(files.items()):
        if inside.endswith(".py"):
            copy = tree / inside
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    subprocess.run(
        # Not -I: it would also ignore the hash seed.
        [sys.executable, "-S", "-P", "-c", _COMPILE, str(tree)],
        env=_clean_environment(),
        check=True,
        capture_output=True,
    )
    return {file.relative_to(tree).as_posix(): file for file in tree.rglob("*.pyc")}


def bytecode_name(inside: str) -> str:
    """Give the name in a zip of the bytecode of a source file, for this interpreter."""
    return Path(cache_from_source(inside, optimization="")).as_posix()


def _clean_environment() -> dict[str, str]:
    """Give our environment without what would change the compiler, such as PYTHONOPTIMIZE."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"PYTHONHASHSEED": "0"}
