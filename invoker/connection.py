"""One connection to Lambda's endpoint: TCP, a proxy's tunnel if there is one, TLS, and requests.

TLS runs on memory buffers between the socket and the parser, so that it works alike through a
tunnel, and a connection needs about 40 KB: asyncio's own TLS sets a quarter of a megabyte aside
for each.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple, Protocol, cast

from invoker.http1 import HttpError, Parser, Response

READ_BYTES = 65_536


class Origin(NamedTuple):
    """What connections lead to.

    Attributes
    ----------
    host, port
        The endpoint.
    tls
        Settings of TLS; None for a plain endpoint.
    tunnel
        What opens the tunnel through a proxy (CONNECT); None without one.
    address
        What the TCP connection is made to: the endpoint, or the proxy.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    tunnel: bytes | None
    address: tuple[str, int]


class Listener(Protocol):
    """Who uses connections."""

    def answered(self, connection: Connection, response: Response) -> None:
        """Take the answer to the request that was sent last."""

    def lost(self, connection: Connection, reason: str) -> None:
        """Take note that an open connection is gone, and with it the answer that it owed."""


class Shared:
    """What all connections of one origin share: a buffer to read into, and the TLS session."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(READ_BYTES))
        self.session: ssl.SSLSession | None = None


class Connection(asyncio.BufferedProtocol):
    """Sends one request at a time and tells its listener what came of it."""

    def __init__(self, origin: Origin, listener: Listener, shared: Shared) -> None:
        self._origin = origin
        self._listener = listener
        self._shared = shared
        self._transport: asyncio.Transport | None = None
        self._parser = Parser(to_connect=origin.tunnel is not None)
        self._take: Callable[[bytes], None] = self._take_plain
        self._waiting = False
        self._knows_session = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.opened.add_done_callback(_heard)
        """Done when requests can be sent; fails with why they cannot."""

    def send(self, request: bytes) -> bool:
        """Send a request; gives False, with nothing sent, if the connection is closing."""
        if self._transport is None or self._transport.is_closing():
            return False
        if self._origin.tls is not None:
            try:
                self._tls.write(request)
            except ssl.SSLError:
                self.abandon()
                return False
            request = self._outgoing.read()
        self._waiting = True
        self._transport.write(request)
        return True

    def abandon(self) -> None:
        """Close at once; the listener hears no more of it."""
        self._listener = _NOBODY
        self._waiting = False
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the first layer that there is."""
        self._transport = cast("asyncio.Transport", transport)
        if self._origin.tunnel is not None:
            self._take = self._take_tunnel
            self._transport.write(self._origin.tunnel)
        else:
            self._begin_tls()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Give where to read to; what comes is taken out before anything else is read."""
        return self._shared.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has come."""
        try:
            self._take(bytes(self._shared.buffer[:nbytes]))
        except (HttpError, ssl.SSLError) as error:
            self._end(error)

    def eof_received(self) -> bool:
        """Let the transport close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._end(exc or ConnectionResetError("the connection was closed"))

    # Layers, from the socket upwards.

    def _take_tunnel(self, data: bytes) -> None:
        response = self._parser.feed(data)
        if response is None:
            return
        if response.status >= 300:
            raise HttpError(f"the proxy refuses the tunnel with status {response.status}")
        self._parser = Parser()
        self._take = self._take_plain
        self._begin_tls()

    def _begin_tls(self) -> None:
        if self._origin.tls is None:
            self.opened.set_result(None)
            return
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = self._origin.tls.wrap_bio(
            self._incoming,
            self._outgoing,
            server_hostname=self._origin.host,
            session=self._shared.session,
        )
        self._take = self._take_handshake
        self._take_handshake(b"")

    def _take_handshake(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        finally:
            self._flush()
        self._take = self._take_tls
        if not self.opened.done():
            self.opened.set_result(None)
        if self._incoming.pending:
            self._take_tls(b"")

    def _take_tls(self, data: bytes) -> None:
        self._incoming.write(data)
        try:
            while self._incoming.pending or self._tls.pending():
                plain = self._tls.read(READ_BYTES)
                if not plain:
                    break
                self._take_plain(plain)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._end(ConnectionResetError("the connection was closed"))
            return
        if self._outgoing.pending:
            self._flush()

    def _take_plain(self, data: bytes) -> None:
        response = self._parser.feed(data)
        if not self._waiting:
            raise HttpError("bytes that answer no request")
        if response is not None:
            self._keep_session()
            self._answer(response)

    def _answer(self, response: Response) -> None:
        self._waiting = False
        if response.reusable:
            self._listener.answered(self, response)
            return
        listener = self._listener
        self.abandon()
        listener.answered(self, response)

    def _keep_session(self) -> None:
        """Let the next connection resume this one's TLS session, which saves it the certificate.

        Only now, as the ticket comes after the handshake.
        """
        if not self._knows_session and self._origin.tls is not None:
            self._knows_session = True
            self._shared.session = self._tls.session

    def _flush(self) -> None:
        if self._transport is not None and (data := self._outgoing.read()):
            self._transport.write(data)

    def _end(self, error: Exception) -> None:
        listener = self._listener
        if self._waiting and (response := self._parser.end()) is not None:
            self._answer(response)
            return
        self.abandon()
        if not self.opened.done():
            self.opened.set_exception(error)
        elif not self.opened.cancelled():
            listener.lost(self, f"{type(error).__name__}: {error}")


def _heard(opened: asyncio.Future[None]) -> None:
    """Take note of a failure that nobody waits for any more."""
    if not opened.cancelled():
        opened.exception()


class _Nobody:
    def answered(self, connection: Connection, response: Response) -> None:
        """Ignore it."""

    def lost(self, connection: Connection, reason: str) -> None:
        """Ignore it."""


_NOBODY = _Nobody()


async def connect(origin: Origin, ip: str, listener: Listener, shared: Shared) -> Connection:
    """Open a connection to one address of the origin.

    Raises
    ------
    OSError
        If there is none; `ssl.SSLError` is one.
    HttpError
        If the proxy refuses.
    """
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: Connection(origin, listener, shared), ip, origin.address[1]
    )
    with ExitStack() as undo:
        # A cancellation too, as of a connection that takes too long: its socket must not stay open.
        undo.callback(connection.abandon)
        await connection.opened
        undo.pop_all()
    return connection
