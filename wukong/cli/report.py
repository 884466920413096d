"""`wukong report`: the page of a run, from the record that its client has kept."""

from __future__ import annotations

import webbrowser
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from wukong import history
from wukong.cli.output import Output
from wukong.errors import WukongError


class ReportError(WukongError):
    """A report that cannot be made or written."""


def report(out: Output, run: str, file: Path | None, *, is_shown: bool) -> None:
    """Write the page, and open it in the browser if asked."""
    record = history.load(run)
    if find_spec("wukong.report") is None:
        raise ReportError("this release of Wukong draws no reports", "Install a newer one.")
    page: str = import_module("wukong.report").html(record)
    file = file or Path(f"{record.summary.run}.html")
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{file}: {error.strerror}", "Name another file with --out.") from error
    out.say(f"The report of run {record.summary.run} is in {file}.")
    if is_shown:
        webbrowser.open(file.resolve().as_uri())
    out.give({"run": record.summary.run, "file": str(file), "bytes": file.stat().st_size})
