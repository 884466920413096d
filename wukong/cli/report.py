"""`wukong report`: the page of a run, from the record that its client has kept."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from wukong import history
from wukong.cli.output import Output
from wukong.errors import WukongError


class ReportError(WukongError):
    """A report that cannot be made or written."""


def report(out: Output, run: str, file: Path | None, *, is_shown: bool) -> None:
    """Write the page, and open it in the browser if asked."""
    from wukong.report import write

    record = history.load(run)
    try:
        file = write(record, file)
    except OSError as error:
        raise ReportError(
            f"{error.filename}: {error.strerror}", "Name another file with --out."
        ) from error
    out.say(f"The report of run {record.summary.run} is in {file}.")
    if is_shown:
        webbrowser.open(file.resolve().as_uri())
    out.give({"run": record.summary.run, "file": str(file), "bytes": file.stat().st_size})
