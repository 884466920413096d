"""The Valkey back-end: control state changed by one Lua file, outputs as plain keys.

Works with Valkey and Redis from version 7, alone, with TLS, or in cluster mode, where all keys of a
run are on one node as they share a hash tag (`nodes.py`). Every command has a time limit and a
bounded number of retries, which the protocol makes harmless.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import islice
from typing import Any

from valkey.exceptions import NoScriptError

from wukong.messages import Start
from wukong.storage import pages, values
from wukong.storage.creation import CHUNK, CONTROL, Creation, clock, data_key, names_of, prefix_of
from wukong.storage.interface import Storage
from wukong.storage.mapped import MappedValues
from wukong.storage.nodes import REPLY_SECONDS, Nodes
from wukong.storage.serialisation import Data
from wukong.storage.terms import (
    Arrival,
    Arrived,
    Begun,
    Claim,
    DataRef,
    Fenced,
    Lineage,
    NewRun,
    News,
    RunState,
    RunStatus,
    shared_ref,
)
from wukong.storage.wire import Pieces, exchange, packed_command, packed_words

LISTEN_SECONDS = REPLY_SECONDS / 2

LINEAGES = 1000
"""Of how many lineages one command asks, so that it does not keep the server from others."""

RUNS = 64
"""Of so many runs a process knows by heart what they ask for with each call: there may be any
number in its time.
"""

NOTES = 256
"""How many notes one command reads: a few hundred bytes each, at most some 200 KB."""


class ValkeyStorage(Storage):
    """Keeps runs on a Valkey server; `url` as in `open_storage`."""

    def __init__(self, url: str) -> None:
        self._script = files("wukong.storage").joinpath("protocol.lua").read_bytes()
        self._sha = hashlib.sha1(self._script, usedforsecurity=False).hexdigest()
        self.nodes = Nodes(url)
        self._mapped = MappedValues.beside(url)
        self._keys = lru_cache(RUNS)(self._packed_keys)
        self._keep = lru_cache(RUNS)(self._read_keep)

    def create(self, new: NewRun) -> None:
        self._sweep()
        creation = Creation(new, self._mapped)
        try:
            self.nodes.on(new.run, creation.write)
        except BaseException:
            # Whatever it is, what taking specifications raises and Ctrl-C too: half a run is none.
            self.nodes.on(new.run, creation.undo)
            raise

    def manifest(self, run: str) -> bytes | None:
        key = prefix_of(run) + "cfg"
        found = self.nodes.on(run, lambda server: server.hget(key, "manifest"))
        return bytes(found) if found is not None else None

    def begin(self, run: str, starts: Sequence[Start], token: str) -> list[Begun | None]:
        calls = [("begin", start.segment, start.epoch, token) for start in starts]
        replies = self._call_all(run, calls)
        return [
            self._begun(run, start, token, reply)
            for start, reply in zip(starts, replies, strict=True)
        ]

    def arrive_all(
        self, run: str, arrivals: Sequence[tuple[Lineage, Arrival]]
    ) -> list[Arrived | None]:
        # One connection executes in order, so an output is there before it becomes official.
        before: list[tuple[Any, ...]] = []
        garbage: list[DataRef] = []
        for lineage, arrival in arrivals:
            ref = DataRef(arrival.segment, lineage.version)
            if self._mapped is None or not self._mapped.put(run, ref, arrival.output):
                before += values.storing(data_key(run, ref), arrival.output, self._keep(run))
            garbage += arrival.garbage
        calls = [pages.calls(*one) for one in arrivals]
        first = len(freeing := _freeing(garbage))
        every = [*freeing, *(call for some in calls for call in some)]
        found = self._call_all(run, every, before)
        self._freed(run, garbage, found[:first])
        replies = iter(found[first:])
        answers = []
        for (lineage, arrival), some in zip(arrivals, calls, strict=True):
            answered = [next(replies) for _ in some]
            answer = self._arrived(run, answered)
            answers.append(answer)
            if len(some) > 1 and arrival.last and answer is not None and not answer.here:
                self.finish(run, lineage, arrival.segment)
            if self._mapped is not None and _is_discarded(answered[0]):
                self._mapped.discard(run, DataRef(arrival.segment, lineage.version))
        return answers

    def hold(
        self, run: str, lineage: Lineage, segment: int, child: tuple[int, int], after: int | None
    ) -> Claim | None:
        known = "" if after is None else after
        who = (lineage.segment, pages.attempt(lineage))
        reply = self._call(run, "hold", *who, segment, known, *child)
        _unfenced(reply)
        return next(iter(self._claims(run, reply[1])), None)

    def owned(self, run: str, lineage: Lineage) -> list[Claim]:
        prefix = prefix_of(run)
        left = self.nodes.on(run, lambda server: server.hgetall(prefix + "left"))
        for name, page in left.items():
            if name.isdigit():
                rest = left[name + b":rest"]
                self._call_all(run, pages.rest_calls(lineage, int(name), int(page), rest))
        names = [prefix + "claim", prefix + "done"]
        claims, done = self.nodes.on(run, lambda server: server.mget(names))
        if claims is None or done is None:
            raise Fenced
        owners = struct.unpack(f">{len(claims) // 4}I", claims)
        mine = [
            segment
            for segment, owner in enumerate(owners)
            if owner == lineage.segment + 1 and not done[segment // 8] >> (7 - segment % 8) & 1
        ]
        found: list[list[Any]] = []
        for reply in self._call_all(run, pages.claims_calls(lineage, mine)):
            _unfenced(reply)
            found += reply[1]
        return [one for one in self._claims(run, found) if all(ref.version for ref in one.inputs)]

    def unbegun(self, run: str, lineage: Lineage) -> list[Start]:
        prefix = prefix_of(run)
        mine = f"1:P{lineage.segment}".encode()

        def look(server: Any) -> list[Start]:
            pipe = server.pipeline(transaction=False)
            state, leases = pipe.get(prefix + "st").zrange(prefix + "lease", 0, -1).execute()
            if state != RunState.RUNNING.encode():
                return []
            alive = sorted(int(one) for one in leases if one != b"-")
            found = []
            for first in range(0, len(alive), LINEAGES):
                some = alive[first : first + LINEAGES]
                states = server.hmget(prefix + "ep", some)
                found += [Start(s) for s, at in zip(some, states, strict=True) if at == mine]
            return found

        return self.nodes.on(run, look)

    def beat(self, run: str, lineages: Sequence[Lineage]) -> list[int]:
        replies = self._call_all(run, pages.beat_calls(lineages)) if lineages else []
        if any(reply[0] != b"OK" for reply in replies):
            return [lineage.segment for lineage in lineages]
        return [int(segment) for reply in replies for segment in reply[1]]

    def finish(self, run: str, lineage: Lineage, after: int | None) -> None:
        known = "" if after is None else after
        self._call(run, "finish", lineage.segment, pages.attempt(lineage), known)

    def pass_on(self, run: str, lineage: Lineage) -> Start:
        reply = self._call(run, "pass_on", lineage.segment, pages.attempt(lineage))
        _unfenced(reply)
        return Start(lineage.segment, int(reply[1]))

    def reap(self, run: str, most: int = 100, late_seconds: float = 0.0) -> list[Start]:
        reply = self._call(run, "reap", most, int(late_seconds * 1000))
        if reply[0] != b"OK":
            return []
        found = reply[1]
        return [Start(int(s), int(e)) for s, e in zip(found[::2], found[1::2], strict=True)]

    def expire(self, run: str, segments: Sequence[int]) -> None:
        def end(server: Any) -> None:
            over = dict.fromkeys(map(str, segments), clock(server))
            # Only where there still is a lease: the others are done.
            server.zadd(prefix_of(run) + "lease", over, xx=True)

        if segments:
            self.nodes.on(run, end)

    def stop(self, run: str, state: RunState, failure: bytes = b"") -> bool:
        return bool(self._call(run, "stop", str(state), failure)[0] == b"OK")

    def failure(self, run: str) -> bytes | None:
        found = self.nodes.on(run, lambda server: server.get(prefix_of(run) + "err"))
        return bytes(found) if found is not None else None

    def news(self, run: str, bookmark: str, timeout: float) -> News:
        key = prefix_of(run) + "news"
        wait = max(1, int(min(timeout, LISTEN_SECONDS) * 1000))
        after = {key: bookmark or "0"}
        found = self.nodes.on(run, lambda server: server.xread(after, block=wait))
        roots, ended = [], None
        for _, entries in found or []:
            for bookmark_bytes, entry in entries:
                bookmark = bookmark_bytes.decode()
                if b"root" in entry:
                    roots.append(int(entry[b"root"]))
                if b"end" in entry:
                    ended = RunState(entry[b"end"].decode())
        return News(tuple(roots), ended, bookmark)

    def status(self, run: str) -> RunStatus:
        prefix = prefix_of(run)

        def look(server: Any) -> Any:
            pipe = server.pipeline(transaction=False)
            pipe.get(prefix + "st").bitcount(prefix + "done")
            pipe.zcard(prefix + "lease").hget(prefix + "cfg", "begun")
            return pipe.execute()

        state, done, live, begun = self.nodes.on(run, look)
        if state is None:
            return RunStatus(None)
        return RunStatus(RunState(state.decode()), done, live - 1, int(begun or 0))

    def read(self, run: str, refs: Sequence[DataRef]) -> list[Data | None]:
        found: dict[DataRef, Data | None] = {}
        if self._mapped is not None:
            mapped = ((ref, self._mapped.get(run, ref)) for ref in refs)
            found |= {ref: data for ref, data in mapped if data is not None}
        if elsewhere := [ref for ref in refs if ref not in found]:
            keys = [data_key(run, ref) for ref in elsewhere]
            read = self.nodes.on(run, lambda server: values.reading(server, keys))
            found |= dict(zip(elsewhere, read, strict=True))
        return [found[ref] for ref in refs]

    def versions(self, run: str, segments: Sequence[int]) -> list[DataRef | None]:
        if not segments:
            return []
        names = list(map(str, segments))

        def look(server: Any) -> list[bytes | None]:
            pipe = server.pipeline(transaction=False)
            for first in range(0, len(names), CHUNK):
                pipe.hmget(prefix_of(run) + "ver", names[first : first + CHUNK])
            return [version for some in pipe.execute() for version in some]

        found = self.nodes.on(run, look)
        return [
            DataRef(segment, version.decode()) if version else None
            for segment, version in zip(segments, found, strict=True)
        ]

    def free(self, run: str, refs: Sequence[DataRef]) -> None:
        if refs:
            self._freed(run, refs, self._call_all(run, _freeing(refs)))

    def _freed(self, run: str, refs: Sequence[DataRef], replies: Sequence[list[Any]]) -> None:
        """Delete the files of those outputs that the server has found to have no readers."""
        if self._mapped is not None:
            freed = {number for reply in replies if reply[0] == b"OK" for number in reply[1]}
            self._mapped.free(run, [ref for ref in refs if ref.segment in freed])

    def put_batch(self, run: str, name: str, events: bytes) -> None:
        key, keep = prefix_of(run) + "batch", self._keep(run)

        def write(server: Any) -> None:
            server.pipeline().hset(key, name, events).expire(key, keep).execute()

        self.nodes.on(run, write)

    def get_batch(self, run: str, name: str) -> bytes | None:
        key = prefix_of(run) + "batch"
        found = self.nodes.on(run, lambda server: server.hget(key, name))
        return bytes(found) if found is not None else None

    def note(self, run: str, blob: bytes) -> None:
        # Only where `create` has left the list: a run that is dropped stays so.
        command = packed_command("RPUSHX", prefix_of(run) + "notes", blob)
        self.nodes.on(run, lambda server: exchange(server, [command]))

    def notes(self, run: str) -> list[bytes]:
        key = prefix_of(run) + "notes"
        found: list[bytes] = []

        def look(server: Any) -> list[bytes]:
            some: list[bytes] = server.lrange(key, 1 + len(found), len(found) + NOTES)
            return some

        while some := self.nodes.on(run, look):
            found += some
        return found

    def drop(self, run: str) -> None:
        prefix = prefix_of(run)

        def remove(server: Any) -> None:
            versions = server.hgetall(prefix + "ver")
            shared = range(int(server.hget(prefix + "cfg", "shared") or 0))
            data = [data_key(run, shared_ref(number)) for number in shared]
            data += [
                data_key(run, DataRef(int(segment), version.decode()))
                for segment, version in versions.items()
                if version
            ]
            # The state goes first: whoever still works for the run is told to stop.
            names = names_of(run)
            for first in range(0, len(names) + len(data), CHUNK):
                server.unlink(*(names + data)[first : first + CHUNK])

        self.nodes.on(run, remove)
        if self._mapped is not None:
            self._mapped.drop(run)

    def _sweep(self) -> None:
        """Delete the files of runs whose keys have expired."""
        if (mapped := self._mapped) is not None:
            for run in mapped.forgotten():
                if self.status(run).state is None:
                    mapped.drop(run)

    def runs(self) -> list[str]:
        pattern = prefix_of("*") + "st"
        keys = self.nodes.everywhere(lambda server: list(server.scan_iter(pattern, CHUNK)))
        return [key.decode().partition("{")[2].partition("}")[0] for key in keys]

    def ping(self) -> None:
        self.nodes.ping()

    def close(self) -> None:
        self.nodes.close()

    def _read_keep(self, run: str) -> int:
        """Seconds that the run's keys are kept; its Executors learn it once."""
        key = prefix_of(run) + "cfg"
        return int(self.nodes.on(run, lambda server: server.hget(key, "keep")) or 60)

    def _call(self, run: str, *arguments: object) -> list[Any]:
        return self._call_all(run, [arguments])[0]

    def _call_all(
        self, run: str, calls: Sequence[tuple[Any, ...]], before: Sequence[tuple[Any, ...]] = ()
    ) -> list[list[Any]]:
        """Run operations of protocol.lua in one round trip, after the commands `before`."""
        packed = [packed_command(*command) for command in before]
        packed += [self._packed_call(run, call) for call in calls]

        def call(server: Any) -> list[list[Any]]:
            try:
                return exchange(server, packed)[len(before) :]
            except NoScriptError:
                server.script_load(self._script)
                return exchange(server, packed)[len(before) :]

        return self.nodes.on(run, call)

    def _begun(self, run: str, start: Start, token: str, reply: list[Any]) -> Begun | None:
        if reply[0] != b"GO":
            return None
        lineage = Lineage(start.segment, int(reply[1]), token)
        (claim,) = self._claims(run, [reply[2]])
        return Begun(lineage, claim, int(reply[3]) / 1000)

    def _arrived(self, run: str, replies: list[list[Any]]) -> Arrived | None:
        if any(reply[0] != b"OK" for reply in replies):
            return None
        return pages.merged(
            [
                Arrived(
                    here=tuple(self._claims(run, here)),
                    handed_off=tuple(Start(int(segment)) for segment in handed_off),
                    deletable=_refs(deletable),
                )
                for _, here, handed_off, deletable in replies
            ]
        )

    def _claims(self, run: str, items: Sequence[list[Any]]) -> list[Claim]:
        """Read claims; the versions of very many inputs are asked for here."""
        written = [inputs for _, _, inputs in items if isinstance(inputs, bytes)]
        numbers = [int(number) for inputs in written for number in inputs.split()]
        refs = zip(numbers, self.versions(run, numbers), strict=True)
        claims = []
        for segment, spec, inputs in items:
            if isinstance(inputs, bytes):
                some = islice(refs, len(inputs.split()))
                named, values = tuple(ref or DataRef(x, "") for x, ref in some), ()
            else:
                named, values = _refs(inputs, 3), tuple(inputs[2::3])
            claims.append(Claim(int(segment), bytes(spec), named, values))
        return claims

    def _packed_call(self, run: str, call: tuple[Any, ...]) -> Pieces:
        """Pack a call of the script; its keys, most of it, are packed once for a run."""
        words = 3 + len(CONTROL) + len(call)
        return [b"*%d\r\n" % words, self._keys(run), packed_words(*call)]

    def _packed_keys(self, run: str) -> bytes:
        names = [prefix_of(run) + key for key in CONTROL]
        return packed_words("EVALSHA", self._sha, len(names), *names)


def _freeing(refs: Sequence[DataRef]) -> list[tuple[Any, ...]]:
    parts = pages.cut(refs)
    return [("free", *(x for ref in part for x in (ref.segment, ref.version))) for part in parts]


def _is_discarded(reply: list[Any]) -> bool:
    """Tell whether an arrival was refused, and its output is not official."""
    return reply[0] != b"OK" and not reply[1]


def _unfenced(reply: list[Any]) -> None:
    if reply[0] != b"OK":
        raise Fenced


def _refs(items: list[Any], width: int = 2) -> tuple[DataRef, ...]:
    """Read (segment, version, ...) items that are written one after another."""
    return tuple(
        DataRef(int(segment), version.decode())
        for segment, version in zip(items[::width], items[1::width], strict=True)
    )
