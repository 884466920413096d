"""Reads HTTP/1.1 responses from bytes as they come; it does no I/O and knows no Lambda.

Strict, as framing that is guessed would give one request the answer of another: what is not
plainly HTTP/1.1 is an error, after which its connection is of no use.

https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_HEAD_BYTES = 65_536
MOST_BODY_BYTES = 8_000_000
"""Answers to asynchronous invocations have no body; errors have a short one."""

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n\0]*)?")
_FIELDS = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n\0]*)\r\n")
_LENGTH = re.compile(r"[0-9]{1,15}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n\0]*)?")
_BODILESS = frozenset({204, 304})


class HttpError(Exception):
    """Bytes that are not an HTTP/1.1 response."""


class Response(NamedTuple):
    """One whole response.

    Attributes
    ----------
    headers
        By name in lower case; a repeated one has its values joined with commas.
    reusable
        Whether another request may be sent over the same connection.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    reusable: bool


class Parser:
    """Reads the responses of one connection, one at a time.

    Parameters
    ----------
    to_connect
        The request was CONNECT, so a response of success has no body, whatever it says.
    """

    def __init__(self, *, to_connect: bool = False) -> None:
        self._to_connect = to_connect
        self._begin(b"")

    def _begin(self, rest: bytes) -> None:
        self._data = rest
        self._status = 0
        self._headers: dict[str, str] = {}
        self._reusable = False
        self._wanted: int | None = None  # bytes of body; None: until the connection closes
        self._chunked = False
        self._chunks: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Response | None:
        """Take bytes that have come; gives the response when it is complete.

        Raises
        ------
        HttpError
            If it is no HTTP/1.1, or longer than any answer of Lambda.
        """
        self._data = self._data + data if self._data else data
        while self._status == 0:
            if not self._read_head():
                return None
        if self._chunked:
            return self._finish() if self._read_chunks() else None
        if len(self._data) > MOST_BODY_BYTES:
            raise HttpError(f"a body of more than {MOST_BODY_BYTES} bytes")
        if self._wanted is None or len(self._data) < self._wanted:
            return None
        self._chunks.append(self._data[: self._wanted])
        self._data = self._data[self._wanted :]
        return self._finish()

    def end(self) -> Response | None:
        """Say that the connection has closed; gives the response if its status had come.

        What Lambda decided stands in the status, so a body that was cut off takes nothing away.
        """
        if self._status == 0:
            return None
        if not self._chunked:
            self._chunks.append(self._data)
        self._data, self._reusable = b"", False
        return self._finish()

    def _finish(self) -> Response:
        response = Response(
            self._status,
            self._headers,
            b"".join(self._chunks),
            # More than was asked for: the next response could not be told from it.
            self._reusable and not self._data,
        )
        self._begin(self._data)
        return response

    def _read_head(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0 or end > MOST_HEAD_BYTES:
            if len(self._data) > MOST_HEAD_BYTES:
                raise HttpError(f"headers of more than {MOST_HEAD_BYTES} bytes")
            return False
        status_line, _, fields = self._data[: end + 2].partition(b"\r\n")
        matched = _STATUS_LINE.fullmatch(status_line)
        if matched is None:
            raise HttpError(f"no HTTP/1.1 status line: {status_line!r:.80}")
        self._data = self._data[end + 4 :]
        status = int(matched[2])
        if status < 200:
            if status == 101:
                raise HttpError("switching protocols, which was not asked for")
            return bool(self._data)
        self._headers = _fields(fields)
        self._status = status
        self._frame(modern=matched[1] == b"1")
        return True

    def _frame(self, *, modern: bool) -> None:
        """Decide where the body ends (RFC 9112, section 6.3)."""
        options = self._headers.get("connection", "").lower()
        self._reusable = modern and "close" not in [one.strip() for one in options.split(",")]
        coding = self._headers.get("transfer-encoding")
        length = self._headers.get("content-length")
        if self._status in _BODILESS or (self._to_connect and self._status < 300):
            self._wanted = 0
        elif coding is not None:
            if length is not None or coding.lower() != "chunked" or not modern:
                raise HttpError(f"a body that may end in two places: {coding!r:.40}, {length!r}")
            self._chunked = True
        elif length is not None:
            values = {one.strip() for one in length.split(",")}
            value = values.pop()
            if values or not _LENGTH.fullmatch(value):
                raise HttpError(f"Content-Length: {length!r:.40}")
            self._wanted = int(value)
        else:
            self._wanted, self._reusable = None, False

    def _read_chunks(self) -> bool:
        """Take whole chunks; tells whether the last one, and the trailers, have come."""
        while (end := self._data.find(b"\r\n")) >= 0:
            matched = _CHUNK.fullmatch(self._data[:end])
            if matched is None:
                raise HttpError(f"no chunk size: {self._data[:end]!r:.40}")
            size = int(matched[1], 16)
            self._size += size
            if self._size > MOST_BODY_BYTES:
                raise HttpError(f"a body of more than {MOST_BODY_BYTES} bytes")
            if size == 0:
                return self._read_trailers(end)
            if len(self._data) < end + 2 + size + 2:
                self._size -= size
                return False
            if self._data[end + 2 + size : end + 4 + size] != b"\r\n":
                raise HttpError("a chunk without its end")
            self._chunks.append(self._data[end + 2 : end + 2 + size])
            self._data = self._data[end + 4 + size :]
        if len(self._data) > 1024:
            raise HttpError(f"no chunk size: {self._data!r:.40}")
        return False

    def _read_trailers(self, line_end: int) -> bool:
        end = self._data.find(b"\r\n\r\n", line_end)
        if end < 0:
            if len(self._data) > MOST_HEAD_BYTES:
                raise HttpError(f"trailers of more than {MOST_HEAD_BYTES} bytes")
            return False
        if end > line_end:
            _fields(self._data[line_end + 2 : end + 2])
        self._data = self._data[end + 4 :]
        return True


def _fields(data: bytes) -> dict[str, str]:
    text = data.decode("latin-1")
    headers: dict[str, str] = {}
    size = 0
    for field, padded in _FIELDS.findall(text):
        size += len(field) + len(padded) + 3
        name, value = field.lower(), padded.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if size != len(text):
        raise HttpError(f"lines that are no headers: {data!r:.200}")
    return headers
