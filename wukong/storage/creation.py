"""How a new run is written to Valkey, and how its keys are named.

Specifications go over the wire as they are made, so that those of a large graph are never in memory
together; the state is written last, as whoever sees it may use all the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from wukong.storage import values
from wukong.storage.mapped import MappedValues
from wukong.storage.terms import (
    DataRef,
    NewRun,
    RunState,
    shared_ref,
)
from wukong.storage.wire import exchange, packed_command

CHUNK = 1000
"""How many fields one command writes: long commands would keep the server from others."""

CONTROL = (
    *("st", "done", "cnt", "claim", "refs", "lease", "ep"),
    *("ver", "news", "cfg", "spec", "inp", "err", "left"),
)
"""The keys of a run, in the order in which protocol.lua names them."""


class Creation:
    """Writes one new run; may be repeated, and undone."""

    def __init__(self, new: NewRun, mapped: MappedValues | None = None) -> None:
        self._new = new
        self._mapped = mapped
        self._prefix = prefix_of(new.run)
        self._shared: list[str] = []

    def write(self, server: Any) -> None:
        """Write all of it; raises what taking the specifications raises."""
        new, prefix, keep = self._new, self._prefix, self._new.keep_seconds
        count, leaves = len(new.references), set(new.leaves)
        self._write_specs(server)
        self._write_shared(server)
        pipe = server.pipeline(transaction=False)
        pipe.set(prefix + "done", bytes(count // 8 + 1))
        pipe.set(prefix + "cnt", bytes(4 * count))
        pipe.set(prefix + "claim", _u32(i + 1 if i in leaves else 0 for i in range(count)))
        pipe.set(prefix + "refs", struct.pack(f">{count}i", *new.references))
        pipe.hset(prefix + "cfg", mapping=self._config())
        deadline = clock(server) + int(new.handoff_seconds * 1000)
        pipe.zadd(prefix + "lease", _with_sentinel("inf", leaves, deadline))
        pipe.hset(prefix + "ep", mapping=_with_sentinel("", leaves, "1:P"))
        pipe.hset(prefix + "ver", "-", "")
        pipe.hset(prefix + "left", "-", "")
        pipe.xadd(prefix + "news", {"created": count})
        # Notes are only added where there is a list; its first entry says nothing.
        pipe.rpush(prefix + "notes", "")
        for key in (*CONTROL[1:], "notes"):
            pipe.expire(prefix + key, keep)
        pipe.set(prefix + "st", RunState.RUNNING, ex=keep)
        pipe.execute()

    def undo(self, server: Any) -> None:
        """Delete what has been written."""
        server.unlink(*names_of(self._new.run), *self._shared)
        if self._mapped is not None:
            self._mapped.drop(self._new.run)

    def _write_specs(self, server: Any) -> None:
        """Write specifications as they are made, some at a time; they expire from the start."""
        numbered = enumerate(zip(self._new.specs, self._new.inputs, strict=True))
        spec, inp = self._prefix + "spec", self._prefix + "inp"
        while some := list(islice(numbered, CHUNK)):
            specs = [word for number, (data, _) in some for word in (number, data)]
            inputs = [word for number, (_, one) in some for word in (number, _words(one))]
            commands: list[tuple[Any, ...]] = [("HSET", spec, *specs), ("HSET", inp, *inputs)]
            if some[0][0] == 0:
                commands += [("EXPIRE", key, self._new.keep_seconds) for key in (spec, inp)]
            exchange(server, [packed_command(*command) for command in commands])

    def _write_shared(self, server: Any) -> None:
        self._shared.clear()
        for number, blob in enumerate(self._new.shared):
            ref = shared_ref(number)
            self._shared.append(key := data_key(self._new.run, ref))
            if self._mapped is not None and self._mapped.put(self._new.run, ref, blob):
                continue
            commands = values.storing(key, blob, self._new.keep_seconds)
            exchange(server, [packed_command(*command) for command in commands])

    def _config(self) -> Mapping[str, int | bytes]:
        new = self._new
        return {
            "ttl": int(new.lease_seconds * 1000),
            "handoff": int(new.handoff_seconds * 1000),
            "live": new.max_live,
            "keep": new.keep_seconds,
            "manifest": new.manifest(),
            "shared": len(self._shared),
        }


def clock(server: Any) -> int:
    """Give the server's clock in milliseconds; leases use no other clock."""
    seconds, microseconds = server.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def prefix_of(run: str) -> str:
    """Begin the names of a run's keys; all of them have one hash tag."""
    return f"w:{{{run}}}:"


def names_of(run: str) -> list[str]:
    """Name all keys of a run but those of its data."""
    return [prefix_of(run) + key for key in (*CONTROL, "batch", "notes")]


def data_key(run: str, ref: DataRef) -> str:
    """Name the key of an output, or of what specifications share."""
    return f"{prefix_of(run)}d{ref.segment}.{ref.version}"


def _with_sentinel(sentinel: object, leaves: Iterable[int], value: object) -> dict[str, object]:
    """Give one value for each leaf, and a member that keeps the key (and its TTL) when all end."""
    return {"-": sentinel, **{str(leaf): value for leaf in leaves}}


def _words(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))


def _u32(numbers: Iterable[int]) -> bytes:
    values = list(numbers)
    return struct.pack(f">{len(values)}I", *values)
