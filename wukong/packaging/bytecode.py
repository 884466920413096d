"""Bytecode for a zip: Lambda's code folder is read-only, so without it every cold start compiles.

The files are of the kind that is used unchecked (PEP 552), so they hold no time stamp; they are
made in a process of its own with a fixed hash seed, so that the same source gives the same bytes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_COMPILE = """
import compileall, py_compile, sys
done = compileall.compile_dir(
    sys.argv[1], quiet=2, force=True, stripdir=sys.argv[1], maxlevels=50,
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
sys.exit(0)
"""


def with_bytecode(files: Mapping[str, Path], scratch: Path) -> dict[str, Path]:
    """Give the files and the bytecode of those that are Python, for this interpreter.

    A file that does not compile (a template, or syntax of another version) goes without.
    """
    tree = scratch / "tree"
    for inside, file in sorted(files.items()):
        if inside.endswith(".py"):
            copy = tree / inside
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    subprocess.run(
        [sys.executable, "-I", "-c", _COMPILE, str(tree)],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        check=True,
        capture_output=True,
    )
    made = {file.relative_to(tree).as_posix(): file for file in tree.rglob("*.pyc")}
    return {**files, **made}
