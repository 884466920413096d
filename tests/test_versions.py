"""The oldest Dask that is tried is the oldest that may be installed."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import dask
import pytest

HERE = Path(__file__).parents[1]


def oldest() -> str:
    (version,) = re.findall(r"^dask==(\S+)", (HERE / "requirements-oldest.lock").read_text(), re.M)
    return str(version)


def test_the_oldest_dask_that_is_tried_is_the_oldest_that_may_be_installed() -> None:
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    (allowed,) = (one for one in project["dependencies"] if one.startswith("dask>="))
    assert oldest().startswith(allowed.removeprefix("dask>="))


def test_the_dask_that_runs_is_the_one_that_is_meant() -> None:
    if "oldest" not in os.environ.get("PYTHONPATH", ""):
        pytest.skip("this is about `make oldest`")
    assert dask.__version__ == oldest()
