"""Where Lambda is: what boto3 would find, without importing it where the environment says all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import botocore.session
import pytest
from botocore.exceptions import ClientError

from invoker.endpoint import (
    CredentialsError,
    EnvironmentCredentials,
    Service,
    SessionCredentials,
    discover,
    origin_of,
    signer_of,
)
from invoker.signing import Credentials
from wukong.platform.interface import PlatformError

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
PROFILE = """
[default]
region = eu-west-1
endpoint_url = http://localhost:1234
ca_bundle = /some/bundle.pem
[profile far]
region = cn-north-1
"""


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    # Nowhere else are credentials to be looked for.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_DEFAULT_REGION": "us-east-1"},
        {"AWS_DEFAULT_REGION": "us-gov-west-1"},
        {"AWS_DEFAULT_REGION": "cn-north-1"},
        {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://localhost:1"},
        {
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL": "http://localhost:1",
            "AWS_ENDPOINT_URL_LAMBDA": "http://localhost:2/base",
        },
        {"AWS_CONFIG_FILE": "config"},
        {"AWS_CONFIG_FILE": "config", "AWS_PROFILE": "far"},
    ],
)
def test_endpoint_and_region_are_those_of_boto3(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(PROFILE)
    monkeypatch.chdir(tmp_path)
    for name, value in {**KEYS, **variables}.items():
        monkeypatch.setenv(name, value)
    theirs = botocore.session.get_session().create_client("lambda").meta
    service = discover()
    assert (service.url, service.region) == (theirs.endpoint_url, theirs.region_name)
    assert service.credentials.current() == Credentials("key", "secret", None)
    if variables.get("AWS_CONFIG_FILE") and "AWS_PROFILE" not in variables:
        assert service.ca_file == "/some/bundle.pem"


def test_the_environment_of_a_function_is_read_without_botocore() -> None:
    code = (
        "import sys; from invoker.endpoint import discover; from invoker.engine import Engine;"
        "Engine(discover()).close();"
        "print({'botocore', 'boto3', 'urllib3', 'valkey'} & sys.modules.keys())"
    )
    environment = {**os.environ, **KEYS, "AWS_REGION": "eu-west-1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_without_credentials_or_region_the_error_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(PlatformError, match="AWS_REGION"):
        discover()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with pytest.raises(PlatformError, match="no credentials"):
        discover().credentials.current()


def test_credentials_of_a_session_are_found_anew_when_they_are_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    source = SessionCredentials(botocore.session.get_session())
    assert source.current() == Credentials("key", "secret", None)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "new")
    assert source.current() == Credentials("key", "secret", None)
    assert source.renew() == Credentials("key", "secret", "new")


def test_keys_are_read_as_boto3_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    for variables in (
        {**KEYS, "AWS_SECURITY_TOKEN": "old name", "AWS_SESSION_TOKEN": "new name"},
        {**KEYS, "AWS_SESSION_TOKEN": ""},
    ):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        theirs = botocore.session.get_session().get_credentials()
        assert discover().credentials.current() == Credentials(
            theirs.access_key, theirs.secret_key, theirs.token
        )
        monkeypatch.delenv("AWS_SECURITY_TOKEN", raising=False)


def test_a_variable_that_is_empty_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "")
    (tmp_path / "keys").write_text(
        "[default]\naws_access_key_id = file\naws_secret_access_key = f\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    assert discover().credentials.current().access_key == "file"
    monkeypatch.delenv("AWS_SHARED_CREDENTIALS_FILE")
    with pytest.raises(CredentialsError):
        EnvironmentCredentials().current()


def test_attempts_are_those_that_boto3_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**KEYS, "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    assert discover().attempts is None
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    assert discover().attempts == 3


def test_credentials_that_cannot_be_renewed_are_said_to_be_whatever_botocore_raises() -> None:
    class Role:
        def get_frozen_credentials(self) -> None:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRole")

    class Session:
        def get_credentials(self) -> Role:
            return Role()

    with pytest.raises(CredentialsError, match="AccessDenied"):
        SessionCredentials(Session()).current()


def test_a_profile_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**KEYS, "AWS_DEFAULT_REGION": "eu-west-1", "AWS_PROFILE": "no"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PlatformError, match="no"):
        discover()


def test_proxies_are_taken_from_the_environment_unless_it_excepts_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**KEYS, "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("https_proxy", "proxy:3128")
    assert discover().proxy == "http://proxy:3128"
    assert origin_of(discover()).address == ("proxy", 3128)
    monkeypatch.setenv("https_proxy", "//proxy:3128")
    assert discover().proxy == "http://proxy:3128"
    monkeypatch.setenv("NO_PROXY", ".amazonaws.com")
    assert discover().proxy is None
    assert origin_of(discover()).address == ("lambda.eu-west-1.amazonaws.com", 443)
    monkeypatch.delenv("https_proxy")
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("all_proxy", "http://proxy:3128")
    assert discover().proxy is None, "boto3 does not know it"


def test_a_plain_endpoint_is_asked_through_a_proxy_by_its_whole_url() -> None:
    service = Service(
        "http://stub:1", "eu-west-1", EnvironmentCredentials(), proxy="http://u:p@proxy:2"
    )
    origin = origin_of(service)
    assert (origin.address, origin.tunnel, origin.tls) == (("proxy", 2), None, None)
    head = signer_of(service).head("E:1", b"", Credentials("key", "secret"), 0.0)
    assert head.startswith(b"POST http://stub:1/2015-03-31/functions/E%3A1/invocations HTTP/1.1")
    assert b"\r\nhost: stub:1\r\n" in head
    assert b"\r\nProxy-Authorization: Basic dTpw\r\n" in head


@pytest.mark.parametrize("url", ["lambda", "ftp://lambda", "http://", "http://lambda:port"])
def test_what_is_no_endpoint_is_named(url: str) -> None:
    with pytest.raises(PlatformError):
        origin_of(Service(url, "eu-west-1", EnvironmentCredentials()))
