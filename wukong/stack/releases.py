"""Packages into the bucket, and what the bootstrap says of them: upload, deploy, status."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError

from wukong.platform.overflow import MANIFEST, BundleError, OverflowBundle, Part, bundles_in
from wukong.stack.cloudformation import Stack, StackError

POLL_SECONDS = 0.5
LAYERS, BUNDLES = "wukong-layers", "wukong-bundles"
"""The package's metadata in S3 that have what it was deployed with, as JSON."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What a package is deployed with, as it was asked for; None for what is not known."""

    layers: tuple[str, ...] | None
    bundles: tuple[str, ...] | None

    @property
    def metadata(self) -> dict[str, str]:
        """What the package's object says of itself."""
        said = {LAYERS: self.layers, BUNDLES: self.bundles}
        return {key: json.dumps(value) for key, value in said.items() if value is not None}


def _listed(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(map(str, json.loads(text)))


@dataclass(frozen=True, slots=True)
class Upload:
    """A package in the bucket: its S3 version, and the hash by which Lambda knows its code."""

    version: str
    code_sha256: str


@dataclass(frozen=True, slots=True)
class Release:
    """What the bootstrap says is live: its whole answer, and the parts that matter most."""

    answer: Mapping[str, Any]

    @property
    def status(self) -> str:
        """LIVE, ABSENT, CODE_CHANGED, ...: the bootstrap's own word."""
        return str(self.answer["status"])

    @property
    def package(self) -> str | None:
        """Id of the package behind it, its S3 version; None if none is live."""
        return self._live("package")

    @property
    def code_sha256(self) -> str | None:
        """Base64 of the SHA-256 of the package's bytes, as Lambda gives it."""
        return self._live("code_sha256")

    def _live(self, field: str) -> str | None:
        live = self.answer["release"]
        return str(live[field]) if live else None

    @property
    def failure(self) -> str | None:
        """What went wrong, with the hint; None if nothing did."""
        error = self.answer.get("error")
        return None if error is None else f"{error['message']}\n  {error['hint']}"

    @property
    def differs(self) -> bool:
        """Whether a function is not as the package, the layers or the stack want it."""
        return any(one.get("drift") for one in self.answer["functions"].values())

    def version(self, component: str) -> str | None:
        """Version that `live` points at, of `executor` or `invoker`."""
        version: str | None = self.answer["functions"].get(component, {}).get("version")
        return version


def bundles_of(package: Path) -> tuple[OverflowBundle, ...]:
    """Read from a deployment package which overflow bundles it needs."""
    with zipfile.ZipFile(package) as archive:
        if MANIFEST not in archive.namelist():
            return ()
        return bundles_in(archive.read(MANIFEST), str(package))


class Releases:
    """The releases of one stack."""

    def __init__(self, stack: Stack, *, endpoint_url: str | None = None) -> None:
        outputs = stack.outputs()
        self.bucket = outputs["PackageBucketName"]
        self.key = outputs["PackageKey"]
        self.bootstrap = outputs["BootstrapFunctionName"]
        where: dict[str, Any] = {"region_name": stack.region, "endpoint_url": endpoint_url}
        self._s3: Any = boto3.client("s3", **where)
        # A deployment may take minutes, and must not be sent twice by the SDK.
        patient = BotoConfig(read_timeout=900, retries={"total_max_attempts": 1})
        self._lambda: Any = boto3.client("lambda", config=patient, **where)

    def upload(self, package: Path, noted: Noted | None = None) -> Upload:
        """Upload a deployment package; the bucket's event deploys it.

        The overflow bundles that it names go before it, from the folder it is in, as far as the
        bucket does not have them.

        Parameters
        ----------
        noted
            What it is deployed with, as it was asked for, for the deployment after it; None if
            that is not known.

        Raises
        ------
        BundleError
            If a part of a bundle is not there.
        """
        parts = [part for bundle in bundles_of(package) for part in bundle.parts]
        for part in self.missing_parts(parts):
            self._upload_part(package.parent / part.key, part)
        data = package.read_bytes()
        known = {} if noted is None else noted.metadata
        answer = self._s3.put_object(
            Bucket=self.bucket,
            Key=self.key,
            Body=data,
            Metadata=known,
            # With it, S3 knows the hash that Lambda computes, and nobody has to download the zip.
            ChecksumAlgorithm="SHA256",
        )
        code = base64.b64encode(hashlib.sha256(data).digest()).decode()
        return Upload(str(answer["VersionId"]), code)

    def missing_parts(self, parts: Iterable[Part]) -> list[Part]:
        """Give those parts of bundles that the bucket lacks, or has with other bytes."""
        return [part for part in parts if not self._has(part.key, part.digest)]

    def _upload_part(self, file: Path, part: Part) -> None:
        if not file.is_file():
            raise BundleError(
                f"{file} is not there, a part of an overflow bundle that the package names",
                "Keep the folder bundles/ beside the package, as `wukong package` writes it.",
            )
        self._put(part.key, file, part.digest)

    def noted(self) -> Noted:
        """Give what the newest package was deployed with, as far as it was noted."""
        metadata = (self._head(self.key) or {}).get("Metadata", {})
        return Noted(*(_listed(metadata.get(key)) for key in (LAYERS, BUNDLES)))

    def upload_layer(self, name: str, zipped: Path, sha256: str) -> bool:
        """Upload a layer's zip, unless the bucket has the same bytes; tells whether it did.

        Parameters
        ----------
        sha256
            Of the bytes, in hexadecimal.
        """
        if self.has_layer(name, sha256):
            return False
        self._put(_layer_key(name), zipped, sha256)
        return True

    def has_layer(self, name: str, sha256: str) -> bool:
        """Tell whether the bucket has a layer's zip with these bytes."""
        return self._has(_layer_key(name), sha256)

    def _has(self, key: str, sha256: str) -> bool:
        head = self._head(key)
        return head is not None and bool(head.get("ChecksumSHA256") == _base64(sha256))

    def _put(self, key: str, file: Path, sha256: str) -> None:
        checksum = _base64(sha256)
        with file.open("rb") as body:
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=body, ChecksumSHA256=checksum)

    def _head(self, key: str) -> Mapping[str, Any] | None:
        """Look an object up; None if there is none."""
        try:
            head: Mapping[str, Any] = self._s3.head_object(
                Bucket=self.bucket, Key=key, ChecksumMode="ENABLED"
            )
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise StackError(
                f"s3://{self.bucket}/{key}: {error}",
                "Your credentials need s3:GetObject, s3:ListBucket and s3:PutObject in the package "
                "bucket.",
            ) from error
        return head

    def status(self) -> Release:
        """Ask the bootstrap what is live."""
        return self.ask({"action": "status"})

    def ask(self, event: Mapping[str, Any]) -> Release:
        """Send the bootstrap a manual event; raises `StackError` if it does not answer."""
        try:
            answer = self._lambda.invoke(
                FunctionName=self.bootstrap, Payload=json.dumps(event).encode()
            )
            body = json.loads(answer["Payload"].read())
        except (ClientError, BotoCoreError) as error:
            raise StackError(
                f"{self.bootstrap} cannot be invoked: {error}",
                "Your credentials need lambda:InvokeFunction on it.",
            ) from error
        if "FunctionError" in answer:
            raise StackError(
                f"{self.bootstrap} failed: {body.get('errorMessage', body)}",
                "Its log group has the whole story.",
            )
        return Release(body)

    def wait_until_live(
        self,
        upload: Upload,
        seconds: float,
        sleep: Callable[[float], None] = time.sleep,
        *,
        exactly: bool = False,
    ) -> Release:
        """Wait until the code of an upload is live; it may have been before.

        Parameters
        ----------
        exactly
            Whether to wait until nothing else differs either, such as a layer.

        Raises
        ------
        StackError
            If it is not within `seconds`, with what a deployment of it answers.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            release = self.status()
            is_live = release.status == "LIVE" and release.code_sha256 == upload.code_sha256
            if is_live and not (exactly and release.differs):
                return release
            sleep(POLL_SECONDS)
        # The event's own answer went to a log; deploying again is harmless and says why.
        release = self.ask({"action": "deploy"})
        if release.failure is not None or release.code_sha256 != upload.code_sha256:
            raise StackError(
                f"package {upload.version} did not go live: {release.failure or release.answer}",
                "What was live before is live still.",
            )
        return release


def _layer_key(name: str) -> str:
    return f"layers/{name}.zip"


def _base64(sha256: str) -> str:
    """Give a hexadecimal digest as S3 writes it."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()
