"""What a client is told of a task that failed: the exception, its traceback, and what was given."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from wukong.storage import RunState, Storage
from wukong.storage.serialisation import Failure, dumps
from wukong.storage.signing import SignatureError


@contextmanager
def refusing(storage: Storage, run: str) -> Iterator[dict[str, Any]]:
    """End the run if storage gives something with a signature that does not fit.

    Gives a mapping that then says so.
    """
    told: dict[str, Any] = {}
    try:
        yield told
    except SignatureError as error:
        failure = failure_of("(signature)", "", error)
        storage.stop(run, RunState.FAILED, failure.to_bytes())
        told |= {"wukong": "refused", "run": run, "why": error.message}


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
