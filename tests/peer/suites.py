"""Dask's test suites as they are installed, run file by file, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dask

HERE = Path(__file__).parent
PACKAGES = Path(dask.__file__).parents[1]

SUITES = {
    "array": ["dask/array/tests/test_*.py"],
    "bag": ["dask/bag/tests/test_*.py"],
    "delayed": ["dask/tests/test_delayed.py"],
    "dataframe": ["dask/dataframe/tests/test_*.py"],
}

TEST_SECONDS = 120
"""After this long a test has failed; the deadline of its runs is shorter and tells more."""


@dataclass(frozen=True)
class Outcome:
    """How one test ended: passed, failed, skipped or xfailed (expected to fail by Dask itself)."""

    test: str
    outcome: str
    seconds: float
    runs: int
    why: str = ""


def files(suites: Iterable[str]) -> list[Path]:
    found = [sorted(PACKAGES.glob(one)) for suite in suites for one in SUITES[suite]]
    # Tests for GPUs: they need another array library as a whole.
    return [path for paths in found for path in paths if "_cupy_" not in path.name]


def run(
    targets: Sequence[str], arguments: Sequence[str] = (), *, plain: bool = False
) -> Iterator[Outcome]:
    """Run tests of the installed Dask in one process of pytest.

    Parameters
    ----------
    targets
        Files or ids of tests, as paths within the folder that Dask is installed in.
    arguments
        For pytest.
    plain
        Without Wukong.
    """
    command = [sys.executable, "-m", "pytest", "-p", "tests.peer.plugin", "-p", "no:cacheprovider"]
    command += ["-c", str(HERE / "dask.ini"), "--rootdir", str(PACKAGES), "-q", "--tb=short"]
    command += ["--timeout", str(TEST_SECONDS), "--timeout-method", "signal", "-W", "ignore"]
    with tempfile.TemporaryDirectory() as folder:
        report, log = Path(folder) / "report", Path(folder) / "log"
        settings = {"WUKONG_PEER_REPORT": str(report), "WUKONG_PEER_PLAIN": "1" if plain else ""}
        with log.open("wb") as output:
            status = subprocess.run(
                [*command, *arguments, *(str(PACKAGES / one) for one in targets)],
                cwd=HERE.parents[1],
                env={**os.environ, **settings},
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        lines = report.read_text().splitlines() if report.exists() else []
        yield from (Outcome(**json.loads(line)) for line in lines)
        # 0: all passed, 1: some failed, 5: there were none; all else is the end of pytest itself.
        if status not in (0, 1, 2, 5) or (status == 2 and not lines):
            tail = log.read_text(errors="replace")[-2000:]
            yield Outcome(targets[0], "failed", 0.0, 0, f"pytest ended with {status}:\n{tail}")
