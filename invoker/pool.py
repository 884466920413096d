"""The connections of one engine: opened a few at a time, kept while they are fresh.

Functions are frozen between invocations, and what a peer has closed meanwhile is noticed late, or
never if a NAT gateway has forgotten the connection: what was idle for long is not used again.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable

from invoker.connection import Connection, Listener, Origin, Shared, connect
from invoker.http1 import HttpError
from invoker.pace import pause

OPENED_AT_ONCE = 16
"""A handshake costs more of the processor than many requests, which wait meanwhile."""

FRESH_SECONDS = 30.0
"""Below the idle time after which endpoints and NAT gateways drop connections."""

ADDRESS_SECONDS = 30.0


class Pool:
    """Opens connections and keeps those that are idle.

    Parameters
    ----------
    listener
        Who hears of answers and losses.
    on_opened
        Called when a connection has become idle by being opened.
    connect_seconds
        How long opening one may take.
    """

    def __init__(
        self,
        origin: Origin,
        listener: Listener,
        on_opened: Callable[[], None],
        connect_seconds: float,
    ) -> None:
        self._origin = origin
        self._listener = listener
        self._on_opened = on_opened
        self._seconds = connect_seconds
        self._shared = Shared()
        self._idle: dict[Connection, float] = {}
        self._open: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._addresses: list[str] = []
        self._resolved = float("-inf")
        self._failures = 0
        self._again = float("-inf")
        self._down_since: float | None = None
        self.trouble = ""
        """Why the latest attempt to open a connection failed."""

    @property
    def size(self) -> int:
        """How many connections are open or being opened."""
        return len(self._open) + len(self._opening)

    @property
    def opening(self) -> int:
        """How many connections are being opened."""
        return len(self._opening)

    def take(self) -> Connection | None:
        """Give the idle connection that was used last."""
        return self._idle.popitem()[0] if self._idle else None

    def give(self, connection: Connection) -> None:
        """Take back an open connection that has nothing to do."""
        self._idle[connection] = time.time()

    def forget(self, connection: Connection) -> None:
        """Take note that a connection is gone."""
        self._idle.pop(connection, None)
        self._open.discard(connection)

    def can_open(self, now: float) -> bool:
        """Tell whether one more may be opened now (`loop.time`)."""
        return len(self._opening) < OPENED_AT_ONCE and now >= self._again

    def open(self) -> None:
        """Begin to open a connection."""
        task = asyncio.get_running_loop().create_task(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def is_down(self, now: float, seconds: float) -> bool:
        """Tell whether for so many seconds there was no connection, though some were tried.

        A certificate that does not hold is no matter of time.
        """
        if self._down_since is None or self._open:
            return False
        return now - self._down_since >= seconds

    async def freshen(self) -> None:
        """Drop what is not to be used again after a pause."""
        # By the wall clock, the only one that surely goes on while a function is frozen.
        oldest = time.time() - FRESH_SECONDS
        for connection, since in list(self._idle.items()):
            if since < oldest:
                self.forget(connection)
                connection.abandon()
        self._failures, self._again, self._down_since = 0, float("-inf"), None
        # One turn of the loop to see what peers have closed, one to act on it.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def settle(self) -> None:
        """End what is being opened, as nothing can finish it while the function is frozen."""
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)

    def close(self) -> None:
        """Close all connections."""
        for connection in self._open:
            connection.abandon()
        self._open.clear()
        self._idle.clear()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        ip = ""
        try:
            async with asyncio.timeout(self._seconds):
                ip = await self._address()
                connection = await connect(self._origin, ip, self._listener, self._shared)
        # UnicodeError: a host name that cannot be looked up.
        except (OSError, HttpError, UnicodeError) as error:
            self._failed(error, ip, loop.time())
            return
        self._failures, self._down_since = 0, None
        self._open.add(connection)
        self.give(connection)
        self._on_opened()

    async def _address(self) -> str:
        """Give addresses of the endpoint in turn: it has several, for its own balance."""
        loop = asyncio.get_running_loop()
        if not self._addresses or loop.time() - self._resolved > ADDRESS_SECONDS:
            host, port = self._origin.address
            found = await loop.getaddrinfo(host, port, type=1)
            self._addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
            self._resolved = loop.time()
        ip = self._addresses.pop(0)
        self._addresses.append(ip)
        return ip

    def _failed(self, error: Exception, ip: str, now: float) -> None:
        if ip in self._addresses:
            self._addresses.remove(ip)
        if isinstance(error, TimeoutError):
            error = TimeoutError(f"no connection within {self._seconds:g} seconds")
        host, port = self._origin.address
        self.trouble = f"{type(error).__name__}: {error} ({host}:{port})"
        self._failures += 1
        if not self._addresses:
            self._again = now + pause(min(self._failures, 4))
        if self._down_since is None:
            self._down_since = now
        if isinstance(error, ssl.SSLCertVerificationError):
            self._down_since = float("-inf")
