"""A stub of Lambda's Invoke API over TLS, for benchmarks/fanout.py: a process of its own.

It checks the headers of each request, the form of its signature, the length of its body, and that
none comes twice (by its first and last bytes); what is wrong gets status 400.
`PUT /LATENCY/THROTTLES` sets how long it waits before each answer, and whether every second request
is throttled; it tells what was accepted since the last one, and the CPU time that it took.

    python benchmarks/invoke_stub.py CERTIFICATE CORE      prints its port
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import re
import selectors
import socket
import ssl
import sys
import time
from pathlib import Path

AUTHORIZATION = re.compile(
    rb"\r\nAuthorization: AWS4-HMAC-SHA256 Credential=key/[0-9]{8}/us-east-1/lambda/aws4_request, "
    rb"SignedHeaders=([a-z0-9;-]+), Signature=[0-9a-f]{64}\r\n"
)
SIGNED = {b"host", b"x-amz-date", b"x-amz-invocation-type", b"x-amz-security-token"}
LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n", re.IGNORECASE)
INVOKE = re.compile(rb"POST /2015-03-31/functions/E%3A1/invocations HTTP/1\.1\r\n")
EVENT = re.compile(rb"\r\nx-amz-invocation-type: Event\r\n", re.IGNORECASE)
CONTROL = re.compile(rb"PUT /([0-9.]+)/([01]) HTTP/1\.1\r\n")
ACCEPTED = (
    b"HTTP/1.1 202 Accepted\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 0\r\n"
    b"Connection: keep-alive\r\nx-amzn-RequestId: 3f8a4c52-5b7e-4a55-9d4e-0f6b8f9c2d11\r\n"
    b"X-Amzn-Trace-Id: Root=1-6955b900-1f2e3d4c5b6a798897a6b5c4;Sampled=0\r\n\r\n"
)
THROTTLED = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: 51\r\n"
    b"Connection: keep-alive\r\nx-amzn-ErrorType: TooManyRequestsException\r\n\r\n"
    b'{"Reason":"CallerRateLimitExceeded","Message":"no"}'
)
MARK = 200
"""Bytes at either end of a body that tell it from others: hashing all takes longer than TLS."""

WRONG = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad"


class Stub:
    """Answers every connection from one loop."""

    def __init__(self, certificate: Path) -> None:
        self.selector = selectors.DefaultSelector()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.bodies: set[bytes] = set()
        self.buffer = memoryview(bytearray(65_536))
        self.late: list[tuple[float, int, ssl.SSLSocket, bytes]] = []
        self.parts: dict[ssl.SSLSocket, bytearray] = {}
        self.latency, self.throttles = 0.0, False
        self.number = itertools.count()

    def serve(self) -> None:
        while True:
            wait = max(0.0, self.late[0][0] - time.monotonic()) if self.late else None
            for key, _ in self.selector.select(wait):
                if isinstance(key.fileobj, ssl.SSLSocket):
                    self.read(key.fileobj)
                else:
                    self.accept()
            while self.late and self.late[0][0] <= time.monotonic():
                _, _, connection, answer = heapq.heappop(self.late)
                self.send(connection, answer)

    def accept(self) -> None:
        plain, _ = self.listener.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setblocking(False)
        connection = self.context.wrap_socket(plain, True, do_handshake_on_connect=False)
        self.parts[connection] = bytearray()
        self.selector.register(connection, selectors.EVENT_READ)

    def read(self, connection: ssl.SSLSocket) -> None:
        parts = self.parts[connection]
        try:
            while True:
                size = connection.recv_into(self.buffer)
                if not size:
                    self.drop(connection)
                    return
                parts += self.buffer[:size]
                # Most requests come whole: this saves asking for more, which is an exception.
                if not connection.pending() and size < 16_384:
                    break
        except ssl.SSLWantReadError:
            pass
        except OSError:
            self.drop(connection)
            return
        self.take(connection, parts)

    def take(self, connection: ssl.SSLSocket, parts: bytearray) -> None:
        end = parts.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(parts[: end + 2])
        found = LENGTH.search(head)
        size = int(found[1]) if found else 0
        if len(parts) >= end + 4 + size:
            is_whole = len(parts) == end + 4 + size
            mark = bytes(parts[end + 4 : end + 4 + MARK] + parts[-MARK:]) if is_whole else b""
            parts.clear()
            self.request(connection, head, mark)

    def request(self, connection: ssl.SSLSocket, head: bytes, mark: bytes) -> None:
        if control := CONTROL.match(head):
            said = json.dumps({"bodies": len(self.bodies), "cpu": time.process_time()})
            self.latency, self.throttles = float(control[1]), control[2] == b"1"
            self.bodies.clear()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(said)}\r\n\r\n".encode()
            self.send(connection, head + said.encode())
            return
        answer = self.answer(head, mark)
        if self.latency:
            due = time.monotonic() + self.latency
            heapq.heappush(self.late, (due, next(self.number), connection, answer))
        else:
            self.send(connection, answer)

    def answer(self, head: bytes, mark: bytes) -> bytes:
        signed = AUTHORIZATION.search(head)
        if not INVOKE.match(head) or not EVENT.search(head) or signed is None:
            return WRONG
        if not set(signed[1].split(b";")) >= SIGNED or not mark or mark in self.bodies:
            return WRONG
        if self.throttles and next(self.number) % 2:
            return THROTTLED
        self.bodies.add(mark)
        return ACCEPTED

    def send(self, connection: ssl.SSLSocket, answer: bytes) -> None:
        if connection in self.parts:
            try:
                connection.send(answer)
            except OSError:
                self.drop(connection)

    def drop(self, connection: ssl.SSLSocket) -> None:
        if self.parts.pop(connection, None) is not None:
            self.selector.unregister(connection)
            connection.close()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[2])})
    stub = Stub(Path(sys.argv[1]))
    print(stub.listener.getsockname()[1], flush=True)
    stub.serve()
