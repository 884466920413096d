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
    sys.argv[1], quiet=2, force=True, stripdir=sys.argv[1], maxlevels=50, legacy=True,
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"""


def bytecode_of(files: Mapping[str, Path], scratch: Path) -> dict[str, Path]:
    """Compile for this interpreter; gives the bytecode by the name in the zip of its source.

    A file that is not Python or does not compile (a template, or syntax of another version) is not
    in the answer.
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
    compiled = ((inside, tree / instead_of(inside)) for inside in files if inside.endswith(".py"))
    return {inside: file for inside, file in compiled if file.is_file()}


def beside(inside: str) -> str:
    """Give the name of the bytecode of a source file that is in the zip too."""
    return Path(cache_from_source(inside, optimization="")).as_posix()


def instead_of(inside: str) -> str:
    """Give the name of bytecode that is imported without its source (PEP 3147)."""
    return inside.removesuffix(".py") + ".pyc"


def in_place(files: Mapping[str, Path], bytecode: Mapping[str, Path]) -> dict[str, Path]:
    """Give files with bytecode in place of the sources: both would be twice the size."""
    return {
        instead_of(inside) if inside in bytecode else inside: bytecode.get(inside, file)
        for inside, file in files.items()
    }


def _clean_environment() -> dict[str, str]:
    """Give our environment without what would change the compiler, such as PYTHONOPTIMIZE."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"PYTHONHASHSEED": "0"}
