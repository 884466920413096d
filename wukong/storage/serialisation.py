"""Values to bytes and back, for everything that goes through storage.

Task outputs are pickled by cloudpickle with protocol 5, so that functions and classes of the user's
own script travel by value. Large buffers, such as the memory of arrays, are not copied into the
pickle but follow it (https://peps.python.org/pep-0574/); `Frames` writes them so:

    'W'  number of buffers  size of the pickle  (2 * size + read-only) of each  pickle  buffers...

where each number has 8 bytes, and the pickle and the buffers begin at multiples of 16. 'Z' is
followed by any of this, compressed by zlib.

To read is to run code: where others than clients and functions may write to the store, what is read
must be signed (`signing`, docs/security.md).
"""

from __future__ import annotations

import mmap
import pickle
import struct
import traceback
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import cloudpickle

PICKLE_PROTOCOL = 5

OUT_OF_BAND_BYTES = 65_536
"""A buffer from this size on is not copied into the pickle."""

_MAGIC, _COMPRESSED = b"W", b"Z"
"""No pickle of protocol 5 begins with them."""

_ALIGNMENT = 16
"""As what malloc gives: arrays on it are as fast as others."""


class Frames:
    """A serialised value in pieces: `len` is its size, and `bytes` copies it into one.

    The pieces are the memory of the value itself: what changes it changes them.
    """

    def __init__(self, pickled: bytes, buffers: Sequence[pickle.PickleBuffer]) -> None:
        views = [buffer.raw() for buffer in buffers]
        sizes = [2 * view.nbytes + view.readonly for view in views]
        header = _MAGIC + struct.pack(f"<{2 + len(sizes)}Q", len(sizes), len(pickled), *sizes)
        parts: list[bytes | memoryview] = [header, pickled, *views]
        self.pieces: list[bytes | memoryview] = []
        for piece in parts:
            self.pieces += [piece, bytes(-len(piece) % _ALIGNMENT)]
        self._size = sum(map(len, self.pieces))

    @classmethod
    def of(cls, pieces: Sequence[bytes | memoryview]) -> Frames:
        """Give pieces that are serialised already, as one value."""
        frames = cls.__new__(cls)
        frames.pieces = list(pieces)
        frames._size = sum(map(len, frames.pieces))
        return frames

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)


Packed = bytes | Frames
"""A serialised value, as it is handed to storage."""

Data = bytes | bytearray | mmap.mmap
"""A serialised value, as storage gives it back."""


def pieces_of(packed: Packed) -> Sequence[bytes | memoryview]:
    """Give the pieces of a serialised value."""
    return packed.pieces if isinstance(packed, Frames) else [packed]


def cut(packed: Packed, size: int) -> Iterator[list[bytes | memoryview]]:
    """Cut a serialised value into chunks of so many bytes, each in pieces, without copying them."""
    chunk: list[bytes | memoryview] = []
    room = size
    for piece in pieces_of(packed):
        rest = memoryview(piece).cast("B")
        while rest.nbytes:
            taken = rest[:room]
            chunk.append(taken)
            rest, room = rest[taken.nbytes :], room - taken.nbytes
            if not room:
                yield chunk
                chunk, room = [], size
    if chunk:
        yield chunk


def compressed(packed: Packed, level: int) -> bytes:
    """Compress a serialised value; `loads` reads it all the same."""
    squeezer = zlib.compressobj(level)
    parts = [squeezer.compress(piece) for piece in pieces_of(packed)]
    return b"".join([_COMPRESSED, *parts, squeezer.flush()])


def dumps(value: object) -> bytes:
    """Serialise a value; raises what pickling it raises."""
    return bytes(cloudpickle.dumps(value, protocol=PICKLE_PROTOCOL))


def pack(value: object) -> Packed:
    """Serialise a value without copying its large buffers; raises what pickling it raises."""
    buffers: list[pickle.PickleBuffer] = []

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        if memoryview(buffer).nbytes < OUT_OF_BAND_BYTES:
            return True
        buffers.append(buffer)
        return False

    pickled = cloudpickle.dumps(value, protocol=PICKLE_PROTOCOL, buffer_callback=is_small)
    return Frames(pickled, buffers) if buffers else bytes(pickled)


def loads(data: Data) -> Any:
    """Read a value that `dumps` or `pack` wrote; it may use the memory of what is not bytes."""
    if data[:1] == _COMPRESSED:
        return loads(bytearray(zlib.decompress(memoryview(data)[1:])))
    if data[:1] != _MAGIC:
        return pickle.loads(data)  # noqa: S301 - see the module's docstring for what is trusted
    # What was writable before is writable again.
    frames = _frames(bytearray(data) if isinstance(data, bytes) else data)
    return pickle.loads(next(frames), buffers=frames)  # noqa: S301 - as above


def _frames(data: bytearray | mmap.mmap) -> Iterator[memoryview]:
    """Give the pickle, then each buffer."""
    count, pickled = struct.unpack_from("<2Q", data, 1)
    sizes = struct.unpack_from(f"<{count}Q", data, 17)
    place = _aligned(17 + 8 * count)
    view = memoryview(data)
    yield view[place : place + pickled]
    place += _aligned(pickled)
    for coded in sizes:
        size, is_readonly = divmod(coded, 2)
        one = view[place : place + size]
        yield one.toreadonly() if is_readonly else one
        place += _aligned(size)


def _aligned(size: int) -> int:
    return size + -size % _ALIGNMENT


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

    @classmethod
    def of(
        cls,
        task: str,
        what: str = "",
        error: BaseException | None = None,
        inputs: Iterable[object] = (),
    ) -> Self:
        """Describe what went wrong, whatever the exception's class does when it is asked.

        Parameters
        ----------
        task
            The task's key, or what was done besides a task, in brackets.
        what
            What went wrong, where the exception alone does not say.
        inputs
            Keys of the values that the task was given.
        """
        given = tuple(sorted(map(str, inputs)))
        if error is None:
            return cls(task, what, "", None, given)
        message = f"{what}: {text_of(error)}" if what else text_of(error)
        # Python's own formatting bears exceptions that cannot be shown.
        text = "".join(traceback.format_exception(error))
        return cls(task, message, text, _pickled(error), given)

    def to_bytes(self) -> bytes:
        """Serialise for `Storage.stop`."""
        parts = self.task, self.message, self.traceback, self.exception, self.inputs
        return pickle.dumps(parts, protocol=5)

    @classmethod
    def from_bytes(cls, data: bytes) -> Failure:
        """Read what `to_bytes` wrote."""
        return cls(*loads(data))


def text_of(error: BaseException) -> str:
    """Give the type and the text of an exception, of which the user's own may have none."""
    kind = type(error).__name__
    try:
        return f"{kind}: {error}"
    except BaseException as failed:  # noqa: BLE001 - the exception's class decides
        return f"{kind} (its text cannot be had: {type(failed).__name__})"


def _pickled(error: BaseException) -> bytes | None:
    try:
        data = dumps(error)
        pickle.loads(data)  # noqa: S301 - our own bytes: some exceptions pickle but do not unpickle
    except BaseException:  # noqa: BLE001 - the exception's class decides; its text travels anyway
        return None
    return data
