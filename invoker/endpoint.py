"""Where Lambda is and who asks it, as boto3 would find out; asked once for an environment.

Inside a function everything stands in its environment, and importing botocore would cost a cold
start more than all the rest together, so there it is read directly. Wherever more than that may
count (profiles, configuration files, partitions, FIPS and so on), botocore decides.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from invoker.connection import Origin
from invoker.signing import Credentials, Signer
from wukong.platform.interface import PlatformError

PORTS = {"http": 80, "https": 443}

_PLAIN_REGION = re.compile(r"(af|ap|ca|eu|il|me|mx|sa|us)-[a-z]+-[0-9]+")
_NEED_BOTOCORE = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_MAX_ATTEMPTS",
)
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_FILES = ("~/.aws/config", "~/.aws/credentials", "~/.boto", "/etc/boto.cfg")


class CredentialsError(PlatformError):
    """There are no credentials, or they cannot be renewed."""


class CredentialsSource(Protocol):
    """Gives credentials that are valid now."""

    def current(self) -> Credentials:
        """Give them, renewed if they expire soon; raises `CredentialsError`."""

    def renew(self) -> Credentials:
        """Give new ones, as Lambda says that those are expired; raises `CredentialsError`."""


@dataclass(frozen=True, slots=True)
class Service:
    """One endpoint of Lambda.

    Attributes
    ----------
    url
        Its URL, without a query.
    region
        What requests are signed for.
    credentials
        Who signs them.
    ca_file
        Certificates to trust; None for the system's.
    proxy
        URL of the HTTP proxy to go through; None to go directly.
    attempts
        How often a request is tried at most if there are faults; None if nobody has said.
    """

    url: str
    region: str
    credentials: CredentialsSource
    ca_file: str | None = None
    proxy: str | None = None
    attempts: int | None = None


def discover() -> Service:
    """Find out what this process's environment says.

    Raises
    ------
    PlatformError
        If it names no region or no credentials.
    """
    environment = os.environ
    service = _of_environment(environment)
    return service if service is not None else _of_botocore()


def origin_of(service: Service) -> Origin:
    """Say how to connect to an endpoint; raises `PlatformError` if it cannot be."""
    scheme, host, port = _place(service.url)
    tls = _tls(service.ca_file) if scheme == "https" else None
    if service.proxy is None:
        return Origin(host, port, tls, None, (host, port))
    proxy_scheme, proxy_host, proxy_port = _place(service.proxy)
    if proxy_scheme != "http":
        raise PlatformError(
            f"the proxy {proxy_host} is to be spoken to by {proxy_scheme}",
            "Give HTTPS_PROXY a URL with http://; what goes through it is encrypted anyway.",
        )
    tunnel = None
    if tls is not None:
        authority = f"{_bracketed(host)}:{port}"
        tunnel = (
            f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"
            f"{_proxy_authorization(service.proxy)}\r\n"
        ).encode()
    return Origin(host, port, tls, tunnel, (proxy_host, proxy_port))


def signer_of(service: Service) -> Signer:
    """Make the signer of requests to an endpoint."""
    scheme, host, port = _place(service.url)
    name = _bracketed(host) if port == PORTS[scheme] else f"{_bracketed(host)}:{port}"
    base = urlsplit(service.url).path.rstrip("/")
    forwarded = service.proxy is not None and scheme == "http"
    signer = Signer(
        name, service.region, target=f"http://{name}{base}" if forwarded else "", base=base
    )
    if forwarded and service.proxy is not None:
        signer.extra_headers = _proxy_authorization(service.proxy)
    return signer


class EnvironmentCredentials:
    """What Lambda puts into a function's environment; its runtime keeps it valid."""

    def current(self) -> Credentials:
        """Read the variables."""
        for name in _KEYS:
            if not os.environ.get(name):
                raise CredentialsError(
                    f"{name} is not set", "Give the function a role, or set credentials."
                )
        access_key, secret_key = (os.environ[name] for name in _KEYS)
        token = os.environ.get("AWS_SECURITY_TOKEN") or os.environ.get("AWS_SESSION_TOKEN")
        return Credentials(access_key, secret_key, token or None)

    def renew(self) -> Credentials:
        """Read the variables again: whoever can renew them writes there."""
        return self.current()


class SessionCredentials:
    """What botocore finds, and renews when it expires."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._credentials: Any = None

    def current(self) -> Credentials:
        """Ask for what is valid now."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if self._credentials is None:
                self._credentials = self._session.get_credentials()
            frozen = self._credentials and self._credentials.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            raise CredentialsError(
                f"credentials cannot be had: {error}", "Check where they come from."
            ) from error
        if not frozen:
            raise CredentialsError(
                "botocore finds no credentials", "Give the function a role, or set credentials."
            )
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    def renew(self) -> Credentials:
        """Find them anew."""
        import botocore.session

        self._session, self._credentials = botocore.session.get_session(), None
        return self.current()


def _of_environment(environment: Mapping[str, str]) -> Service | None:
    """Read the environment, or give None where it may not be all that counts."""
    region = environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION") or ""
    if (
        not all(environment.get(name) for name in _KEYS)
        or any(environment.get(name) for name in _NEED_BOTOCORE)
        or not _PLAIN_REGION.fullmatch(region)
        or any(Path(os.path.expanduser(file)).exists() for file in _FILES)
    ):
        return None
    url = (
        environment.get("AWS_ENDPOINT_URL_LAMBDA")
        or environment.get("AWS_ENDPOINT_URL")
        or f"https://lambda.{region}.amazonaws.com"
    )
    return Service(url, region, EnvironmentCredentials(), _ca_file(environment), _proxy(url))


def _of_botocore() -> Service:
    import botocore.session
    from botocore.exceptions import BotoCoreError, ClientError

    session = botocore.session.get_session()
    try:
        region = session.get_config_variable("region") or os.environ.get("AWS_REGION")
        client = session.create_client("lambda", region_name=region)
        attempts = session.get_config_variable("max_attempts")
        ca_file = session.get_config_variable("ca_bundle") or _ca_file(os.environ)
    except (BotoCoreError, ClientError, ValueError) as error:
        raise PlatformError(
            f"Lambda's endpoint is not known: {error}",
            "Set AWS_REGION, or a profile with a region.",
        ) from error
    url, region = client.meta.endpoint_url, client.meta.region_name
    source = SessionCredentials(session)
    return Service(url, region, source, ca_file, _proxy(url), attempts)


def _ca_file(environment: Mapping[str, str]) -> str | None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        if environment.get(name):
            return environment[name]
    # As botocore does, without importing anything.
    for package in ("certifi", "botocore"):
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            file = Path(spec.origin).with_name("cacert.pem")
            if file.exists():
                return str(file)
    return None


def _proxy(url: str) -> str | None:
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    proxies = getproxies()
    if proxy_bypass(parts.netloc):
        return None
    found = proxies.get(parts.scheme)
    if found is None or found.startswith(("http:", "https:")):
        return found
    return f"http:{found}" if found.startswith("//") else f"http://{found}"


def _place(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port or PORTS[parts.scheme]
    except (KeyError, ValueError):
        raise PlatformError(f"{url!r} is no URL of a server", "Use http:// or https://.") from None
    if not parts.hostname:
        raise PlatformError(f"{url!r} names no server", "Use http://HOST or https://HOST.")
    return parts.scheme, parts.hostname, port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _proxy_authorization(proxy: str) -> str:
    parts = urlsplit(proxy)
    if parts.username is None:
        return ""
    from base64 import b64encode

    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Proxy-Authorization: Basic {b64encode(pair.encode()).decode()}\r\n"


def _tls(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is None:
        context.load_default_certs()
        return context
    try:
        if Path(ca_file).is_dir():
            context.load_verify_locations(capath=ca_file)
        else:
            context.load_verify_locations(cafile=ca_file)
    except OSError as error:
        raise PlatformError(
            f"certificates cannot be read from {ca_file}: {error}", "Check AWS_CA_BUNDLE."
        ) from error
    return context
