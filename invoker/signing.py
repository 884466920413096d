"""Signs asynchronous invocations: the first step of a request, after its payload is known.

AWS Signature Version 4, for the one operation that the Invoker calls. What does not change between
two requests to a function within one second is kept, so that a signature costs two hashes and one
HMAC. A test holds it equal to botocore's.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import time
from hashlib import sha256
from hmac import digest as hmac_digest
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING:
    from hashlib import _Hash as Hash
else:
    Hash = Any

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "lambda"
UNRESERVED = "-._~"
MOST_TEMPLATES = 64
"""A batch invokes one function, seldom two; more would be a leak."""


class Credentials(NamedTuple):
    """An access key, and the session token that comes with temporary ones."""

    access_key: str
    secret_key: str
    token: str | None = None


class _Template(NamedTuple):
    """What requests to one function have in common for a second."""

    second: int
    credentials: Credentials
    key: bytes
    canonical: Hash
    """The canonical request's hash, up to the hash of the payload."""
    to_sign: str
    head: str


class Signer:
    """Makes the header sections of requests to one endpoint.

    Parameters
    ----------
    host
        What the Host header says: with the port, unless it is the scheme's own.
    region
        Region that the endpoint belongs to.
    target
        What stands in the request line before the path: the path of the endpoint's own URL, and
        for a proxy that is not tunnelled through, everything.
    base
        The path of the endpoint's own URL, without a slash at its end.
    """

    def __init__(self, host: str, region: str, *, target: str = "", base: str = "") -> None:
        self._host = host
        self._region = region
        self._target = target or base
        self._base = base
        self._templates: dict[tuple[str, bool], _Template] = {}
        self._key: tuple[str, Credentials, bytes] | None = None
        self.extra_headers = ""
        """Header lines that are sent, but not signed; each ends with CR LF."""

    def head(
        self,
        function: str,
        payload: bytes,
        credentials: Credentials,
        now: float,
        *,
        waits: bool = False,
    ) -> bytes:
        """Give everything of the request that stands before its payload.

        Parameters
        ----------
        function
            Name, `name:alias`, `name:version` or ARN.
        now
            Seconds since 1970 (`time.time`).
        waits
            Whether the answer is to come when the function has ended.
        """
        template = self._templates.get((function, waits))
        if (
            template is None
            or template.second != int(now)
            or template.credentials is not credentials
        ):
            template = self._template(function, credentials, int(now), waits=waits)
        canonical = template.canonical.copy()
        canonical.update(sha256(payload).hexdigest().encode())
        to_sign = template.to_sign + canonical.hexdigest()
        signature = hmac_digest(template.key, to_sign.encode(), "sha256").hex()
        return (
            f"{template.head}{signature}\r\nContent-Length: {len(payload)}\r\n"
            f"{self.extra_headers}\r\n"
        ).encode()

    def _template(
        self, function: str, credentials: Credentials, second: int, *, waits: bool
    ) -> _Template:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        scope = f"{stamp[:8]}/{self._region}/{SERVICE}/aws4_request"
        path = f"/2015-03-31/functions/{quote(function, safe=UNRESERVED)}/invocations"
        headers = {
            "host": self._host,
            "x-amz-date": stamp,
            "x-amz-invocation-type": "RequestResponse" if waits else "Event",
        }
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        names = ";".join(headers)
        # The path is quoted once more than it is sent, as for all services but S3.
        canonical = f"POST\n{quote(self._base + path, safe='/~')}\n\n{lines}\n{names}\n"
        sent = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        template = _Template(
            second,
            credentials,
            self._derived(stamp[:8], credentials),
            sha256(canonical.encode()),
            f"{ALGORITHM}\n{stamp}\n{scope}\n",
            f"POST {self._target}{path} HTTP/1.1\r\n{sent}User-Agent: wukong\r\n"
            f"Authorization: {ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature=",
        )
        if len(self._templates) >= MOST_TEMPLATES:
            self._templates.clear()
        self._templates[function, waits] = template
        return template

    def _derived(self, day: str, credentials: Credentials) -> bytes:
        if self._key is not None and self._key[:2] == (day, credentials):
            return self._key[2]
        key = f"AWS4{credentials.secret_key}".encode()
        for part in (day, self._region, SERVICE, "aws4_request"):
            key = hmac_digest(key, part.encode(), "sha256")
        self._key = (day, credentials, key)
        return key
