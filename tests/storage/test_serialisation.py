"""Values as bytes: large buffers are not copied into the pickle, and come back as they were."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from wukong.storage.serialisation import OUT_OF_BAND_BYTES, Frames, loads, pack

LARGE = OUT_OF_BAND_BYTES // 8


def again(value: object) -> object:
    return loads(bytes(pack(value)))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(3.0),
        np.arange(LARGE),
        np.arange(4 * LARGE).reshape(4, -1).T,
        np.arange(4 * LARGE)[::2],
        np.zeros((0, 5)),
        np.array([{"a": 1}] * LARGE, dtype=object),
        np.arange(LARGE + 1, dtype="u1").astype("S3"),
    ],
    ids=["small", "large", "fortran", "strided", "empty", "objects", "text"],
)
def test_an_array_comes_back_as_it_was(array: np.ndarray) -> None:
    found = again([array, "and more", array])
    assert isinstance(found, list)
    assert found[0].dtype == array.dtype
    assert np.array_equal(found[0], array)
    assert found[0] is found[2]


def test_large_buffers_are_not_copied() -> None:
    array = np.arange(LARGE)
    packed = pack({"large": array, "small": np.arange(3)})
    assert isinstance(packed, Frames)
    shared = [piece for piece in packed.pieces if isinstance(piece, memoryview)]
    assert [np.shares_memory(array, np.frombuffer(piece, "u1")) for piece in shared] == [True]
    assert len(packed) == len(bytes(packed))


def test_what_was_writable_is_writable_again_and_what_was_not_is_not() -> None:
    one, other = np.arange(LARGE), np.arange(LARGE)
    other.flags.writeable = False
    first, second = again((one, other))  # type: ignore[misc]
    assert (first.flags.writeable, second.flags.writeable) == (True, False)


def test_arrays_are_aligned_as_malloc_aligns_them() -> None:
    for array in loads(bytearray(bytes(pack([np.arange(LARGE + i) for i in range(5)])))):
        assert array.ctypes.data % 16 == 0


def test_a_frame_comes_back_as_it_was() -> None:
    frame = pd.DataFrame({"a": np.arange(2 * LARGE), "b": np.arange(2 * LARGE) / 3})
    assert isinstance(pack(frame), Frames)
    pd.testing.assert_frame_equal(again(frame), frame)
