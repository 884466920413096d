"""Compresses an output where that is quicker than to send it as it is, by what was measured here.

How fast the store takes bytes is known from earlier outputs, how well and how fast this one can be
compressed from a sample of it. So nothing is compressed on one machine, and random numbers nowhere;
through the network of a small function, series and text are (benchmarks/compression.py).
"""

from __future__ import annotations

import time
import zlib
from functools import lru_cache

from wukong.storage import Storage
from wukong.storage.serialisation import Packed, compressed, pieces_of

LARGE_BYTES = 262_144
SAMPLE_BYTES = 65_536
LEVEL = 1

FAST_BYTES_PER_SECOND = 400e6
"""Faster than anything worth sending can be compressed; then no sample is taken."""

UNKNOWN_BYTES_PER_SECOND = 75e6
"""What the network of a small function gives (docs/engine.md), as long as nothing was measured."""

TRIP_SECONDS = 0.002
"""Several round trips of a network."""

UNPACKING = 0.4
"""How long unpacking takes, of the time that compressing took: 0.16 to 0.4 for what is worth it."""

NEWEST = 0.5
"""How much the newest measurement counts."""


class Compression:
    """What one process knows of the way to its store."""

    def __init__(self) -> None:
        self.bytes_per_second: float | None = None

    def sent(self, size: int, seconds: float) -> None:
        """Learn from what was sent; small messages say nothing of the rate."""
        if size >= LARGE_BYTES and seconds > 0:
            before = self.bytes_per_second or size / seconds
            self.bytes_per_second = before + NEWEST * (size / seconds - before)

    def seconds_for(self, size: int) -> float:
        """Give how long the store takes to take, or to give, so many bytes."""
        return size / (self.bytes_per_second or UNKNOWN_BYTES_PER_SECOND)

    def is_slow(self, output: Packed) -> bool:
        """Tell whether sending an output takes so long that a round trip to spare it may pay."""
        return len(output) >= LARGE_BYTES and self.seconds_for(len(output)) > TRIP_SECONDS

    def packed(self, output: Packed) -> Packed:
        """Give an output, compressed if that pays for being written once and read once."""
        rate = self.bytes_per_second
        if rate is None or rate > FAST_BYTES_PER_SECOND or len(output) < LARGE_BYTES:
            return output
        sample = _sample(output)
        begun = time.perf_counter()
        ratio = len(zlib.compress(sample, LEVEL)) / len(sample)
        cost = (time.perf_counter() - begun) / len(sample) * (1 + UNPACKING)
        saved = 2 * (1 - ratio) / rate
        return compressed(output, LEVEL) if cost < saved else output


@lru_cache(maxsize=1)
def compression_for(_: Storage) -> Compression:
    """Give what this process knows, one object for all its Executors one after another."""
    return Compression()


def _sample(output: Packed) -> bytes:
    """Take bytes out of the middle of the largest piece, where the data is."""
    largest = memoryview(max(pieces_of(output), key=len))
    begin = max(0, (largest.nbytes - SAMPLE_BYTES) // 2)
    return bytes(largest[begin : begin + SAMPLE_BYTES])
