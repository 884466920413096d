"""How large an overflow bundle is, and how fast it is unpacked, in formats that one could choose.

Method: the parts of a bundle that `wukong package` has built are unpacked, packed again part by
part in each format, and unpacked to a disk by as many threads as an Executor uses; the best of
three. Seconds are the processor's, which hardly depend on what else the machine does. `zst` needs
the package zstandard (before Python 3.14), which functions would have to carry.

    python benchmarks/bundle_formats.py dist [each how many of the parts]
"""

from __future__ import annotations

import importlib.util
import io
import shutil
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from executor.unpacking import PARTS_AT_ONCE
from wukong.platform.overflow import MANIFEST, bundles_in

Files = Mapping[str, bytes]


def zipped(method: int, level: int | None) -> Callable[[Files], bytes]:
    def pack(files: Files) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method, compresslevel=level) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return buffer.getvalue()

    return pack


def unzip(data: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)


def tarred(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def untar(data: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(folder, filter="data")


Format = tuple[Callable[[Files], bytes], Callable[[bytes, Path], None]]


def formats() -> dict[str, Format]:
    found: dict[str, Format] = {
        "zip, stored": (zipped(zipfile.ZIP_STORED, None), unzip),
        "zip, deflate 1": (zipped(zipfile.ZIP_DEFLATED, 1), unzip),
        "zip, deflate 6": (zipped(zipfile.ZIP_DEFLATED, 6), unzip),
        "zip, deflate 9": (zipped(zipfile.ZIP_DEFLATED, 9), unzip),
        "zip, lzma": (zipped(zipfile.ZIP_LZMA, None), unzip),
    }
    if importlib.util.find_spec("zstandard"):
        import zstandard

        for level in (3, 19):
            found[f"tar.zst {level}"] = (
                lambda files, level=level: zstandard.compress(tarred(files), level),  # type: ignore[misc]
                lambda data, folder: untar(zstandard.decompress(data), folder),
            )
    return found


def parts_of(place: Path) -> list[Files]:
    parts = []
    for bundle in bundles_in((place / MANIFEST).read_bytes(), str(place)):
        for part in bundle.parts:
            with zipfile.ZipFile(place / part.key) as archive:
                parts.append({name: archive.read(name) for name in archive.namelist()})
    return parts


def unpacked(parts: Sequence[bytes], unpack: Callable[[bytes, Path], None]) -> tuple[float, float]:
    """Give the seconds of the processor, and by the clock."""
    folder = Path(tempfile.mkdtemp())
    try:
        begun, used = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
            list(pool.map(lambda part: unpack(part, folder), parts))
        return time.process_time() - used, time.perf_counter() - begun
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parts = parts_of(Path(sys.argv[1]))[:: int(sys.argv[2]) if len(sys.argv) > 2 else 1]
    size = sum(len(data) for part in parts for data in part.values())
    print(f"{size / 1e6:.0f} MB in {sum(map(len, parts)):,} files, {len(parts)} parts")
    for name, (pack, unpack) in formats().items():
        begun = time.process_time()
        with ThreadPoolExecutor(2) as pool:
            packed = list(pool.map(pack, parts))
        packing = time.process_time() - begun
        used, best = min(unpacked(packed, unpack) for _ in range(3))
        total = sum(map(len, packed))
        print(
            f"{name:15} {total / 1e6:6.1f} MB, packed in {packing:6.1f} s, "
            f"unpacked in {used:5.2f} s ({best:.2f} by the clock), "
            f"read at 80 MB/s in {total / 80e6:4.1f} s"
        )


if __name__ == "__main__":
    main()
