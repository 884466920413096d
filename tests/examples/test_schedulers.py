"""The examples print the same under Wukong as under Dask's own scheduler, and know neither."""

from __future__ import annotations

import ast
import sys

import pytest

from tests.examples.scripts import EXAMPLES, SMALL, output_of

NEEDS = {"svc.py": "sklearn", "svc_dask_ml.py": "dask_ml"}


def test_every_script_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SMALL)


@pytest.mark.parametrize("script", SMALL)
def test_an_example_imports_nothing_of_wukong(script: str) -> None:
    tree = ast.parse((EXAMPLES / script).read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else names(node))
    }
    assert imported <= {"dask", "dask_ml", "numpy", "sklearn", *sys.stdlib_module_names}


def names(node: ast.Import) -> list[str]:
    return [alias.name for alias in node.names]


@pytest.mark.parametrize("script", SMALL)
def test_an_example_prints_the_same_under_wukong_as_under_dask(script: str) -> None:
    if script in NEEDS:
        pytest.importorskip(NEEDS[script])
    path, sizes = str(EXAMPLES / script), SMALL[script]
    under_dask = output_of(path, *sizes)
    assert under_dask.startswith(script.removesuffix(".py"))
    assert under_dask.count("\n") == 1
    assert output_of("-m", "wukong", "run", "--local", path, *sizes) == under_dask
