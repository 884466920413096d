"""A folder in shared memory that goes with its owner: by `remove`, or swept after its death.

What is in it counts as memory of the machine, so nothing of a process that was killed may stay. The
owner holds a lock on the folder, which the system gives up with the process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Self

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - each folder made in it is its user's alone
_PREFIX = "wukong-"


class SharedFolder:
    """A folder that only this user may enter; `path` is where it is."""

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700)
        self.path = path
        self._lock = os.open(path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    @classmethod
    def make(cls, name: str) -> Self | None:
        """Make a folder, after sweeping those without an owner; None if there is no such memory.

        Parameters
        ----------
        name
            Begins with `wukong-`, and is new.
        """
        if not os.access(SHARED_MEMORY, os.W_OK):
            return None
        for other in SHARED_MEMORY.glob(_PREFIX + "*"):
            _sweep(other)
        try:
            return cls(SHARED_MEMORY / name)
        except OSError:
            return None

    def remove(self) -> None:
        """Delete it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _sweep(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        # Somebody else's, or gone.
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        # Its owner lives.
        pass
    finally:
        os.close(handle)
