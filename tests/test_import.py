"""`import wukong` is cheap: it loads nothing heavy. (benchmarks/start_up.py measures the time.)"""

from __future__ import annotations

import subprocess
import sys


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_wukong_loads_nothing_heavy() -> None:
    heavy = {"boto3", "botocore", "dask", "numpy", "redis", "valkey", "pydantic", "yaml", "rich"}
    assert not heavy & loaded_by("import wukong")


def test_the_public_names_are_there_when_asked_for() -> None:
    import wukong

    for name in wukong.__all__:
        assert getattr(wukong, name) is not None
    assert set(dir(wukong)) == set(wukong.__all__)


def test_a_ping_loads_neither_dask_nor_numpy_nor_the_store() -> None:
    ping = "from executor.function import lambda_handler; lambda_handler({'wukong': 'ping'}, None)"
    assert not {"dask", "numpy", "valkey", "boto3"} & loaded_by(ping)
