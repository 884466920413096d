"""Functions of the embedded AWS see what is installed here only if they have no layers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wukong.stack.embedded import _site

LOOK = """
import importlib.util, sys, boto3, json
print([p for p in sys.path if "site-packages" in p])
print([m for m in sys.modules.values() if "site-packages" in str(getattr(m, "__file__", ""))])
print(importlib.util.find_spec("numpy") is not None, importlib.util.find_spec("wukong") is not None)
"""


@pytest.mark.parametrize("layers", [{}, {"_LAMBDA_LAYERS_DIRS": "/somewhere"}])
def test_a_process_with_layers_sees_the_standard_library_and_lambdas_runtime(
    layers: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        env={"PYTHONPATH": str(_site(tmp_path)), **layers},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    path, modules, found = done.stdout.splitlines()
    if layers:
        assert (path, modules, found) == ("[]", "[]", "False False")
    else:
        assert "site-packages" in path
        assert found == "True True"
