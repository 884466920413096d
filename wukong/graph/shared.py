"""What many tasks of a run have in common is stored once, and not in each of their specifications.

That is functions and classes of the user's own script, which travel by value; large objects, such
as the array or the model that is an argument of every task; and what Dask itself gives to all
blocks of an operation. A specification refers to them by number:

    -1, -2, ...   small: all of them are in blob 0, which an Executor reads once
    1, 2, ...     large: each is a blob of its own

The client writes (`Sharing`), Executors read (`Shared`). Blobs are data of the run as outputs are,
under references of their own (`shared_ref`).
"""

from __future__ import annotations

import io
import pickle
import sys
from abc import ABCMeta
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import EnumType
from functools import lru_cache, partial
from types import FunctionType
from typing import Any

import cloudpickle
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, _execute_subgraph

from wukong.graph.references import References, travels_by_value
from wukong.storage import DataRef, Storage, shared_ref
from wukong.storage.serialisation import PICKLE_PROTOCOL, Data, Packed, dumps, loads

LARGE_BYTES = 65_536
"""An object from this size on is taken out of specifications, as these pass through the script that
keeps the store from everybody else."""

CACHE_BYTES = 256 * 1024 * 1024
"""So much of the large objects an Executor keeps for its next segments."""

_TEXTS = frozenset({bytes, bytearray, str})
_SIZED = _TEXTS | {list, dict, set, frozenset}
_SHORT: dict[Any, int] = dict.fromkeys(_TEXTS, LARGE_BYTES // 4) | dict.fromkeys(
    _SIZED - _TEXTS, 512
)
"""What has fewer characters or items is not large; so most of a graph need not be looked at."""

_NEVER = frozenset(
    {*(int, float, complex, bool, tuple, slice, type(None)), *(Task, DataNode, Alias, TaskRef)}
)
_BY_VALUE = frozenset({FunctionType, type, ABCMeta, EnumType})
_COMPOSED = frozenset({"functools", "toolz", "cytoolz", "dask"})
"""Packages whose objects functions are composed with."""

Read = Callable[[Sequence[DataRef]], Sequence[Data | None]]


def common_parts(tasks: Iterable[GraphNode]) -> list[object]:
    """Give the parts that are one object in several tasks.

    Dask makes one function, or one graph of a fused operation, for all blocks.
    """
    seen: dict[int, object] = {}
    common: dict[int, object] = {}
    for task in tasks:
        if type(task) is not Task:
            continue
        part = task.args[0] if task.func is _execute_subgraph else task.func
        if type(part) is dict or type(part).__module__.partition(".")[0] in _COMPOSED:
            (common if id(part) in seen else seen)[id(part)] = part
    return list(common.values())


class Sharing:
    """Pickles values of one run, and takes out what they share.

    Parameters
    ----------
    common
        Objects that are known to be part of several of these values.

    Attributes
    ----------
    references
        The modules that Executors will import for them.
    """

    def __init__(self, common: Iterable[object] = ()) -> None:
        self.references = References()
        self.common = {id(item): item for item in common}
        self._anew: set[int] = set()
        self._numbers: dict[int, int] = {}
        # While an object is known by its address, it must not be freed.
        self._known: list[object] = []
        self._uses: Counter[int] = Counter()
        self._small: list[bytes] = []
        self._large: list[Packed] = []
        self._file = io.BytesIO()
        self._pickler = _Pickler(self._file, self, None)

    def dumps(self, value: object) -> bytes:
        """Serialise a value; raises what pickling it raises."""
        # To make a pickler takes as long as to use it.
        self._file.seek(0)
        self._file.truncate()
        self._pickler.clear_memo()
        self._pickler.dump(value)
        return self._file.getvalue()

    def blobs(self) -> list[Packed]:
        """Give what was taken out, by number."""
        if not self._small and not self._large:
            return []
        often = frozenset(number for number, times in self._uses.items() if times > 1)
        return [dumps((self._small, often, frozenset(self._anew))), *self._large]

    def number(self, item: object, *, inside: bool) -> int | None:
        """Give the number of what is taken out; None for what is not.

        `inside` what is taken out itself only arrays and texts are: functions and lists may refer
        to each other in circles.
        """
        if inside and type(item) not in _TEXTS and not _is_array(item):
            self.references.note(item)
            return None
        number = self._numbers.get(id(item))
        if number is None:
            number = self._new(item)
        if number:
            self._uses[number] += 1
        return number or None

    def is_imported(self, item: object) -> bool:
        """Tell a function or class of which it is known that Executors import it."""
        return self._numbers.get(id(item)) == 0

    def _new(self, item: object) -> int:
        """Give a number, or 0, to what has not been seen yet."""
        number = 0
        if id(item) in self.common:
            self._small.append(self._pickled(item))
            number = -len(self._small)
            self._anew.add(number)
        elif _is_large(item):
            self._large.append(self._pickled(item))
            number = len(self._large)
        else:
            self.references.note(item)
            if type(item) not in _BY_VALUE:
                return 0
            if travels_by_value(item):
                self._small.append(self._pickled(item))
                number = -len(self._small)
        self._numbers[id(item)] = number
        self._known.append(item)
        return number

    def _pickled(self, taken_out: object) -> bytes:
        file = io.BytesIO()
        _Pickler(file, self, taken_out).dump(taken_out)
        return file.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, sharing: Sharing, taken_out: object) -> None:
        super().__init__(file, protocol=PICKLE_PROTOCOL)
        self._sharing = sharing
        self._common = sharing.common
        self._taken_out = taken_out

    def persistent_id(self, item: Any) -> int | None:
        """Give the number that is written instead of an object; called for every object."""
        kind = type(item)
        if kind in _NEVER:
            return None
        short = _SHORT.get(kind)
        if short is not None and len(item) < short and id(item) not in self._common:
            return None
        if item is self._taken_out:
            return None
        return self._sharing.number(item, inside=self._taken_out is not None)

    def reducer_override(self, item: Any) -> Any:
        """Leave to pickle itself what is known to be imported by name."""
        if self._sharing.is_imported(item):
            return NotImplemented
        return super().reducer_override(item)


class Shared:
    """Reads values of one run that `Sharing` wrote.

    Parameters
    ----------
    read
        Gives the data of the run that references name.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._small: list[bytes] = []
        self._often: frozenset[int] = frozenset()
        self._anew: frozenset[int] = frozenset()
        self._functions: dict[int, Any] = {}
        self._large: dict[int, Data] = {}

    def loads(self, data: Data) -> Any:
        """Read a value.

        Raises
        ------
        LookupError
            If what it shares with others is gone.
        """
        return _Unpickler(io.BytesIO(data), self).load()

    def item(self, number: int) -> Any:
        """Give an object by its number.

        Functions are the same object each time; anything else is a new one, as a task may change
        what it is given.
        """
        if number > 0:
            return self.loads(self._blob(number))
        if number not in self._functions:
            if not self._small:
                self._learn(_found(self._read([shared_ref(0)])[0], 0))
            found = self.loads(self._small[-1 - number])
            if number in self._anew:
                return found
            self._functions[number] = found
        return self._functions[number]

    def _blob(self, number: int) -> Data:
        if number in self._large:
            return self._large[number]
        first, data = self._read([shared_ref(0), shared_ref(number)])
        self._learn(_found(first, 0))
        blob = _found(data, number)
        if number in self._often:
            self._large[number] = blob
            while sum(map(len, self._large.values())) > CACHE_BYTES and len(self._large) > 1:
                del self._large[next(iter(self._large))]
        return blob

    def _learn(self, first: Data) -> None:
        self._small, self._often, self._anew = loads(first)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, shared: Shared) -> None:
        super().__init__(file)
        self._shared = shared

    def persistent_load(self, number: int) -> Any:
        """Give the object instead of which a number was written."""
        return self._shared.item(number)


@lru_cache(maxsize=2)
def shared_of(storage: Storage, run: str) -> Shared:
    """Give what this process knows of a run, one object for all its Executors one after another."""
    return Shared(partial(storage.read, run))


def _found(blob: Data | None, number: int) -> Data:
    if blob is None:
        raise LookupError(
            f"object {number} that tasks share is not in the store: it was evicted, or has "
            "outlived its time"
        )
    return blob


def _is_large(item: Any) -> bool:
    if type(item) in _SIZED:
        return sys.getsizeof(item) >= LARGE_BYTES
    # Of other kinds of objects, what is large in them is an array or one of the above.
    return _is_array(item) and item.nbytes >= LARGE_BYTES


def _is_array(item: Any) -> bool:
    """Tell arrays of numbers; NumPy is not imported for it, as there may be none."""
    kind = type(item)
    return kind.__module__ == "numpy" and kind.__name__ == "ndarray" and not item.dtype.hasobject
