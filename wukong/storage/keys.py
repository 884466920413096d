"""Keys that sign what goes through storage: where they are, and which one signs.

    arn:aws:secretsmanager:...   a secret; while it is rotated, the one before is valid too
    arn:aws:ssm:...              a parameter, SecureString
    file:PATH                    a file that only its owner may read
    env:NAME                     a variable; for tests, as every process below sees it

Whatever holds it, a key is a word of 32 or more characters. Where there are several, the first one
signs and all are valid: so a key is replaced without a run noticing.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wukong.errors import WukongError

SHORTEST = 32
"""Characters; 32 letters and digits are 190 bits, and HMAC-SHA256 has use for 256 (RFC 2104)."""

ID_BYTES = 8

AGAIN_SECONDS = 10.0
"""So often keys are read anew, at most, when something is signed with one that is not known."""

Read = Callable[[str, bool], Sequence[str]]


class SigningKeyError(WukongError):
    """The signing key cannot be read, or is none."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key: its name in every signature, and an HMAC that has taken the key in."""

    id: bytes
    _begun: hmac.HMAC

    @classmethod
    def of(cls, word: str) -> Key:
        """Make it of a secret word."""
        secret = hashlib.sha256(b"wukong signing key\0" + word.encode()).digest()
        named = hmac.digest(secret, b"wukong key id", "sha256")
        return cls(named[:ID_BYTES], hmac.new(secret, digestmod="sha256"))

    def begin(self) -> hmac.HMAC:
        """Give an HMAC to be fed."""
        return self._begun.copy()


class Keys:
    """The keys behind a reference, read when the first one is needed and then kept.

    Parameters
    ----------
    reference
        As the module says.
    read
        Reads the words; the second argument asks for earlier ones too.
    """

    def __init__(
        self,
        reference: str,
        read: Read | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reference = reference
        self._read = read or read_words
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[bytes, Key] = {}
        self._first: Key | None = None
        self._looked: float | None = None

    @property
    def first(self) -> Key:
        """The key that signs.

        Raises
        ------
        SigningKeyError
            If it cannot be read.
        """
        if self._first is not None:
            return self._first
        with self._lock:
            return self._first or self._learn(self._read(self.reference, False))

    def find(self, key_id: bytes) -> Key | None:
        """Give a valid key by its name; one that is not known may be new, or of before."""
        _ = self.first
        found = self._keys.get(key_id)
        if found is not None:
            return found
        with self._lock:
            now = self._clock()
            if self._looked is None or now - self._looked > AGAIN_SECONDS:
                self._learn(self._read(self.reference, True))
                self._looked = now
        return self._keys.get(key_id)

    def _learn(self, words: Sequence[str]) -> Key:
        keys = [Key.of(word) for word in words]
        self._keys |= {key.id: key for key in keys}
        self._first = keys[0]
        return self._first


def read_words(reference: str, earlier: bool) -> list[str]:
    """Read the words that a reference leads to, the one that signs first.

    Raises
    ------
    SigningKeyError
        If there is nothing to be read, or what is there is too short for a key.
    """
    kind, _, rest = reference.partition(":")
    if kind == "env":
        text = os.environ.get(rest, "")
    elif kind == "file":
        text = _from_file(Path(rest))
    elif reference.startswith("arn:") and ":secretsmanager:" in reference:
        text = _from_secret(reference, earlier)
    elif reference.startswith("arn:") and ":ssm:" in reference:
        text = _from_parameter(reference)
    else:
        raise SigningKeyError(
            f"store.signing_key: {reference!r:.100} is no reference to a key",
            "Give the ARN of a secret or of an SSM parameter, file:PATH or env:NAME.",
        )
    words = text.split()
    if not words or min(map(len, words)) < SHORTEST:
        raise SigningKeyError(
            f"signing key {reference}: what is there is not a key of {SHORTEST} characters or more",
            'Make one: python -c "import secrets; print(secrets.token_urlsafe(48))"',
        )
    return words


def _from_file(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SigningKeyError(
                f"signing key {path}: others than its owner may use the file", "chmod 600 it."
            )
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SigningKeyError(
            f"signing key {path}: cannot be read: {error.strerror}", "Check store.signing_key."
        ) from error


def _from_secret(arn: str, earlier: bool) -> str:
    """Read a secret; with `earlier` also what it was before it was rotated last."""
    client: Any = _client("secretsmanager", arn)
    text = _asked(arn, lambda: client.get_secret_value(SecretId=arn)["SecretString"])
    if not earlier:
        return text
    try:
        before = client.get_secret_value(SecretId=arn, VersionStage="AWSPREVIOUS")
    except client.exceptions.ResourceNotFoundException:
        return text
    return f"{text} {before['SecretString']}"


def _from_parameter(arn: str) -> str:
    client: Any = _client("ssm", arn)
    ask = {"Name": arn, "WithDecryption": True}
    return _asked(arn, lambda: client.get_parameter(**ask)["Parameter"]["Value"])


def _client(service: str, arn: str) -> Any:
    # Only who signs with a key on AWS pays for the import.
    import boto3
    from botocore.config import Config

    # A function in a network without a way to the service is to learn so before its time is up.
    patience = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 3})
    connect: Any = boto3.client
    return connect(service, region_name=arn.split(":")[3], config=patience)


def _asked(arn: str, ask: Callable[[], Any]) -> str:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return str(ask())
    except (BotoCoreError, ClientError) as error:
        raise SigningKeyError(
            f"signing key {arn}: cannot be read: {error}",
            "Whoever computes needs the right to read it; a function in a VPC also needs a way to "
            "the service, such as an interface endpoint (docs/security.md).",
        ) from error
