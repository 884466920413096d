"""Puts the page together: its frame, style and script, and the data, compressed, in the middle."""

from __future__ import annotations

import base64
import json
import re
import zlib
from html import escape
from importlib.resources import files

from wukong.cost import Cost
from wukong.record import RunRecord
from wukong.report.view import view_of

LEVEL = 6


def html(record: RunRecord, cost: Cost | None = None) -> str:
    """Give the page of a run: it refers to nothing outside of itself."""
    data = json.dumps(view_of(record, cost), separators=(",", ":")).encode()
    texts = {
        "title": escape(f"{record.summary.title or 'run'} · {record.summary.run[:8]}"),
        "style": _part("page.css"),
        "script": _part("page.js"),
        "data": base64.b64encode(zlib.compress(data, LEVEL)).decode("ascii"),
    }
    # In one pass: a title may contain what looks like a mark.
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: texts[mark[1]], _part("page.html"))


def _part(name: str) -> str:
    return files("wukong.report").joinpath(name).read_text(encoding="utf-8")
