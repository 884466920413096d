"""Large outputs as files in shared memory, where a store and all who use it are on one machine.

Through the server each output is copied four times, and one thread of one process does half of it;
a file is written once by who made it, and mapped by who reads it. Only the embedded server has a
folder for them, beside its socket (`wukong/stack/valkey.py`), and one is used only if nobody but
this user may enter: who writes there decides what is unpickled. What is official, and when an
output may go, the server alone decides: it has the state, and what has no file is looked up there.
"""

from __future__ import annotations

import itertools
import mmap
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from wukong.storage.serialisation import Packed, pieces_of
from wukong.storage.terms import (
    DataRef,
)

FOLDER = "wukong-values"
"""The folder's name, beside the socket."""

MAPPED_BYTES = 256 * 1024
"""From this size on a file is quicker than the server; docs/performance.md has the figures."""

FORGOTTEN_SECONDS = 3600.0
"""So long a run that the server does not know is left alone: it may be being created."""

_RUN = re.compile(r"[0-9a-f]{32}")
_numbers = itertools.count()


class MappedValues:
    """The files of one store: a folder for each run, in it one for each large output."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def beside(cls, url: str) -> MappedValues | None:
        """Give the files that belong to a server, if it has a folder for them."""
        parts = urlsplit(url)
        folder = Path(parts.path).parent / FOLDER
        return cls(folder) if parts.scheme == "unix" and _is_private(folder) else None

    def put(self, run: str, ref: DataRef, value: Packed) -> bool:
        """Write an output; False if it is too small for that, or there is no room."""
        if len(value) < MAPPED_BYTES:
            return False
        folder = self._folder / run
        # Under another name until it is whole: a repeated arrival writes what somebody may read.
        part = folder / f"{os.getpid()}.{next(_numbers)}.part"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            with part.open("wb", buffering=0) as file:
                for piece in pieces_of(value):
                    _write(file.fileno(), memoryview(piece).cast("B"))
            part.replace(folder / _name(ref))
        except OSError:
            # Mostly that the shared memory is full, as a container's may be small.
            with suppress(OSError):
                part.unlink()
            return False
        return True

    def get(self, run: str, ref: DataRef) -> mmap.mmap | None:
        """Map an output; what is changed in it stays with who changed it. None without a file."""
        try:
            with (self._folder / run / _name(ref)).open("rb", buffering=0) as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError:
            return None

    def free(self, run: str, refs: Iterable[DataRef]) -> None:
        """Delete outputs; who has mapped one keeps it. No error if there is no file."""
        for ref in refs:
            with suppress(OSError):
                (self._folder / run / _name(ref)).unlink()

    def discard(self, run: str, ref: DataRef) -> None:
        """Delete an output that came too late; and the folder, which it may have made anew."""
        self.free(run, [ref])
        with suppress(OSError):
            (self._folder / run).rmdir()

    def drop(self, run: str) -> None:
        """Delete all outputs of a run."""
        shutil.rmtree(self._folder / run, ignore_errors=True)

    def forgotten(self) -> list[str]:
        """Give runs whose files are old: the server may not know them any more."""
        before = time.time() - FORGOTTEN_SECONDS
        with suppress(OSError):
            runs = [one for one in os.scandir(self._folder) if _RUN.fullmatch(one.name)]
            return [one.name for one in runs if one.stat().st_mtime < before]
        return []


def _is_private(folder: Path) -> bool:
    try:
        found = folder.stat()
    except OSError:
        return False
    is_ours = found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return is_ours and stat.S_ISDIR(found.st_mode)


def _name(ref: DataRef) -> str:
    return f"{ref.segment}.{ref.version}"


def _write(handle: int, view: memoryview) -> None:
    """Write all of it: one call of the system takes at most 2 GB."""
    while view.nbytes:
        view = view[os.write(handle, view) :]
