"""A signature that does not fit ends the run: what is not ours is not run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wukong.storage import RunState, Storage
from wukong.storage.serialisation import Failure
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
        failure = Failure.of("(signature)", "", error)
        storage.stop(run, RunState.FAILED, failure.to_bytes())
        told |= {"wukong": "refused", "run": run, "why": error.message}
