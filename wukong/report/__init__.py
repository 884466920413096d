"""The report of a run: one HTML page that needs nothing else, and the same in words.

    RunRecord ─> view (what to show, as numbers) ─> page (HTML with its data, script and style)
             └─> explain (text)

The page draws on canvases of its own: docs/report.md says why, with figures.
"""

from __future__ import annotations

from pathlib import Path

from wukong.cost import Cost
from wukong.record import RunRecord
from wukong.report.explain import explain
from wukong.report.page import html

__all__ = ["explain", "html", "write"]


def write(record: RunRecord, path: str | Path | None = None, cost: Cost | None = None) -> Path:
    """Write the page of a run, and give its path.

    Parameters
    ----------
    path
        Where to; `wukong-<run>.html` in the current folder by default.
    cost
        What the run has cost, if that is to be shown.
    """
    file = Path(path or f"wukong-{record.summary.run[:8]}.html")
    file.write_text(html(record, cost), encoding="utf-8")
    return file
