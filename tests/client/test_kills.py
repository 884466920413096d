"""Worker processes killed at random in real computations; benchmarks/kills.py does it longer."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

KILLS = Path(__file__).parents[2] / "benchmarks" / "kills.py"


def test_results_are_right_though_workers_are_killed_at_random() -> None:
    done = subprocess.run([sys.executable, KILLS, "3"], capture_output=True, text=True, check=False)
    # How long runs may take, of which its status tells too, is of no concern beside other tests.
    told = re.search(r"^kills: (\d+); wrong results: (\d+);", done.stdout, re.MULTILINE)
    assert told is not None, done.stdout + done.stderr
    kills, wrong = map(int, told.groups())
    assert kills > 0, done.stdout
    assert wrong == 0, done.stdout
