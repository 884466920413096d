"""The errors with which a run ends, and how what a task raised in an Executor is raised here."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from wukong.storage.serialisation import Failure, loads
from wukong.submission import RunError

SHOWN = 5
"""How many keys an error names."""

LINE = 500
"""So many characters of an error's text are kept."""


class TaskError(RunError):
    """A task raised an exception that cannot be brought back; its text is in the message."""


class RunCancelledError(RunError):
    """The run was cancelled, or its deadline has passed."""


class RemoteTraceback(Exception):  # noqa: N818 - it is a text to chain to an error, no error itself
    """The traceback of an Executor, shown as the cause of the error that it raised."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


def outcome_of(error: BaseException | None) -> str:
    """Say in a word how a run has ended, as in the record's `Summary`."""
    if error is None:
        return "done"
    is_failure = isinstance(error, Exception) and not isinstance(error, RunCancelledError)
    return "failed" if is_failure else "cancelled"


def line_of(error: BaseException | None) -> str:
    """Say in a line what ended a run; also of an error whose text cannot be had."""
    if error is None:
        return ""
    text = ""
    with suppress(Exception):
        text = str(error)
    first, *_ = text.splitlines() or [""]
    return f"{type(error).__name__}: {first}"[:LINE]


def raise_failure(run: str, failure: Failure) -> None:
    """Raise what a task raised, as it would have been raised here, with what happened there."""
    error: BaseException | None = None
    if failure.exception is not None:
        # The exception's class may be known to the Executor only; its text has come in any case.
        with suppress(Exception):
            error = loads(failure.exception)
    if not isinstance(error, Exception):
        error = TaskError(
            f"task {failure.task!r} failed: {failure.message}",
            f"Remote traceback:\n{failure.traceback}" if failure.traceback else "",
        )
    # The exception's class may take no notes.
    with suppress(Exception):
        error.add_note(f"Wukong: task {failure.task!r} of run {run} failed in an Executor")
        if failure.inputs:
            error.add_note(f"It was given the values of {_listed(failure.inputs)}")
    if failure.traceback:
        raise error from RemoteTraceback(failure.traceback)
    raise error


def _listed(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more
