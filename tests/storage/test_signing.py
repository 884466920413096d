"""Signed storage refuses what nobody with the key has written there, wherever it comes from."""

from __future__ import annotations

import pickle
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from valkey import Valkey

from tests.storage.test_contract import arrival, begin, diamond
from wukong.messages import Start
from wukong.storage import DataRef, Lineage, RunState, open_storage, shared_ref
from wukong.storage.creation import data_key, prefix_of
from wukong.storage.keys import AGAIN_SECONDS, Keys, SigningKeyError, read_words
from wukong.storage.memory import MemoryStorage
from wukong.storage.serialisation import compressed, loads, pack
from wukong.storage.signing import TAG_BYTES, SignatureError, SignedStorage
from wukong.storage.valkey import ValkeyStorage

ONE, TWO, THREE = ("one" * 16, "two" * 16, "three" * 16)


def keys(*words: str) -> Keys:
    return Keys("env:KEY", lambda *_: words)


@dataclass
class Stored:
    """A run in a real server: as its client sees it, and as somebody else does."""

    storage: SignedStorage
    server: Any
    run: str

    def key(self, ref: DataRef) -> str:
        return data_key(self.run, ref)

    def forge(self, ref: DataRef, data: bytes) -> None:
        self.server.set(self.key(ref), data)

    def raw(self, ref: DataRef) -> bytes:
        return bytes(self.server.get(self.key(ref)))

    def done(self, segment: int, output: Any = None, token: str = "a") -> DataRef:
        """Run a segment of the diamond, and say where its output is."""
        lineage = Lineage(0, 1, token)
        one = arrival(segment)
        if output is not None:
            one = replace(one, output=output)
        self.storage.arrive(self.run, lineage, one)
        return DataRef(segment, lineage.version)


@pytest.fixture
def stored(valkey_url: str, run_id: str) -> Iterator[Stored]:
    server: Any = Valkey.from_url(valkey_url)
    storage = SignedStorage(ValkeyStorage(valkey_url), keys(ONE))
    storage.create(replace(diamond(run_id), manifest=lambda: b"manifest", shared=[b"shared"]))
    begin(storage, run_id, 0)
    yield Stored(storage, server, run_id)
    storage.drop(run_id)
    storage.close()
    server.close()


def test_what_was_signed_is_read_as_it_was_written(stored: Stored) -> None:
    big = np.arange(100_000.0)
    ref = stored.done(0, pack(big))
    (data,), (raw,) = (
        one.read(stored.run, [ref]) for one in (stored.storage, stored.storage.inner)
    )
    assert data is not None
    assert raw is not None
    assert (loads(data) == big).all()
    assert len(raw) == len(data) + TAG_BYTES
    assert stored.storage.read(stored.run, [shared_ref(0)]) == [b"shared"]
    assert stored.storage.manifest(stored.run) == b"manifest"


def test_compressed_and_chunked_values_are_read_as_they_were_written(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wukong.storage.values.CHUNK_BYTES", 1000)
    text = "text" * 10_000
    ref = stored.done(0, pack(text))
    assert stored.server.type(stored.key(ref)) == b"list"
    (data,) = stored.storage.read(stored.run, [ref])
    assert data is not None
    assert loads(data) == text
    ref = stored.done(1, compressed(pack(text), 1))
    (data,) = stored.storage.read(stored.run, [ref])
    assert data is not None
    assert loads(data) == text


TAMPERED: dict[str, Callable[[Stored, DataRef], bytes]] = {
    "not signed": lambda *_: pickle.dumps("forged"),
    "empty": lambda *_: b"",
    "shorter than a signature": lambda *_: b"x" * (TAG_BYTES - 1),
    "signed by somebody else": lambda s, r: _signed_by(TWO, s, r),
    "another key under the name of ours": lambda s, r: (
        (theirs := _signed_by(TWO, s, r))[:-TAG_BYTES]
        + s.raw(r)[-TAG_BYTES:][:8]
        + theirs[-TAG_BYTES:][8:]
    ),
    "cut off at its end": lambda s, r: s.raw(r)[:-1],
    "cut off at its beginning": lambda s, r: s.raw(r)[1:],
    "with more at its end": lambda s, r: s.raw(r) + b"x",
    "with one bit changed": lambda s, r: bytes([s.raw(r)[0] ^ 1]) + s.raw(r)[1:],
    "the manifest": lambda s, _: bytes(s.server.hget(prefix_of(s.run) + "cfg", "manifest")),
    "what tasks share": lambda s, _: s.raw(shared_ref(0)),
    "the specification": lambda s, _: bytes(s.server.hget(prefix_of(s.run) + "spec", 0)),
    "the value of another segment": lambda s, _: s.raw(s.done(1)),
    "the value of another run": lambda s, r: _of_another_run(s, r),
}


def _signed_by(word: str, stored: Stored, ref: DataRef) -> bytes:
    with_other_key = SignedStorage(MemoryStorage(), keys(word))
    other = replace(stored, storage=with_other_key)
    with_other_key.create(diamond(stored.run))
    begin(with_other_key, stored.run, 0)
    other.done(0, pickle.dumps("forged"))
    (data,) = with_other_key.inner.read(stored.run, [ref])
    assert data is not None
    return bytes(data)


def _of_another_run(stored: Stored, ref: DataRef) -> bytes:
    run = stored.run[:-1]
    other = replace(stored, run=run)
    stored.storage.create(diamond(run))
    begin(stored.storage, run, 0)
    data = other.raw(other.done(0))
    stored.storage.drop(run)
    assert ref == DataRef(0, "0.1.a")
    return data


@pytest.mark.parametrize("how", TAMPERED)
def test_a_value_that_nobody_with_the_key_put_there_is_refused(stored: Stored, how: str) -> None:
    ref = stored.done(0)
    stored.forge(ref, TAMPERED[how](stored, ref))
    with pytest.raises(SignatureError, match=f"value of segment 0 in run {stored.run} .* refused"):
        stored.storage.read(stored.run, [ref])


def test_a_value_of_another_attempt_is_refused(stored: Stored) -> None:
    ref = stored.done(0)
    other = DataRef(0, "0.2.b")
    stored.forge(other, stored.raw(ref))
    with pytest.raises(SignatureError):
        stored.storage.read(stored.run, [other])


def test_all_else_that_is_unpickled_or_imported_is_refused_too(stored: Stored) -> None:
    prefix, forged = prefix_of(stored.run), pickle.dumps("forged")
    stored.server.hset(prefix + "cfg", "manifest", forged)
    with pytest.raises(SignatureError, match="the manifest in run"):
        stored.storage.manifest(stored.run)
    stored.forge(shared_ref(0), forged)
    with pytest.raises(SignatureError, match="the value 0 that tasks share in run"):
        stored.storage.read(stored.run, [shared_ref(0)])
    stored.server.hset(prefix + "spec", "1", forged)
    with pytest.raises(SignatureError, match="the specification of segment 1 in run"):
        stored.done(0)
    with pytest.raises(SignatureError, match="the specification of segment 1 in run"):
        stored.storage.owned(stored.run, Lineage(0, 1, "a"))
    stored.server.hset(prefix + "spec", "0", forged)
    with pytest.raises(SignatureError, match="the specification of segment 0 in run"):
        stored.storage.begin(stored.run, [Start(0)], "a")
    stored.storage.inner.stop(stored.run, RunState.FAILED, forged)
    with pytest.raises(SignatureError, match="the failure in run"):
        stored.storage.failure(stored.run)


def test_a_small_input_that_comes_with_a_claim_is_checked_as_well(stored: Stored) -> None:
    stored.done(0)
    stored.forge(DataRef(0, "0.1.a"), pickle.dumps("forged"))
    with pytest.raises(SignatureError, match="value of segment 0"):
        stored.storage.owned(stored.run, Lineage(0, 1, "a"))


def test_a_specification_of_another_segment_is_refused(stored: Stored) -> None:
    key = prefix_of(stored.run) + "spec"
    stored.server.hset(key, "1", stored.server.hget(key, "2"))
    with pytest.raises(SignatureError, match="the specification of segment 1"):
        stored.done(0)


def test_a_failure_of_another_run_is_refused(stored: Stored) -> None:
    run = stored.run + "x"
    stored.storage.create(diamond(run))
    stored.storage.stop(run, RunState.FAILED, b"failure")
    assert stored.storage.failure(run) == b"failure"
    copied = stored.server.get(prefix_of(run) + "err")
    stored.storage.drop(run)
    stored.storage.inner.stop(stored.run, RunState.FAILED, bytes(copied))
    with pytest.raises(SignatureError):
        stored.storage.failure(stored.run)


def test_after_a_change_of_keys_both_are_valid_and_the_new_one_signs(stored: Stored) -> None:
    old = stored.done(0)
    changed = replace(stored, storage=SignedStorage(stored.storage.inner, keys(TWO, ONE)))
    assert changed.storage.read(stored.run, [old]) == [b"out0"]
    new = changed.done(1)
    assert changed.storage.read(stored.run, [new]) == [b"out1"]
    with pytest.raises(SignatureError, match="not signed with a key that is valid here"):
        stored.storage.read(stored.run, [new])
    ended = SignedStorage(stored.storage.inner, keys(TWO))
    with pytest.raises(SignatureError):
        ended.read(stored.run, [old])


def test_a_key_that_is_not_known_makes_who_reads_look_again_but_not_all_the_time() -> None:
    words, asked, now = [ONE], [], [0.0]

    def read(_: str, earlier: bool) -> list[str]:
        asked.append(earlier)
        return words

    ours = Keys("env:KEY", read, lambda: now[0])
    new = keys(TWO).first.id
    assert ours.first.id == keys(ONE).first.id
    assert ours.find(new) is None
    words[:] = [TWO]
    assert ours.find(new) is None
    assert asked == [False, True], "what is forged must not make everybody ask for keys"
    now[0] += AGAIN_SECONDS + 1
    found = ours.find(new)
    assert found is not None
    assert ours.first.id == new
    assert ours.find(keys(ONE).first.id) is not None, "what is in flight was signed with it"
    assert asked == [False, True, True]


def private(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)
    return f"file:{path}"


def test_a_file_may_hold_several_keys_the_first_one_signs(tmp_path: Path) -> None:
    assert read_words(private(tmp_path / "key", f"{TWO}\n{ONE}\n"), earlier=False) == [TWO, ONE]


WRONG: dict[str, tuple[Callable[[Path], str], str]] = {
    "no such file": (lambda path: f"file:{path / 'none'}", "cannot be read: No such file"),
    "a file of everybody": (lambda path: _shared_file(path), "others than its owner"),
    "no such variable": (lambda _: "env:WUKONG_NO_SUCH_KEY", "not a key of 32"),
    "too short": (lambda path: private(path / "key", "secret"), "not a key of 32"),
    "one of two too short": (lambda path: private(path / "key", f"{ONE} x"), "not a key of 32"),
    "no reference": (lambda _: "secret", "is no reference to a key"),
    "of another service": (lambda _: "arn:aws:s3:::bucket", "is no reference to a key"),
}


def _shared_file(path: Path) -> str:
    reference = private(path / "key", ONE)
    (path / "key").chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP)
    return reference


@pytest.mark.parametrize("what", WRONG)
def test_a_key_that_cannot_be_used_is_explained_before_anything_is_written(
    what: str, tmp_path: Path
) -> None:
    reference, why = WRONG[what]
    storage = open_storage("memory://wrong-key", reference(tmp_path))
    for step in (storage.ping, lambda: storage.create(diamond("run"))):
        with pytest.raises(SigningKeyError, match=why):
            step()
    assert storage.runs() == []
