"""A Valkey server as AWS offers it: nobody gets in without TLS, a name and a password.

The server in the wheel knows no TLS, so a tunnel in this process ends it, as a load balancer would.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from valkey import Valkey

from tests.certificate import make_certificate
from wukong.stack.valkey import EmbeddedValkey

USER, PASSWORD = "wukong", "pass/word@1"


@contextmanager
def secured_valkey(folder: Path) -> Iterator[str]:
    """Run a server, and give the URL with which it can be reached."""
    with EmbeddedValkey() as server:
        with closing(Valkey.from_url(server.url)) as admin:
            admin.acl_setuser(
                USER, enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], categories=["+@all"]
            )
            admin.acl_setuser("default", enabled=False)
        with behind_tls(server, folder) as address:
            word = PASSWORD.replace("/", "%2F").replace("@", "%40")
            yield f"valkeys://{USER}:{word}@{address}"


@contextmanager
def behind_tls(server: EmbeddedValkey, folder: Path) -> Iterator[str]:
    """Give the part of a URL, after the user, by which a server is reached with TLS."""
    certificate = make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    path = server.url.removeprefix("unix://")
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=_serve, args=(listener, context, path), daemon=True).start()
        port = listener.getsockname()[1]
        yield f"127.0.0.1:{port}?ssl_ca_certs={certificate}"


def _serve(listener: socket.socket, context: ssl.SSLContext, path: str) -> None:
    with suppress(OSError):
        while True:
            plain, _ = listener.accept()
            threading.Thread(target=_tunnel, args=(plain, context, path), daemon=True).start()


def _tunnel(plain: socket.socket, context: ssl.SSLContext, path: str) -> None:
    """Carry bytes both ways; TLS of Python may not be read and written at once, so in turns."""
    inside = socket.socket(socket.AF_UNIX)
    with suppress(OSError), plain, inside:
        inside.connect(path)
        with context.wrap_socket(plain, server_side=True) as outside:
            outside.settimeout(0.001)
            inside.settimeout(0.001)
            while True:
                for source, sink in ((outside, inside), (inside, outside)):
                    with suppress(TimeoutError, ssl.SSLWantReadError):
                        data = source.recv(1 << 16)
                        if not data:
                            return
                        sink.settimeout(30)
                        sink.sendall(data)
                        sink.settimeout(0.001)
