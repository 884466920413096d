"""An Invoke API over TLS that misbehaves as a test decides: real sockets, a thread for each."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

Act = Callable[[ssl.SSLSocket], bool]
"""What is done instead of an answer; tells whether the connection goes on."""


@dataclass(frozen=True)
class Request:
    """One invocation: which event, how often it has come, and its headers."""

    segment: int
    attempt: int
    headers: dict[str, str]
    number: int


def answer(status: int, body: str = "", **headers: str) -> Act:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    text = f"HTTP/1.1 {status} x\r\n{lines}Content-Length: {len(body)}\r\n\r\n{body}"

    def act(connection: ssl.SSLSocket) -> bool:
        connection.sendall(text.encode())
        return headers.get("Connection") != "close"

    return act


accept = answer(202)
throttle = answer(429, '{"Message": "slower"}', x_amzn_ErrorType="TooManyRequestsException")
expired = answer(
    403,
    '{"message": "The security token included in the request is expired"}',
    x_amzn_ErrorType="ExpiredTokenException",
)


def reset(connection: ssl.SSLSocket) -> bool:
    """Drop the connection as a machine that dies does: with RST, and no word of TLS."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def accept_and_close(connection: ssl.SSLSocket) -> bool:
    """Answer and close, without having said that it would."""
    accept(connection)
    return False


def cut_off(connection: ssl.SSLSocket) -> bool:
    """Accept, but die before the answer's body is complete."""
    connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{")
    return False


class FaultyServer:
    """Serves on one port, which it keeps when it is stopped and started again."""

    def __init__(self, certificate: Path) -> None:
        self.decide: Callable[[Request], Act] = lambda request: accept
        self.tries: Counter[int] = Counter()
        self.accepted: Counter[int] = Counter()
        self.port = 0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.start()

    @property
    def connections(self) -> int:
        return len(self._connections)

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self.port = self._listener.getsockname()[1]
        self._run(self._accept, self._listener)

    def stop(self) -> None:
        """Die: nobody listens, and all connections are gone."""
        # Wakes the thread that waits in accept, which closing alone does not.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()

    def drop_connections(self) -> None:
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._connections.clear()

    def close(self) -> None:
        self.stop()
        for thread in self._threads:
            thread.join()

    def _run(self, target: Callable[[socket.socket], None], argument: socket.socket) -> None:
        thread = threading.Thread(target=target, args=(argument,))
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with self._lock:
                    self._connections.add(connection)
                self._run(self._serve, connection)

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError), plain:
            with self._context.wrap_socket(plain, server_side=True) as connection:
                with self._lock:
                    self._connections.discard(plain)
                    self._connections.add(connection)
                try:
                    while (request := self._read(connection)) is not None:
                        if not self._act(connection, request):
                            break
                finally:
                    with self._lock:
                        self._connections.discard(connection)

    def _act(self, connection: ssl.SSLSocket, request: Request) -> bool:
        act = self.decide(request)
        if act in {accept, accept_and_close, cut_off}:
            with self._lock:
                self.accepted[request.segment] += 1
        return act(connection)

    def _read(self, connection: ssl.SSLSocket) -> Request | None:
        data = b""
        while b"\r\n\r\n" not in data:
            part = connection.recv(65_536)
            if not part:
                return None
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")[1:]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers["content-length"]):
            body += connection.recv(65_536)
        segment = json.loads(body)["starts"][0][0]
        with self._lock:
            self.tries[segment] += 1
            return Request(segment, self.tries[segment], headers, self.tries.total())
