"""Leaving: what a stack and its deployments have made goes, and what stays is named.

    layers of its bucket are noted ─> buckets emptied ─> stack deleted ─> layers left over deleted
                                          └─ the packages only if somebody says so: `purge`
    ─> bucket of the bootstrap's code, if no other stack of Wukong is there

Uploads have become layers whose versions say of which version of an object in the bucket they were
made. The bootstrap deletes those that its functions have at the end; here those go that they had
before, and by that sign nobody else's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3

from wukong.errors import WukongError
from wukong.stack.cloudformation import Stack

BOOTSTRAP = "BootstrapFunctionName"
"""The output by which a stack is known to be one of Wukong."""

LAYERS = "layers/"


class BucketError(WukongError):
    """A bucket that was to be deleted and may not be."""


@dataclass(frozen=True, slots=True)
class Farewell:
    """What stays after a stack has gone: its package bucket with so many versions, or nothing."""

    bucket: str | None = None
    kept: tuple[str, ...] = ()


class Leaving:
    """Deletes what belongs to one stack.

    Parameters
    ----------
    stack
        Which.
    endpoint_url
        Where; by default as boto3 finds it.
    """

    def __init__(self, stack: Stack, *, endpoint_url: str | None = None) -> None:
        where: dict[str, Any] = {"region_name": stack.region, "endpoint_url": endpoint_url}
        self._stack = stack
        self._s3: Any = boto3.client("s3", **where)
        self._lambda: Any = boto3.client("lambda", **where)

    def leave(self, *, purge: bool) -> Farewell:
        """Delete the stack, and with `purge` also its packages.

        Raises
        ------
        StackError
            If CloudFormation cannot delete something; says what.
        """
        bucket = self._stack.outputs().get("PackageBucketName")
        if bucket is not None and not self._stack.has_bucket(bucket):
            bucket = None
        made = self._layers_of(bucket) if bucket else {}
        prefix = self._prefix()
        keeps = bucket is not None and not purge and self._holds_anything(bucket)
        self._stack.delete(keep=bucket if keeps else None)
        for name, versions in made.items():
            self._delete_layer(f"{prefix}-{name}", versions)
        kept = [f"bucket {bucket}"] if keeps else []
        if code := self._code_bucket(purge=purge):
            kept.append(f"bucket {code}")
        return Farewell(bucket, tuple(kept))

    def purge(self, bucket: str) -> None:
        """Empty and delete a bucket that an earlier deletion has kept.

        Raises
        ------
        BucketError
            If it is not this account's, or still belongs to a stack.
        """
        self._refuse_foreign(bucket)
        self._stack.empty(bucket)
        self._s3.delete_bucket(Bucket=bucket)

    def _refuse_foreign(self, bucket: str) -> None:
        if not self._stack.has_bucket(bucket):
            raise BucketError(f"there is no bucket {bucket}", "It has gone already.")
        for name, outputs in self._stack.siblings():
            if bucket == outputs.get("PackageBucketName"):
                raise BucketError(
                    f"bucket {bucket} belongs to stack {name}",
                    f"Delete it with its stack: wukong delete --stack {name} --purge",
                )
        if not self._was_ours(bucket):
            raise BucketError(
                f"bucket {bucket} has held no deployment package",
                "Only buckets that a stack of Wukong has left are deleted; this may be another's.",
            )

    def _was_ours(self, bucket: str) -> bool:
        """Tell by its name, as the template makes it, and by what is in it: only packages."""
        if not bucket.endswith(f"-{self._stack.account}-{self._stack.region}"):
            return False
        keys = {one["Key"] for one in self._versions(bucket)}
        return bool(keys) and all(key.endswith(".zip") for key in keys)

    def _prefix(self) -> str:
        parameters = (self._stack.describe() or {}).get("Parameters", [])
        found = {one["ParameterKey"]: one["ParameterValue"] for one in parameters}
        return str(found.get("FunctionPrefix", "Wukong"))

    def _holds_anything(self, bucket: str) -> bool:
        return any(True for _ in self._versions(bucket))

    def _layers_of(self, bucket: str) -> Mapping[str, set[str]]:
        """Name the layers that uploads may have become, with the versions of their objects."""
        found: dict[str, set[str]] = {}
        for one in self._versions(bucket, LAYERS):
            name = one["Key"].removeprefix(LAYERS).removesuffix(".zip")
            found.setdefault(name, set()).add(one["VersionId"])
        return found

    def _versions(self, bucket: str, prefix: str = "") -> Iterator[Mapping[str, Any]]:
        pages = self._s3.get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            yield from page.get("Versions", [])
            yield from page.get("DeleteMarkers", [])

    def _delete_layer(self, layer: str, sources: set[str]) -> None:
        pages = self._lambda.get_paginator("list_layer_versions").paginate(LayerName=layer)
        for version in [one for page in pages for one in page["LayerVersions"]]:
            words = str(version.get("Description", "")).split()
            if any(word.removeprefix("src=") in sources for word in words):
                self._lambda.delete_layer_version(LayerName=layer, VersionNumber=version["Version"])

    def _code_bucket(self, *, purge: bool) -> str | None:
        """Delete the bucket of the bootstraps' code if nobody needs it; give it if it stays."""
        bucket = self._stack.artifact_bucket
        if not self._stack.has_bucket(bucket):
            return None
        if not purge or any(BOOTSTRAP in outputs for _, outputs in self._stack.siblings()):
            return bucket
        self._stack.empty(bucket)
        self._s3.delete_bucket(Bucket=bucket)
        return None
