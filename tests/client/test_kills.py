"""Worker processes killed at random in real computations; benchmarks/kills.py does it longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KILLS = Path(__file__).parents[2] / "benchmarks" / "kills.py"


def test_results_are_right_though_workers_are_killed_at_random() -> None:
    done = subprocess.run([sys.executable, KILLS, "3"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
