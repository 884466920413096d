"""Frees a worker process from work that nobody wants any more, while a task keeps it busy.

A thread looks once a second: when the client has gone the process ends; when the run of its
Executor has ended (a Ctrl-C, an error elsewhere) the process begins anew, as the same process with
nothing of that task left. It cannot meet work of another run: the worker waits for the look before
it lets go of an Executor.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from wukong.errors import WukongError

LOOK_SECONDS = 1.0

LOOKS = 2
"""So many in a row have to find a run over: most Executors see it themselves, and end well."""


class Watchdog:
    """Looks after one worker process.

    Parameters
    ----------
    parent
        Id of the process that this one works for.
    has_ended
        Tells whether a run has ended.
    """

    def __init__(self, parent: int, has_ended: Callable[[str], bool]) -> None:
        self._parent = parent
        self._has_ended = has_ended
        # As they are now: a task may change its environment.
        self._environment = dict(os.environ)
        self._lock = threading.Lock()
        self._run = ""
        self._ended = 0
        self._thread = threading.Thread(target=self._live, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    @contextmanager
    def busy(self, run: str) -> Iterator[None]:
        """Say which run the process works for meanwhile."""
        self._begin(run)
        try:
            yield
        finally:
            self._begin("")

    def _begin(self, run: str) -> None:
        with self._lock:
            self._run, self._ended = run, 0

    def _live(self) -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_SECONDS):
            if os.getppid() != self._parent:
                os._exit(0)
            with self._lock:
                if self._is_in_vain():
                    self._begin_anew()

    def _is_in_vain(self) -> bool:
        """Look once, while the worker cannot go on to another run."""
        if not self._run:
            return False
        has_ended = False
        # A store that cannot be reached is met by others.
        with suppress(WukongError):
            has_ended = self._has_ended(self._run)
        self._ended = self._ended + 1 if has_ended else 0
        return self._ended >= LOOKS

    def _begin_anew(self) -> None:
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(command[0], command, self._environment)  # noqa: S606 - ourselves, without a shell
