"""Signed storage: around any back-end, so that nobody reads what no client or Executor has written.

What is read from storage is unpickled, and to unpickle is to run code. So whoever writes signs, and
whoever reads checks before anything else looks at the bytes. At their end are

    id of the key (8 bytes)   HMAC-SHA256 (32 bytes) of  kind : run : segment : version, and of them

so that what is right in one place is refused in any other: as another kind, in another run, for
another segment, by another attempt. A key is of all runs of a store; it says that a client or an
Executor has written something, not which one.

Signed are specifications, what they share (with the modules that a run takes along), outputs,
manifest and failure: all that is unpickled or imported. Not signed are counts, claims and leases,
and batches of events, with which a run can be disturbed but not made to run anything else; and what
Executors note of themselves, which are numbers and texts that are only shown. So an Invoker needs
no key.
"""

from __future__ import annotations

import hmac
import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from wukong.errors import WukongError
from wukong.messages import Start
from wukong.storage.interface import Storage
from wukong.storage.keys import ID_BYTES, Keys
from wukong.storage.serialisation import Data, Frames, Packed, pieces_of
from wukong.storage.terms import (
    Arrival,
    Arrived,
    Begun,
    Claim,
    DataRef,
    Lineage,
    NewRun,
    News,
    RunState,
    RunStatus,
    shared_ref,
)

TAG_BYTES = ID_BYTES + 32

JOIN_BYTES = 65_536
"""Up to this size, bytes and their signature are joined; above, that would be a copy."""

Part = TypeVar("Part")


class SignatureError(WukongError):
    """Storage gave something that no authorised client or Executor has written there."""


@dataclass(frozen=True, slots=True)
class Place:
    """What bytes are, and where they belong."""

    kind: str
    run: str
    segment: int | str = ""
    version: str = ""

    def to_bytes(self) -> bytes:
        """Write it so that two places never are the same bytes: only the last part is free."""
        run = f"{len(self.run)}:{self.run}"
        return f"{self.kind}:{run}:{self.segment}:{self.version}\0".encode()

    def __str__(self) -> str:
        of = "" if self.segment == "" else f" of segment {self.segment}"
        if self.version == shared_ref(0).version:
            of = f" {self.segment} that tasks share"
        return f"the {self.kind}{of} in run {self.run}"


class Signer:
    """Signs bytes for their place, and checks them."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def sign(self, place: Place, packed: Packed) -> Packed:
        """Give the same with a signature at its end, without copying what is large."""
        key = self.keys.first
        whole = key.begin()
        whole.update(place.to_bytes())
        for piece in pieces_of(packed):
            whole.update(piece)
        tag = key.id + whole.digest()
        if isinstance(packed, bytes) and len(packed) <= JOIN_BYTES:
            return packed + tag
        return Frames.of([*pieces_of(packed), tag])

    def check(self, place: Place, data: Data) -> Data:
        """Give what was signed, if it was signed for this place; else raise `SignatureError`."""
        if isinstance(data, mmap.mmap):
            # Others may still write to its file, and what is used must be what was checked.
            data = bytearray(data)
        cut = len(data) - TAG_BYTES
        view = memoryview(data)
        key = self.keys.find(bytes(view[cut : cut + ID_BYTES])) if cut >= 0 else None
        if key is None:
            raise _refused(place, "is not signed with a key that is valid here")
        whole = key.begin()
        whole.update(place.to_bytes())
        whole.update(view[:cut])
        if not hmac.compare_digest(whole.digest(), view[cut + ID_BYTES :]):
            raise _refused(
                place, "has a signature that does not fit: it was changed, or belongs elsewhere"
            )
        view.release()
        if isinstance(data, bytearray):
            # Its memory may become the value's, and is not copied.
            del data[cut:]
            return data
        return data[:cut]


def _refused(place: Place, why: str) -> SignatureError:
    return SignatureError(
        f"{place} {why}; it was refused, and nothing of it was run",
        "Client and functions need the same store.signing_key (`wukong doctor` tries it). If "
        "they have it, somebody else writes to the store: see docs/security.md.",
    )


@dataclass(frozen=True, slots=True)
class _Signed(Iterable[Part]):
    """Signs what is taken, which may be more than once."""

    parts: Iterable[Part]
    sign: Callable[[int, Part], Part]

    def __iter__(self) -> Iterator[Part]:
        return (self.sign(number, part) for number, part in enumerate(self.parts))


class SignedStorage(Storage):
    """Signs what is written to a back-end and checks what is read from it.

    Every method also raises `SignatureError`, for what is refused, and `SigningKeyError`.
    """

    def __init__(self, inner: Storage, keys: Keys) -> None:
        self.inner = inner
        self._signer = Signer(keys)

    def create(self, new: NewRun) -> None:
        run, sign = new.run, self._signer.sign

        def spec(number: int, data: bytes) -> bytes:
            return bytes(sign(_spec(run, number), data))

        def shared(number: int, data: Packed) -> Packed:
            return sign(_data(run, shared_ref(number)), data)

        def manifest() -> bytes:
            return bytes(sign(Place("manifest", run), new.manifest()))

        specs, blobs = _Signed(new.specs, spec), _Signed(new.shared, shared)
        self.inner.create(replace(new, specs=specs, shared=blobs, manifest=manifest))

    def manifest(self, run: str) -> bytes | None:
        return self._checked(Place("manifest", run), self.inner.manifest(run))

    def begin(self, run: str, starts: Sequence[Start], token: str) -> list[Begun | None]:
        begun = self.inner.begin(run, starts, token)
        return [one and replace(one, claim=self._claim(run, one.claim)) for one in begun]

    def arrive_all(
        self, run: str, arrivals: Sequence[tuple[Lineage, Arrival]]
    ) -> list[Arrived | None]:
        signed = [(lineage, self._arrival(run, lineage, one)) for lineage, one in arrivals]
        arrived = self.inner.arrive_all(run, signed)
        return [one and self._arrived(run, one) for one in arrived]

    def hold(
        self, run: str, lineage: Lineage, segment: int, child: tuple[int, int], after: int | None
    ) -> Claim | None:
        own = self.inner.hold(run, lineage, segment, child, after)
        return own and self._claim(run, own)

    def owned(self, run: str, lineage: Lineage) -> list[Claim]:
        return [self._claim(run, claim) for claim in self.inner.owned(run, lineage)]

    def stop(self, run: str, state: RunState, failure: bytes = b"") -> bool:
        signed = bytes(self._signer.sign(_failure(run), failure)) if failure else b""
        return self.inner.stop(run, state, signed)

    def failure(self, run: str) -> bytes | None:
        found = self.inner.failure(run)
        return self._checked(_failure(run), found) if found else found

    def read(self, run: str, refs: Sequence[DataRef]) -> list[Data | None]:
        found = self.inner.read(run, refs)
        for place, ref in enumerate(refs):
            data = found[place]
            if data is not None:
                # At once, so that no two copies of everything are there together.
                found[place] = self._signer.check(_data(run, ref), data)
        return found

    def ping(self) -> None:
        """Raise `StorageError` unless the storage answers, `SigningKeyError` without a key."""
        self.inner.ping()
        _ = self._signer.keys.first

    def _checked(self, place: Place, data: bytes | None) -> bytes | None:
        return None if data is None else bytes(self._signer.check(place, data))

    def _claim(self, run: str, claim: Claim) -> Claim:
        check = self._signer.check
        spec = bytes(check(_spec(run, claim.segment), claim.spec))
        values = tuple(
            None if value is None else bytes(check(_data(run, ref), value))
            for ref, value in zip(claim.inputs, claim.values, strict=False)
        )
        return replace(claim, spec=spec, values=values)

    def _arrival(self, run: str, lineage: Lineage, arrival: Arrival) -> Arrival:
        place = _data(run, DataRef(arrival.segment, lineage.version))
        return replace(arrival, output=self._signer.sign(place, arrival.output))

    def _arrived(self, run: str, arrived: Arrived) -> Arrived:
        if not arrived.here:
            return arrived
        return replace(arrived, here=tuple(self._claim(run, claim) for claim in arrived.here))

    # What holds nothing that is read as code goes through as it is.

    def unbegun(self, run: str, lineage: Lineage) -> list[Start]:
        return self.inner.unbegun(run, lineage)

    def beat(self, run: str, lineages: Sequence[Lineage]) -> list[int]:
        return self.inner.beat(run, lineages)

    def finish(self, run: str, lineage: Lineage, after: int | None) -> None:
        self.inner.finish(run, lineage, after)

    def pass_on(self, run: str, lineage: Lineage) -> Start:
        return self.inner.pass_on(run, lineage)

    def reap(self, run: str, most: int = 100, late_seconds: float = 0.0) -> list[Start]:
        return self.inner.reap(run, most, late_seconds)

    def expire(self, run: str, segments: Sequence[int]) -> None:
        self.inner.expire(run, segments)

    def news(self, run: str, bookmark: str, timeout: float) -> News:
        return self.inner.news(run, bookmark, timeout)

    def status(self, run: str) -> RunStatus:
        return self.inner.status(run)

    def versions(self, run: str, segments: Sequence[int]) -> list[DataRef | None]:
        return self.inner.versions(run, segments)

    def free(self, run: str, refs: Sequence[DataRef]) -> None:
        self.inner.free(run, refs)

    def put_batch(self, run: str, name: str, events: bytes) -> None:
        self.inner.put_batch(run, name, events)

    def get_batch(self, run: str, name: str) -> bytes | None:
        return self.inner.get_batch(run, name)

    def note(self, run: str, blob: bytes) -> None:
        self.inner.note(run, blob)

    def notes(self, run: str) -> list[bytes]:
        return self.inner.notes(run)

    def drop(self, run: str) -> None:
        self.inner.drop(run)

    def runs(self) -> list[str]:
        return self.inner.runs()

    def close(self) -> None:
        self.inner.close()


def _spec(run: str, segment: int) -> Place:
    return Place("specification", run, segment)


def _data(run: str, ref: DataRef) -> Place:
    return Place("value", run, ref.segment, ref.version)


def _failure(run: str) -> Place:
    return Place("failure", run)
