"""Leaving: what a stack and its deployments have made goes, and what stays is named.

    policies that others added to its roles? refused ─> policy for clients detached
    ─> layers of its bucket deleted ─> buckets emptied ─> stack deleted
                                           └─ the packages only if somebody says so: `purge`
    ─> bucket of the bootstrap's code, if no other stack of Wukong is there

Uploads have become layers whose versions say of which version of an object in the bucket they were
made. The bootstrap deletes those that its functions have at the end; here those go that they had
before, and by that sign nobody else's. They go first, as the sign goes with the bucket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import boto3
from botocore.exceptions import ClientError

from wukong.errors import WukongError
from wukong.stack.cloudformation import Stack, StackError
from wukong.stack.stores import network_used

BOOTSTRAP = "BootstrapFunctionName"
"""The output by which a stack is known to be one of Wukong."""

PACKAGES = "PackageBucket"
"""The template's resource that a deletion keeps."""

LAYERS = "layers/"


class AddedPolicyError(WukongError):
    """A role of the stack with policies that others gave it: IAM would refuse to delete it."""


class BucketError(WukongError):
    """A bucket that was to be deleted and may not be."""


def own_policy(resource: str) -> str:
    """Give the name of the one policy that the template gives a role, by the role's name there."""
    return resource.removesuffix("Role").lower()


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
        self._iam: Any = boto3.client("iam", **where)

    def leave(self, *, purge: bool) -> tuple[str, ...]:
        """Delete the stack, and with `purge` also its packages.

        Returns
        -------
        What stays, in words: `bucket NAME` of packages and of the bootstrap's code, and
        `stack NAME, which costs by the hour` of a network.

        Raises
        ------
        AddedPolicyError
            If a role has policies that the stack did not give it; nothing is deleted then.
        StackError
            If there is no such stack, or CloudFormation cannot delete something; says what.
        """
        network = network_used(self._stack)
        bucket = self._stack.bucket_of(PACKAGES)
        keeps = bucket is not None and not purge and self._holds_anything(bucket)
        with self._asking_iam():
            policies = [arn for _, arn in self._stack.resources("AWS::IAM::ManagedPolicy")]
            self._refuse_added_policies(policies)
            self._detach(policies)
        if bucket is not None:
            self._delete_layers(bucket)
        self._stack.delete(keep=bucket if keeps else None)
        kept = [f"bucket {bucket}"] if keeps else []
        if code := self._code_bucket(purge=purge):
            kept.append(f"bucket {code}")
        if network is not None:
            kept.append(f"stack {network}, which costs by the hour")
        return tuple(kept)

    @contextmanager
    def _asking_iam(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise StackError(
                f"stack {self._stack.name}: its policies cannot be looked at: {error}",
                "Nothing was deleted. Your credentials need iam:ListRolePolicies, "
                "ListAttachedRolePolicies, ListEntitiesForPolicy and the right to detach policies.",
            ) from error

    def _refuse_added_policies(self, stacks: Sequence[str]) -> None:
        """Refuse before anything is deleted, as IAM would in the middle of it."""
        for resource, role in self._stack.resources("AWS::IAM::Role"):
            own = {own_policy(resource), *stacks}
            # Of a stack that has failed, roles are listed that have gone.
            with suppress(self._iam.exceptions.NoSuchEntityException):
                if added := [one for one in self._policies_of(role) if one not in own]:
                    raise AddedPolicyError(
                        f"role {role} ({resource}) has policies that stack {self._stack.name} did "
                        f"not give it: {', '.join(added)}",
                        "Nothing was deleted. Take them from it (aws iam detach-role-policy, or "
                        "delete-role-policy for one without an ARN), then delete again.",
                    )

    def _policies_of(self, role: str) -> Iterator[str]:
        """Give the names of a role's own policies, and the ARNs of those attached to it."""
        for page in self._iam.get_paginator("list_role_policies").paginate(RoleName=role):
            yield from page["PolicyNames"]
        for page in self._iam.get_paginator("list_attached_role_policies").paginate(RoleName=role):
            yield from (one["PolicyArn"] for one in page["AttachedPolicies"])

    def _detach(self, policies: Sequence[str]) -> None:
        """Detach the stack's policies from whoever has them: rights to what goes now."""
        for policy in policies:
            with suppress(self._iam.exceptions.NoSuchEntityException):
                self._detach_one(policy)

    def _detach_one(self, policy: str) -> None:
        which = {"PolicyArn": policy, "PolicyUsageFilter": "PermissionsPolicy"}
        # All pages first: what is detached would be missing in those that are asked for later.
        for page in list(self._iam.get_paginator("list_entities_for_policy").paginate(**which)):
            for one in page["PolicyUsers"]:
                self._iam.detach_user_policy(UserName=one["UserName"], PolicyArn=policy)
            for one in page["PolicyGroups"]:
                self._iam.detach_group_policy(GroupName=one["GroupName"], PolicyArn=policy)
            for one in page["PolicyRoles"]:
                self._iam.detach_role_policy(RoleName=one["RoleName"], PolicyArn=policy)

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
        """Tell by its name, as the template makes it, and by what is in it: only packages.

        Or nothing: somebody may have been interrupted between emptying and deleting it.
        """
        if not bucket.endswith(f"-{self._stack.account}-{self._stack.region}"):
            return False
        return all(one["Key"].endswith(".zip") for one in self._versions(bucket))

    def _holds_anything(self, bucket: str) -> bool:
        return any(True for _ in self._versions(bucket))

    def _delete_layers(self, bucket: str) -> None:
        """Delete what uploads have become; what functions still have they keep until they go."""
        prefix = self._stack.parameters().get("FunctionPrefix", "Wukong")
        for name, versions in self._layers_of(bucket).items():
            self._delete_layer(f"{prefix}-{name}", versions)

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
