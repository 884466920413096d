"""The process behind `wukong local up`: keeps the embedded AWS until it is told to end.

It writes a state file that only its user can read; `wukong local down` reads the process id there
and asks it to end, which it does in order, leaving no process and no file behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wukong.stack.embedded import EmbeddedAws, EmbeddedAwsError

START_SECONDS = 120.0
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Running:
    """An embedded AWS that is up: its process, and the variables that lead to it."""

    pid: int
    environment: dict[str, str]
    log: str


def state_file() -> Path:
    """Name the state file: one embedded AWS for each user."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "wukong" / "local.json"


def running() -> Running | None:
    """Give the embedded AWS that is up, if one is; forgets one that has died."""
    file = state_file()
    try:
        data: Any = json.loads(file.read_text())
        state = Running(int(data["pid"]), dict(data["environment"]), str(data["log"]))
    except (FileNotFoundError, KeyError, ValueError, TypeError):
        return None
    if _alive(state.pid):
        return state
    file.unlink(missing_ok=True)
    return None


def up() -> Running:
    """Start the embedded AWS in a process of its own, unless it is up already.

    Raises
    ------
    EmbeddedAwsError
        If it does not start, with what it printed.
    """
    found = running()
    if found is not None:
        return found
    state_file().parent.mkdir(parents=True, exist_ok=True)
    complaint = state_file().with_suffix(".log")
    with complaint.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "wukong.stack.supervisor"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        found = running()
        if found is not None:
            return found
        time.sleep(0.05)
    process.terminate()
    raise EmbeddedAwsError(
        f"the embedded AWS did not start: {complaint.read_text(errors='replace')[-2000:]}",
        "Free some memory or disk, or see whether another one is running (`wukong local down`).",
    )


def down() -> bool:
    """End the embedded AWS; False if none was up.

    Raises
    ------
    EmbeddedAwsError
        If it does not end in time.
    """
    found = running()
    if found is None:
        return False
    os.kill(found.pid, signal.SIGTERM)
    until = time.monotonic() + STOP_SECONDS
    while time.monotonic() < until:
        if not _alive(found.pid):
            return True
        time.sleep(0.05)
    raise EmbeddedAwsError(
        f"process {found.pid} has not ended within {STOP_SECONDS:g} s", f"End it: kill {found.pid}."
    )


def serve() -> int:
    """Keep the embedded AWS until SIGTERM or Ctrl-C; gives the exit status."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    file = state_file()
    with EmbeddedAws() as aws:
        state = {"pid": os.getpid(), "environment": aws.environment, "log": str(aws.log)}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps(state))
        over.wait()
    file.unlink(missing_ok=True)
    return 0


def _alive(pid: int) -> bool:
    try:
        # A child of ours that has ended stays until it is waited for.
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            return False
    except ChildProcessError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(serve())
