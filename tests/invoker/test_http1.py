"""Responses: read alike however their bytes are cut, and refused if their end is in doubt."""

from __future__ import annotations

import pytest

from invoker.http1 import HttpError, Parser, Response

GOOD = [
    (
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nX-A: 1\r\nx-a:  2 \r\n\r\n",
        Response(202, {"content-length": "0", "x-a": "1, 2"}, b"", True),
    ),
    (
        b"HTTP/1.1 429 \r\nContent-Length: 2, 2\r\n\r\nno",
        Response(429, {"content-length": "2, 2"}, b"no", True),
    ),
    (
        b"HTTP/1.1 500\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n",
        Response(500, {"transfer-encoding": "chunked"}, b"abc0123456789", True),
    ),
    (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 A\r\nConnection: x, Close\r\n"
        b"Content-Length: 1\r\n\r\n.",
        Response(202, {"connection": "x, Close", "content-length": "1"}, b".", False),
    ),
    (
        b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n",
        Response(204, {"content-length": "7"}, b"", True),
    ),
    (
        b"HTTP/1.0 202 Old\r\nContent-Length: 0\r\n\r\n",
        Response(202, {"content-length": "0"}, b"", False),
    ),
]

BAD = [
    b"HTTP/2 202 Accepted\r\n\r\n",
    b"HTTP/1.1 20 Short\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n\r\n",
    b"HTTP/1.1 202 A\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 202 A\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 202 A\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 202 A\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"HTTP/1.1 202 A\r\nContent-Length : 1\r\n\r\n",
    b"HTTP/1.1 202 A\r\nA: b\r\n folded\r\n\r\n",
    b"HTTP/1.1 202 A\r\nA: b\nC: d\r\n\r\n",
    b"HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
    b"HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\n\r\n",
    b"HTTP/1.1 202 A\r\nA: " + b"x" * 70_000,
]


@pytest.mark.parametrize(("data", "expected"), GOOD)
def test_a_response_is_read_alike_however_it_is_cut(data: bytes, expected: Response) -> None:
    for size in range(1, len(data) + 1):
        parser = Parser()
        parts = [data[at : at + size] for at in range(0, len(data), size)]
        found = [response for part in parts if (response := parser.feed(part)) is not None]
        assert found == [expected]
        assert parser.end() is None


@pytest.mark.parametrize("data", BAD)
def test_what_is_not_plainly_http_is_refused(data: bytes) -> None:
    with pytest.raises(HttpError):
        Parser().feed(data)


def test_the_end_of_a_connection_ends_a_body_of_unknown_length() -> None:
    parser = Parser()
    assert parser.feed(b"HTTP/1.1 403 No\r\n\r\nsome") is None
    assert parser.feed(b"thing") is None
    assert parser.end() == Response(403, {}, b"something", False)


def test_a_status_that_has_come_counts_although_its_body_is_cut_off() -> None:
    parser = Parser()
    assert parser.feed(b"HTTP/1.1 202 A\r\nContent-Length: 9\r\n\r\nsome") is None
    ended = parser.end()
    assert ended is not None
    assert (ended.status, ended.body, ended.reusable) == (202, b"some", False)


def test_more_than_one_response_makes_a_connection_useless() -> None:
    one = b"HTTP/1.1 202 A\r\nContent-Length: 0\r\n\r\n"
    response = Parser().feed(one + one)
    assert response is not None
    assert not response.reusable


def test_a_tunnel_has_no_body_whatever_its_headers_say() -> None:
    parser = Parser(to_connect=True)
    response = parser.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert response is not None
    assert response.body == b""
