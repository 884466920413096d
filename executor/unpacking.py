"""An overflow bundle on the disk: unpacked once for an environment, whole or not at all.

    parts ──read in ranges──> digest compared ──> unpacked beside ──all there──> renamed: ready

Environments that share a disk (processes of one machine) share what is unpacked: the first has the
lock, the others wait for it. The folder is named by the bundle's digest.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from executor.fetching import CONNECTIONS, Reader
from wukong.platform.overflow import BundleError, OverflowBundle, Part

PARTS_AT_ONCE = 4
"""So many are read and unpacked side by side; more would only take more memory."""


def unpack(
    bundle: OverflowBundle,
    reader: Callable[[], Reader],
    base: Path,
    initializer: Callable[[], None] = lambda: None,
) -> tuple[Path, bool]:
    """Have a bundle unpacked below a folder.

    Parameters
    ----------
    reader
        Gives what reads its parts; not asked if it is unpacked already.
    base
        A folder of this user alone; see `private`.
    initializer
        Called first in each thread that takes part.

    Returns
    -------
    The folder to import from, and whether it was unpacked just now.

    Raises
    ------
    BundleError
        If a part is not there, is damaged or may not be read, or if there is no room.
    """
    ready = base / bundle.digest
    if ready.is_dir():
        return ready, False
    with _lock(base / f"{bundle.digest}.lock"):
        if ready.is_dir():
            return ready, False
        _clear(base, bundle)
        _require_room(base, bundle)
        scratch = Path(tempfile.mkdtemp(dir=base, prefix=f"{bundle.digest}."))
        try:
            _unpack_all(bundle, reader(), scratch, initializer)
            scratch.rename(ready)
        except BaseException as error:
            # Whatever it is, half a bundle may not stay; and it may be what fills the disk.
            shutil.rmtree(scratch, ignore_errors=True)
            if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise _no_room(bundle, shutil.disk_usage(base).free) from error
            raise
    return ready, True


def private(base: Path) -> Path:
    """Make a folder that is this user's alone: whoever writes there decides what is imported.

    Raises
    ------
    BundleError
        If it is there already and somebody else may write to it.
    """
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = base.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise BundleError(
            f"{base} is not a folder of this user alone, so nothing is imported from it",
            "Delete it, or set TMPDIR to another place.",
        )
    return base


def _clear(base: Path, bundle: OverflowBundle) -> None:
    """Remove what a process has left that was ended while it unpacked."""
    for left in base.glob(f"{bundle.digest}.*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)


def _require_room(base: Path, bundle: OverflowBundle) -> None:
    free = shutil.disk_usage(base).free
    if free < bundle.unpacked:
        raise _no_room(bundle, free)


def _no_room(bundle: OverflowBundle, free: int) -> BundleError:
    return BundleError(
        f"bundle {bundle.name} needs {bundle.unpacked >> 20:,} MB of /tmp, "
        f"and {free >> 20:,} MB are free",
        "Give the Executor more ephemeral storage: the package's manifest asks for enough unless "
        "a deployment by hand has said otherwise (docs/bundles.md). On this machine, free disk "
        "space or set TMPDIR.",
    )


def _unpack_all(
    bundle: OverflowBundle, reader: Reader, folder: Path, initializer: Callable[[], None]
) -> None:
    """Unpack parts, the largest first, while others are read."""
    parts = sorted(bundle.parts, key=lambda part: part.size, reverse=True)
    with (
        ThreadPoolExecutor(CONNECTIONS, "wukong-fetch", initializer) as fetching,
        ThreadPoolExecutor(PARTS_AT_ONCE, "wukong-unpack", initializer) as unpacking,
    ):

        def one(part: Part) -> None:
            ranges = [fetching.submit(reader.read, part, *span) for span in reader.ranges(part)]
            data = b"".join(span.result() for span in ranges)
            _extract(reader.check(part, data), folder)

        try:
            for done in [unpacking.submit(one, part) for part in parts]:
                done.result()
        finally:
            # The first error counts, and so does Ctrl-C: what has not begun need not any more.
            unpacking.shutdown(wait=False, cancel_futures=True)
            fetching.shutdown(wait=False, cancel_futures=True)


def _extract(data: bytes, folder: Path) -> None:
    """Unpack the zip of a part; `ZipFile` keeps names inside the folder, and checks each file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = (PurePosixPath(name) for name in archive.namelist())
        for parent in {name.parent for name in names if not name.is_absolute()}:
            # Before 3.13, `ZipFile` fails if another part makes the same folder at this moment.
            if ".." not in parent.parts:
                (folder / parent).mkdir(parents=True, exist_ok=True)
        archive.extractall(folder)


@contextmanager
def _lock(file: Path) -> Iterator[None]:
    """Hold a lock that the system takes back if this process ends."""
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
