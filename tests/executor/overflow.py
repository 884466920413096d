"""What tests of overflow bundles share: a tiny bundle, and a store of parts that misbehaves."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from wukong.packaging.overflow import build_bundle
from wukong.packaging.target import Target
from wukong.platform.overflow import OverflowBundle

SOURCES = {
    "tinypack/__init__.py": "from tinypack.deep import answer\n",
    "tinypack/deep.py": "def answer():\n    return 42\n",
    "tinypack/data.txt": "data beside the code\n",
    "tinypack-1.5.dist-info/METADATA": "Metadata-Version: 2.1\nName: tinypack\nVersion: 1.5\n",
    "tinysingle.py": "WHERE = __file__\n",
}


def tiny_bundle(folder: Path) -> OverflowBundle:
    """Build a bundle of a few small modules; its parts are in `folder`/bundles."""
    sources = folder / "sources"
    for inside, text in SOURCES.items():
        file = sources / inside
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    files = {inside: sources / inside for inside in SOURCES}
    versions = {"tinypack": "1.5"}
    return build_bundle("tiny", files, versions, Target.this_machine(), folder)


def forget_tiny() -> None:
    """Have the next import of the bundle's modules be the first one."""
    for name in [one for one in sys.modules if one.partition(".")[0] in {"tinypack", "tinysingle"}]:
        del sys.modules[name]


class FaultyStore(ThreadingHTTPServer):
    """Answers GetObject from a folder, as S3 does, but for the faults it was told.

    Attributes
    ----------
    faults
        What is done to requests, one after another: `cut` (half of it is sent), a status, or `ok`.
    ranges
        The ranges that were asked for.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.faults: list[str] = []
        self.ranges: list[tuple[int, int]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FaultyStore

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        fault = self.server.faults.pop(0) if self.server.faults else "ok"
        file = self.server.folder / self.path.partition("?")[0].split("/", 2)[2]
        if fault.isdecimal():
            return self._refuse(int(fault), {"403": "AccessDenied"}.get(fault, "InternalError"))
        if not file.exists():
            return self._refuse(404, "NoSuchKey")
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert found is not None
        begin, end = int(found[1]), int(found[2]) + 1
        self.server.ranges.append((begin, end))
        whole = file.read_bytes()
        data = whole[begin:end]
        self.send_response(206)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(whole)}")
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)
        if fault == "cut":
            self.close_connection = True
        return None

    def _refuse(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>told so</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def faulty_store(folder: Path) -> Iterator[FaultyStore]:
    """Serve a folder on a port of its own."""
    server = FaultyStore(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
