"""What is sent compressed is what is sent faster so."""

from __future__ import annotations

import numpy as np

from executor.compression import LARGE_BYTES, Compression
from wukong.storage.serialisation import Frames, loads, pack

SLOW, FAST = 1e6, 1e12
"""Bytes a second: of a store that is worth any pains, and of one that is worth none."""

SERIES = np.round(np.arange(LARGE_BYTES) / 7)
NOISE = np.random.default_rng(0).random(LARGE_BYTES)


def over(rate: float, value: object) -> object:
    compression = Compression()
    compression.sent(int(rate), 1.0)
    return compression.packed(pack(value))


def test_what_compresses_well_is_compressed_for_a_slow_store_and_comes_back_writable() -> None:
    packed = over(SLOW, SERIES)
    assert isinstance(packed, bytes)
    assert len(packed) < SERIES.nbytes / 2
    found = loads(packed)
    assert np.array_equal(found, SERIES)
    assert found.flags.writeable


def test_nothing_is_compressed_for_a_fast_store() -> None:
    assert isinstance(over(FAST, SERIES), Frames)


def test_noise_is_sent_as_it_is() -> None:
    assert isinstance(over(75e6, NOISE), Frames)


def test_what_is_small_is_sent_as_it_is_and_says_nothing_of_the_rate() -> None:
    assert loads(bytes(over(SLOW, "x" * 100))) == "x" * 100  # type: ignore[call-overload]
    compression = Compression()
    compression.sent(100, 10.0)
    assert compression.bytes_per_second is None


def test_before_anything_was_sent_nothing_is_known() -> None:
    assert isinstance(Compression().packed(pack(SERIES)), Frames)


def test_text_is_compressed_too() -> None:
    text = "a word and another " * LARGE_BYTES
    assert loads(over(SLOW, text)) == text  # type: ignore[arg-type]
