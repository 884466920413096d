"""The folder of runs: what is kept of the newest ones, a file each, named by the run's id.

It is `runs` in the folder that WUKONG_HOME names, or in `~/.wukong`. Nothing here fails a run: a
folder that cannot be written is a warning.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from wukong.errors import WukongError
from wukong.record import RecordError, RunRecord, Summary, summary_length, summary_of

KEPT = 200
"""How many runs are kept."""

SUFFIX = ".run"

SHOWN = 3


class HistoryError(WukongError):
    """A run that is not in the history; names those that are near."""


def folder() -> Path:
    """Give the folder of runs; it need not be there."""
    home = os.environ.get("WUKONG_HOME")
    return (Path(home) if home else Path.home() / ".wukong") / "runs"


def save(record: RunRecord, most: int = KEPT) -> Path | None:
    """Keep a record, and delete the oldest ones beyond `most`.

    Returns
    -------
    Its file; None, with a warning, if it could not be written.
    """
    try:
        where = folder()
        where.mkdir(parents=True, exist_ok=True)
        file = where / f"{record.summary.run}{SUFFIX}"
        _write(file, record.to_bytes())
        prune(most)
    except (OSError, RuntimeError) as error:
        warnings.warn(f"what run {record.summary.run} did is not kept: {error}", stacklevel=2)
        return None
    return file


def load(run: str) -> RunRecord:
    """Read the record of a run; of its id, so many characters as only it begins with are enough.

    Raises
    ------
    HistoryError
        If there is none, or several begin so.
    RecordError
        If its file cannot be read.
    """
    file = _find(run)
    try:
        return RunRecord.from_bytes(file.read_bytes())
    except RecordError as error:
        raise RecordError(f"{file}: {error.message}", error.hint) from error
    except OSError as error:
        raise RecordError(f"{file} cannot be read: {error.strerror}", "Check the file.") from error


def summaries() -> Iterator[Summary]:
    """Give the summaries of the runs that are kept, newest first; without files of other forms."""
    for file in _files():
        # Another process may be deleting it, or have written it in another release.
        with contextlib.suppress(OSError, RecordError):
            yield _summary(file)


def prune(most: int = KEPT) -> None:
    """Delete the oldest records beyond `most`."""
    for file in _files()[most:]:
        file.unlink(missing_ok=True)


def _write(file: Path, data: bytes) -> None:
    """Write all of a file or nothing: others may read it at any time."""
    descriptor, name = tempfile.mkstemp(prefix=".", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        os.replace(name, file)
    finally:
        # By then it has gone to its place, unless something failed.
        Path(name).unlink(missing_ok=True)


def _files() -> list[Path]:
    """Give the files, newest first."""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(folder()) as entries:
        for entry in entries:
            # Another process may be deleting it.
            with contextlib.suppress(FileNotFoundError):
                if entry.name.endswith(SUFFIX):
                    found.append((entry.stat().st_mtime_ns, entry.path))
    return [Path(path) for _, path in sorted(found, reverse=True)]


def _summary(file: Path) -> Summary:
    with file.open("rb") as stream:
        start = stream.read(4)
        if len(start) < 4:
            raise RecordError(f"{file} is empty", "Delete the file.")
        return summary_of(start + stream.read(summary_length(start) - len(start)))


def _find(run: str) -> Path:
    known = {file.stem: file for file in _files()}
    matches = [name for name in known if run and name.startswith(run)]
    if len(matches) == 1 or run in known:
        return known[run if run in known else matches[0]]
    near = matches or get_close_matches(run, known, SHOWN) or list(known)
    hint = f"Kept are, among others, {', '.join(near[:SHOWN])}." if near else "No run is kept."
    what = f"{len(matches)} runs begin with {run!r}" if matches else f"no run {run!r} is kept"
    raise HistoryError(f"{what} in {folder()}", f"{hint} `wukong runs` lists them.")
