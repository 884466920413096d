"""The Valkey back-end: control state changed by one Lua file, outputs as plain keys.

Works with Valkey and Redis from version 7, alone, with TLS, or in cluster mode (all keys of a run
share one hash tag). Connections open when first used; every command has a time limit and a bounded
number of retries, which the protocol makes harmless.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from valkey import Valkey
from valkey.backoff import ExponentialBackoff
from valkey.exceptions import ConnectionError as ValkeyConnectionError
from valkey.exceptions import NoScriptError, ValkeyError
from valkey.exceptions import TimeoutError as ValkeyTimeoutError
from valkey.retry import Retry

from wukong.messages import Start
from wukong.storage import pages
from wukong.storage.interface import (
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
    Storage,
    StorageError,
)
from wukong.storage.wire import exchange, packed_command, packed_words

CONNECT_SECONDS = 5.0
REPLY_SECONDS = 30.0
RETRIES = 3
CHUNK = 1000
"""How many fields one command writes: long commands would keep the server from others."""

_CONTROL = (
    *("st", "done", "cnt", "claim", "refs", "lease", "ep"),
    *("ver", "news", "cfg", "spec", "inp", "err", "left"),
)
"""The keys of a run, in the order in which protocol.lua names them."""


class ValkeyStorage(Storage):
    """Keeps runs on a Valkey server; `url` as in `open_storage`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._kept: dict[str, int] = {}
        self._keys: dict[str, bytes] = {}
        self._script = files("wukong.storage").joinpath("protocol.lua").read_bytes()
        self._sha = hashlib.sha1(self._script, usedforsecurity=False).hexdigest()
        # The library types its replies as 'awaitable or not'; this is the blocking client.
        self._server: Any = Valkey.from_url(
            url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=REPLY_SECONDS,
            retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), RETRIES),
            retry_on_error=[ValkeyConnectionError, ValkeyTimeoutError],
        )

    def create(self, new: NewRun) -> None:
        prefix, keep = _prefix(new.run), new.keep_seconds
        count, leaves = len(new.specs), set(new.leaves)
        with self._reached(), _sending(self._server) as pipe:
            pipe.set(prefix + "done", bytes(count // 8 + 1))
            pipe.set(prefix + "cnt", bytes(4 * count))
            pipe.set(prefix + "claim", _u32(i + 1 if i in leaves else 0 for i in range(count)))
            pipe.set(prefix + "refs", struct.pack(f">{count}i", *new.references))
            pipe.hset(prefix + "cfg", mapping=_config(new))
            for first in range(0, count, CHUNK):
                some = range(first, min(first + CHUNK, count))
                pipe.hset(prefix + "spec", mapping={i: new.specs[i] for i in some})
                pipe.hset(prefix + "inp", mapping={i: _words(new.inputs[i]) for i in some})
            deadline = _clock(self._server) + int(new.handoff_seconds * 1000)
            pipe.zadd(prefix + "lease", _with_sentinel("inf", leaves, deadline))
            pipe.hset(prefix + "ep", mapping=_with_sentinel("", leaves, "1:P"))
            pipe.hset(prefix + "ver", "-", "")
            pipe.hset(prefix + "left", "-", "")
            pipe.xadd(prefix + "news", {"created": count})
            for key in _CONTROL[1:]:
                pipe.expire(prefix + key, keep)
            # Last, because whoever sees the state may use all the rest.
            pipe.set(prefix + "st", RunState.RUNNING, ex=keep)

    def manifest(self, run: str) -> bytes | None:
        with self._reached():
            found = self._server.hget(_prefix(run) + "cfg", "manifest")
        return bytes(found) if found is not None else None

    def begin(self, run: str, starts: Sequence[Start], token: str) -> list[Begun | None]:
        calls = [("begin", start.segment, start.epoch, token) for start in starts]
        replies = self._call_all(run, calls)
        return [
            self._begun(run, start, reply) for start, reply in zip(starts, replies, strict=True)
        ]

    def arrive_all(
        self, run: str, arrivals: Sequence[tuple[Lineage, Arrival]]
    ) -> list[Arrived | None]:
        # One connection executes in order, so an output is there before it becomes official.
        before: list[tuple[Any, ...]] = []
        for lineage, arrival in arrivals:
            key = _data_key(run, DataRef(arrival.segment, f"{lineage.segment}.{lineage.epoch}"))
            before.append(("SET", key, arrival.output, "EX", self._keep(run)))
            if arrival.garbage:
                before.append(("UNLINK", *(_data_key(run, ref) for ref in arrival.garbage)))
        calls = [pages.calls(*one) for one in arrivals]
        replies = iter(self._call_all(run, [call for some in calls for call in some], before))
        answers = [self._arrived(run, [next(replies) for _ in some]) for some in calls]
        for (lineage, arrival), some, answer in zip(arrivals, calls, answers, strict=True):
            if len(some) > 1 and arrival.last and answer is not None and not answer.here:
                self.finish(run, lineage)
        return answers

    def owned(self, run: str, lineage: Lineage) -> list[Claim]:
        prefix = _prefix(run)
        with self._reached():
            left = self._server.hgetall(prefix + "left")
        for name, page in left.items():
            if name.isdigit():
                # What it hands off is started when its lease is over.
                rest = left[name + b":rest"]
                self._call_all(run, pages.rest_calls(lineage, int(name), int(page), rest))
        with self._reached():
            claims, done = self._server.mget(prefix + "claim", prefix + "done")
        if claims is None or done is None:
            raise Fenced
        owners = struct.unpack(f">{len(claims) // 4}I", claims)
        mine = [
            segment
            for segment, owner in enumerate(owners)
            if owner == lineage.segment + 1 and not done[segment // 8] >> (7 - segment % 8) & 1
        ]
        reply = self._call(run, "claims", lineage.segment, lineage.epoch, *mine)
        _unfenced(reply)
        return self._claims(run, reply[1])

    def beat(self, run: str, lineages: Sequence[Lineage]) -> list[int]:
        pairs = [number for one in lineages for number in (one.segment, one.epoch)]
        reply = self._call(run, "beat", *pairs)
        if reply[0] != b"OK":
            return [lineage.segment for lineage in lineages]
        return [int(segment) for segment in reply[1]]

    def finish(self, run: str, lineage: Lineage) -> None:
        self._call(run, "finish", lineage.segment, lineage.epoch)

    def pass_on(self, run: str, lineage: Lineage) -> Start:
        reply = self._call(run, "pass_on", lineage.segment, lineage.epoch)
        _unfenced(reply)
        return Start(lineage.segment, int(reply[1]))

    def reap(self, run: str, most: int = 100) -> list[Start]:
        reply = self._call(run, "reap", most)
        if reply[0] != b"OK":
            return []
        found = reply[1]
        return [Start(int(s), int(e)) for s, e in zip(found[::2], found[1::2], strict=True)]

    def expire(self, run: str, segments: Sequence[int]) -> None:
        if segments:
            with self._reached():
                now = _clock(self._server)
                over = {str(segment): now for segment in segments}
                # Only where there still is a lease: the others are done.
                self._server.zadd(_prefix(run) + "lease", over, xx=True)

    def stop(self, run: str, state: RunState, failure: bytes = b"") -> bool:
        return bool(self._call(run, "stop", str(state), failure)[0] == b"OK")

    def failure(self, run: str) -> bytes | None:
        with self._reached():
            found = self._server.get(_prefix(run) + "err")
        return bytes(found) if found is not None else None

    def news(self, run: str, bookmark: str, timeout: float) -> News:
        key = _prefix(run) + "news"
        wait = max(1, int(min(timeout, REPLY_SECONDS / 2) * 1000))
        with self._reached():
            found = self._server.xread({key: bookmark or "0"}, block=wait)
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
        prefix = _prefix(run)
        with self._reached():
            pipe = self._server.pipeline(transaction=False)
            pipe.get(prefix + "st").bitcount(prefix + "done")
            pipe.zcard(prefix + "lease").hget(prefix + "cfg", "begun")
            state, done, live, begun = pipe.execute()
        if state is None:
            return RunStatus(None)
        return RunStatus(RunState(state.decode()), done, live - 1, int(begun or 0))

    def read(self, run: str, refs: Sequence[DataRef]) -> list[bytes | None]:
        if not refs:
            return []
        with self._reached():
            found: list[bytes | None] = self._server.mget([_data_key(run, ref) for ref in refs])
        return found

    def versions(self, run: str, segments: Sequence[int]) -> list[DataRef | None]:
        if not segments:
            return []
        found: list[bytes | None] = []
        for first in range(0, len(segments), CHUNK):
            some = [str(segment) for segment in segments[first : first + CHUNK]]
            with self._reached():
                found += self._server.hmget(_prefix(run) + "ver", some)
        return [
            DataRef(segment, version.decode()) if version else None
            for segment, version in zip(segments, found, strict=True)
        ]

    def delete(self, run: str, refs: Sequence[DataRef]) -> None:
        if refs:
            with self._reached():
                self._server.unlink(*(_data_key(run, ref) for ref in refs))

    def put_batch(self, run: str, name: str, events: bytes) -> None:
        key = _prefix(run) + "batch"
        with self._reached():
            self._server.pipeline().hset(key, name, events).expire(key, self._keep(run)).execute()

    def get_batch(self, run: str, name: str) -> bytes | None:
        with self._reached():
            found = self._server.hget(_prefix(run) + "batch", name)
        return bytes(found) if found is not None else None

    def drop(self, run: str) -> None:
        prefix = _prefix(run)
        with self._reached():
            versions = self._server.hgetall(prefix + "ver")
            data = [
                _data_key(run, DataRef(int(segment), version.decode()))
                for segment, version in versions.items()
                if version
            ]
            # The state goes first: whoever still works for the run is told to stop.
            names = [prefix + key for key in (*_CONTROL, "batch")]
            for first in range(0, len(names) + len(data), CHUNK):
                self._server.unlink(*(names + data)[first : first + CHUNK])

    def ping(self) -> None:
        with self._reached():
            self._server.ping()

    def close(self) -> None:
        self._server.close()

    def _keep(self, run: str) -> int:
        """Seconds that the run's keys are kept; its Executors learn it once."""
        if run not in self._kept:
            with self._reached():
                self._kept[run] = int(self._server.hget(_prefix(run) + "cfg", "keep") or 60)
        return self._kept[run]

    def _call(self, run: str, *arguments: object) -> list[Any]:
        return self._call_all(run, [arguments])[0]

    def _call_all(
        self, run: str, calls: Sequence[tuple[Any, ...]], before: Sequence[tuple[Any, ...]] = ()
    ) -> list[list[Any]]:
        """Run operations of protocol.lua in one round trip, after the commands `before`."""
        packed = [packed_command(*command) for command in before]
        packed += [self._packed_call(run, call) for call in calls]
        with self._reached():
            try:
                return exchange(self._server, packed)[len(before) :]
            except NoScriptError:
                self._server.script_load(self._script)
                return exchange(self._server, packed)[len(before) :]

    def _begun(self, run: str, start: Start, reply: list[Any]) -> Begun | None:
        if reply[0] != b"GO":
            return None
        lineage = Lineage(start.segment, int(reply[1]))
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
        claims = []
        for segment, spec, inputs in items:
            if isinstance(inputs, bytes):
                numbers = [int(number) for number in inputs.split()]
                known = self.versions(run, numbers)
                refs = [ref or DataRef(x, "") for x, ref in zip(numbers, known, strict=True)]
                claims.append(Claim(int(segment), bytes(spec), tuple(refs), ()))
                continue
            refs = list(_refs(inputs, 3))
            claims.append(Claim(int(segment), bytes(spec), tuple(refs), tuple(inputs[2::3])))
        return claims

    def _packed_call(self, run: str, call: tuple[Any, ...]) -> bytes:
        """Pack a call of the script; its keys, most of it, are packed once for a run."""
        if run not in self._keys:
            names = [_prefix(run) + key for key in _CONTROL]
            self._keys[run] = packed_words("EVALSHA", self._sha, len(names), *names)
        words = 3 + len(_CONTROL) + len(call)
        return b"*%d\r\n" % words + self._keys[run] + packed_words(*call)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn what the client library raises into one clear error, without the password."""
        try:
            yield
        except (ValkeyConnectionError, ValkeyTimeoutError) as error:
            raise StorageError(
                f"store {_address(self._url)} cannot be reached: {error}",
                "Check the URL (WUKONG_STORE_URL of the functions, store.url of the client), that "
                "the server runs, and that subnets and security groups let this machine through.",
            ) from error
        except NoScriptError:
            raise
        except ValkeyError as error:
            raise StorageError(
                f"store {_address(self._url)} refused a command: {error}",
                "It must be Valkey or Redis 7 or later, with enough memory and noeviction.",
            ) from error


@contextmanager
def _sending(server: Any) -> Iterator[Any]:
    pipe = server.pipeline(transaction=False)
    yield pipe
    pipe.execute()


def _clock(server: Any) -> int:
    """Give the server's clock in milliseconds; leases use no other clock."""
    seconds, microseconds = server.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def _config(new: NewRun) -> Mapping[str, int | bytes]:
    return {
        "ttl": int(new.lease_seconds * 1000),
        "handoff": int(new.handoff_seconds * 1000),
        "live": new.max_live,
        "keep": new.keep_seconds,
        "manifest": new.manifest,
    }


def _prefix(run: str) -> str:
    return f"w:{{{run}}}:"


def _data_key(run: str, ref: DataRef) -> str:
    return f"{_prefix(run)}d{ref.segment}.{ref.version}"


def _address(url: str) -> str:
    """Host and port of a store URL, without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _with_sentinel(sentinel: object, leaves: Iterable[int], value: object) -> dict[str, object]:
    """Give one value for each leaf, and a member that keeps the key (and its TTL) when all end."""
    return {"-": sentinel, **{str(leaf): value for leaf in leaves}}


def _words(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))


def _u32(numbers: Iterable[int]) -> bytes:
    values = list(numbers)
    return struct.pack(f">{len(values)}I", *values)


def _unfenced(reply: list[Any]) -> None:
    if reply[0] != b"OK":
        raise Fenced


def _refs(items: list[Any], width: int = 2) -> tuple[DataRef, ...]:
    """Read (segment, version, ...) items that are written one after another."""
    return tuple(
        DataRef(int(segment), version.decode())
        for segment, version in zip(items[::width], items[1::width], strict=True)
    )
