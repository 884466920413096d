"""The example scripts, as the tests reach them: by path, like their users, not as a package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parents[2] / "examples"

SMALL: dict[str, tuple[str, ...]] = {
    "tree_reduction.py": ("--numbers", "33", "--delay", "0.001"),
    "gemm.py": ("--n", "96", "--chunk", "40"),
    "svd_tall_skinny.py": ("--rows", "600", "--columns", "8", "--chunk-rows", "100"),
    "svd_square.py": ("--n", "120", "--chunk", "40", "--rank", "3"),
    "tsqr.py": ("--rows", "512", "--columns", "8", "--chunk-rows", "64"),
    "svc.py": ("--samples", "300", "--chunk", "100"),
    "svc_dask_ml.py": ("--samples", "300", "--chunk", "100"),
}
"""Every script, with sizes at which it takes a moment."""


def load(script: str) -> ModuleType:
    """Import a script without running its `main`."""
    spec = importlib.util.spec_from_file_location(f"example_{script[:-3]}", EXAMPLES / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def output_of(*command: str) -> str:
    """Run Python with some arguments; gives what it printed, and fails with what went wrong."""
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
