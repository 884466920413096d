"""`wukong runs`: those that the store has still, and those that have ended, from the history."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Any

from wukong import history
from wukong.cli.output import Output
from wukong.cli.where import store_of
from wukong.config import load_config
from wukong.record import Summary
from wukong.storage import RunState

COLUMNS = ("run", "state", "what", "started", "seconds", "where", "tasks", "executors")

SHORT = 12
"""So many characters of an id are enough for people."""


def runs(out: Output, count: int, config: Path | None) -> None:
    """List runs, those that are going on first."""
    going_on = _in_the_store(config)
    ended = [_told(one) for one in islice(history.summaries(), count)]
    known = {one["run"] for one in ended}
    told = [one for one in going_on if one["run"] not in known] + ended
    told = told[:count]
    rows = [
        (
            one["run"][:SHORT],
            one["state"],
            one["title"],
            one["started"],
            "" if one["seconds"] is None else f"{one['seconds']:.1f}",
            one["platform"],
            one["tasks"],
            one["executors"],
        )
        for one in told
    ]
    if rows:
        out.table("", COLUMNS, rows)
    else:
        out.say(f"No run is kept in {history.folder()}, and none is going on.")
    out.give({"runs": told})


def _in_the_store(config: Path | None) -> list[dict[str, Any]]:
    """Give the runs that are going on, as far as the store says."""
    store = store_of(load_config(config))
    if store is None:
        return []
    try:
        states = {run: store.status(run).state for run in store.runs()}
    finally:
        store.close()
    return [_told(_begun(run)) for run, state in states.items() if state is RunState.RUNNING]


def _begun(run: str) -> Summary:
    """Give the summary of a run that has not ended: only its id is known."""
    return Summary(run, outcome="running")


def _told(one: Summary) -> dict[str, Any]:
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.started))
    return {
        "run": one.run,
        "state": one.outcome,
        "title": one.title,
        "started": started if one.started else None,
        "seconds": round(one.seconds, 3) if one.ended else None,
        "platform": one.platform or None,
        "tasks": one.tasks or None,
        "executors": one.executors or None,
        "error": one.error or None,
    }
