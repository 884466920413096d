"""Values to bytes and back, for everything that goes through storage.

Task outputs are pickled by cloudpickle with protocol 5, so that functions and classes of the user's
own script travel by value. Storage is trusted as far as whoever can write to it can already run
code in the run: it must be reachable by the client and the functions only.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import cloudpickle

PICKLE_PROTOCOL = 5


def dumps(value: object) -> bytes:
    """Serialise a value; raises what pickling it raises."""
    return bytes(cloudpickle.dumps(value, protocol=PICKLE_PROTOCOL))


def loads(data: bytes) -> Any:
    """Read a value that `dumps` wrote."""
    return pickle.loads(data)  # noqa: S301 - see the module's docstring for what is trusted


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed, as the Executor that saw it tells the client.

    Attributes
    ----------
    task
        Key of the task that raised, or a few words for what failed outside any task.
    message
        One line: type and text of the exception.
    traceback
        The remote traceback, formatted.
    exception
        The pickled exception; None if it cannot be pickled.
    inputs
        Keys of the tasks whose values it had been given.
    """

    task: str
    message: str
    traceback: str
    exception: bytes | None = None
    inputs: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Serialise for `Storage.stop`."""
        parts = self.task, self.message, self.traceback, self.exception, self.inputs
        return pickle.dumps(parts, protocol=5)

    @classmethod
    def from_bytes(cls, data: bytes) -> Failure:
        """Read what `to_bytes` wrote."""
        return cls(*loads(data))
