"""Puts the page together: its frame, style and script, and the data, compressed, in the middle."""

from __future__ import annotations

import base64
import json
import zlib
from html import escape
from importlib.resources import files

from wukong.cost import Cost
from wukong.record import RunRecord
from wukong.report.view import view_of

LEVEL = 6


def html(record: RunRecord, cost: Cost | None = None) -> str:
    """Give the page of a run: it refers to nothing outside of itself."""
    parts = files("wukong.report")
    data = json.dumps(view_of(record, cost), separators=(",", ":")).encode()
    packed = base64.b64encode(zlib.compress(data, LEVEL)).decode("ascii")
    page = parts.joinpath("page.html").read_text(encoding="utf-8")
    title = f"{record.summary.title or 'run'} · {record.summary.run[:8]}"
    for mark, text in (
        ("{{title}}", escape(title)),
        ("{{style}}", parts.joinpath("page.css").read_text(encoding="utf-8")),
        ("{{script}}", parts.joinpath("page.js").read_text(encoding="utf-8")),
        ("{{data}}", packed),
    ):
        page = page.replace(mark, text, 1)
    return page
