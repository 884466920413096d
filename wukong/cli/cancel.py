"""`wukong cancel`: one write to the store, which every Executor of the run meets."""

from __future__ import annotations

from pathlib import Path

from wukong.cli.output import Output
from wukong.cli.where import full_id, store_of
from wukong.config import load_config
from wukong.errors import WukongError
from wukong.storage import RunState


class CancelError(WukongError):
    """A run that cannot be cancelled from here."""


def cancel(out: Output, run: str, config: Path | None) -> None:
    """Cancel a run; raises `CancelError` if it has ended, or its store is its client's own."""
    store = store_of(load_config(config))
    if store is None:
        raise CancelError(
            "no store.url is configured, nor a stack: runs of this machine are in a store that "
            "their own client has started",
            "Press Ctrl-C where the script runs, or name the store: store.url in "
            "wukong-config.yaml, or WUKONG_STORE_URL.",
        )
    try:
        whole = full_id(run, store.runs(), "the store")
        if not store.stop(whole, RunState.CANCELLED):
            raise CancelError(f"run {whole} has ended already", "There is nothing to cancel.")
    finally:
        store.close()
    out.say(f"Run {whole} is cancelled; its Executors stop with their next step.")
    out.give({"run": whole, "state": "cancelled"})
