"""What a client is told of a task that failed: the exception, its traceback, and what was given."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterable

from wukong.storage.serialisation import Failure, dumps


def failure_of(
    task: str, what: str, error: BaseException | None = None, inputs: Iterable[object] = ()
) -> Failure:
    """Describe a failure.

    Parameters
    ----------
    task
        The task's key, or what was done besides a task, in brackets.
    what
        What went wrong, where the exception alone does not say.
    inputs
        Keys of the values that the task was given.
    """
    message = what if error is None else f"{type(error).__name__}: {error}"
    if error is not None and what:
        message = f"{what}: {message}"
    return Failure(task, message, _text(error), _pickled(error), tuple(sorted(map(str, inputs))))


def _text(error: BaseException | None) -> str:
    return "" if error is None else "".join(traceback.format_exception(error))


def _pickled(error: BaseException | None) -> bytes | None:
    if error is None:
        return None
    try:
        data = dumps(error)
        pickle.loads(data)  # noqa: S301 - our own bytes: some exceptions pickle but do not unpickle
    except Exception:  # noqa: BLE001 - the exception's class decides; its text travels anyway
        return None
    return data
