"""A Wukong stack in an account, real or embedded: create or update, outputs, delete.

The same calls serve both: the embedded AWS is an endpoint (AWS_ENDPOINT_URL) like any other.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from wukong.errors import WukongError

BOOTSTRAP_ZIP = "dist/bootstrap.zip"
"""How the template names the bootstrap's code before it is in a bucket."""

BODY_BYTES = 51_200
"""How long a template may be in a request.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""

POLL_SECONDS = 1.0
DEPLOY_SECONDS = 1800.0
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]


class StackError(WukongError):
    """A stack that is not there, or an operation on it that failed; says why, as AWS does."""


class Stack:
    """One CloudFormation stack.

    Parameters
    ----------
    name
        Its name.
    region, endpoint_url
        Where; by default as boto3 finds it (environment, profile).
    """

    def __init__(
        self, name: str, *, region: str | None = None, endpoint_url: str | None = None
    ) -> None:
        self.name = name
        self._endpoint_url = endpoint_url
        where: dict[str, Any] = {"region_name": region, "endpoint_url": endpoint_url}
        try:
            self._cloudformation: Any = boto3.client("cloudformation", **where)
            self._s3: Any = boto3.client("s3", **where)
            self._sts: Any = boto3.client("sts", **where)
        except BotoCoreError as error:
            raise _unreachable(error) from error
        self.region: str = self._s3.meta.region_name

    def deploy(
        self,
        template: Path,
        bootstrap_zip: Path,
        parameters: Mapping[str, str],
        sleep: Callable[[float], None] = time.sleep,
    ) -> bool:
        """Create the stack, or update it; parameters not given keep their values.

        Returns
        -------
        Whether anything changed.

        Raises
        ------
        StackError
            With the reason of the first resource that failed.
        """
        return self.apply(self._with_code(template, bootstrap_zip), parameters, sleep)

    def apply(
        self,
        body: str,
        parameters: Mapping[str, str],
        sleep: Callable[[float], None] = time.sleep,
    ) -> bool:
        """Create or update the stack of a template that needs no code; as `deploy`."""
        found = self._describe()
        given = [{"ParameterKey": k, "ParameterValue": v} for k, v in sorted(parameters.items())]
        request = {"StackName": self.name, "Capabilities": CAPABILITIES, **self._template(body)}
        try:
            if found is None:
                self._cloudformation.create_stack(**request, Parameters=given)
            else:
                kept = _kept(found, parameters, body)
                self._cloudformation.update_stack(**request, Parameters=given + kept)
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return False
            raise StackError(
                f"stack {self.name}: {error.response['Error']['Message']}",
                "Check the parameters, and that your credentials may create stacks and roles.",
            ) from error
        self._settle(sleep)
        return True

    def outputs(self) -> dict[str, str]:
        """Give the stack's outputs by name; raises `StackError` if there is no such stack."""
        return _outputs(self.found())

    def parameters(self) -> dict[str, str]:
        """Give the stack's parameters, those that are NoEcho as stars; raises as `outputs`."""
        given = self.found().get("Parameters", [])
        return {one["ParameterKey"]: one["ParameterValue"] for one in given}

    def found(self) -> Mapping[str, Any]:
        """Give what CloudFormation says of the stack; raises `StackError` if there is none."""
        found = self._describe()
        if found is None:
            raise StackError(
                f"there is no stack {self.name!r} in {self.region}",
                "Deploy it with `wukong deploy`, or check aws_lambda.aws_sam_app_name and region.",
            )
        return found

    def delete(
        self, sleep: Callable[[float], None] = time.sleep, *, keep: str | None = None
    ) -> None:
        """Delete the stack and its buckets with all they hold; no error if it has gone already.

        Parameters
        ----------
        keep
            A bucket that stays, with all it holds; the template must retain it.
        """
        found = self._describe()
        if found is None:
            return
        # Of a stack that has failed, what has gone already is listed too.
        buckets = [bucket for _, bucket in self._buckets()]
        doomed = [one for one in buckets if one != keep and self.has_bucket(one)]
        for bucket in doomed:
            self.empty(bucket)
        self._cloudformation.delete_stack(StackName=self.name)
        self._settle(sleep, name=found["StackId"])
        for bucket in filter(self.has_bucket, doomed):
            # The template retains it, so that a deletion by other means loses no packages.
            self.empty(bucket)
            self._s3.delete_bucket(Bucket=bucket)

    def bucket_of(self, resource: str) -> str | None:
        """Name the bucket of a resource; None if there is none, or it has gone.

        Outputs would not do: a stack that has failed may have none of them, and its buckets still.
        """
        named = dict(self._buckets()).get(resource)
        return named if named is not None and self.has_bucket(named) else None

    def _buckets(self) -> list[tuple[str, str]]:
        return self.resources("AWS::S3::Bucket")

    def resources(self, kind: str) -> list[tuple[str, str]]:
        """Give the resources of a type: the name in the template, and the id.

        Of a stack that has failed, those that have gone are among them.
        """
        pages = self._cloudformation.get_paginator("list_stack_resources")
        return [
            (one["LogicalResourceId"], one["PhysicalResourceId"])
            for page in pages.paginate(StackName=self.name)
            for one in page["StackResourceSummaries"]
            if one["ResourceType"] == kind and one.get("PhysicalResourceId")
        ]

    def has_bucket(self, bucket: str) -> bool:
        """Tell whether there is such a bucket, and it is this account's."""
        try:
            self._s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=self.account)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise _unreachable(error) from error
        return True

    def siblings(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Give every stack that is there, with its outputs."""
        for page in self._cloudformation.get_paginator("describe_stacks").paginate():
            for one in page["Stacks"]:
                if one["StackStatus"] != "DELETE_COMPLETE":
                    yield one["StackName"], _outputs(one)

    def count_versions(self, bucket: str) -> int:
        """Count the versions of objects in a bucket."""
        pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
        return sum(len(page.get("Versions", [])) for page in pages)

    def sibling(self, name: str) -> Stack:
        """Give another stack of the same account and region."""
        return Stack(name, region=self.region, endpoint_url=self._endpoint_url)

    def discard(self, bucket: str) -> bool:
        """Delete a bucket that an update left, as it was not empty; False if that is refused."""
        try:
            self.empty(bucket)
            self._s3.delete_bucket(Bucket=bucket)
        except self._s3.exceptions.NoSuchBucket:
            return True
        except ClientError:
            return False
        return True

    def secret(self, arn: str) -> Mapping[str, str]:
        """Read a secret that holds a JSON object; raises `StackError` if that is not allowed."""
        where: dict[str, Any] = {"region_name": self.region, "endpoint_url": self._endpoint_url}
        try:
            answer = boto3.client("secretsmanager", **where).get_secret_value(SecretId=arn)
        except (ClientError, BotoCoreError) as error:
            raise StackError(
                f"stack {self.name}: the secret of its store cannot be read: {error}",
                "Your credentials need secretsmanager:GetSecretValue on it; the policy of the "
                "stack's output ClientPolicyArn has that.",
            ) from error
        found: Mapping[str, str] = json.loads(answer["SecretString"])
        return found

    def describe(self) -> Mapping[str, Any] | None:
        """Give what CloudFormation says of the stack; None if there is no such stack."""
        return self._describe()

    def template(self) -> str:
        """Give the template as it was given."""
        answer = self._cloudformation.get_template(StackName=self.name, TemplateStage="Original")
        body = answer["TemplateBody"]
        return body if isinstance(body, str) else json.dumps(body)

    def _describe(self, name: str | None = None) -> dict[str, Any] | None:
        try:
            stacks = self._cloudformation.describe_stacks(StackName=name or self.name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise _unreachable(error) from error
        except BotoCoreError as error:
            raise _unreachable(error) from error
        if stacks[0]["StackStatus"] == "DELETE_COMPLETE" and name is None:
            return None
        stack: dict[str, Any] = stacks[0]
        return stack

    def _settle(self, sleep: Callable[[float], None], name: str | None = None) -> None:
        until = time.monotonic() + DEPLOY_SECONDS
        while time.monotonic() < until:
            found = self._describe(name)
            status = "DELETE_COMPLETE" if found is None else str(found["StackStatus"])
            if status in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE"}:
                return
            if not status.endswith("_IN_PROGRESS"):
                raise StackError(
                    f"stack {self.name}: {status}: {self._reason(name)}",
                    "The stack's events tell the rest; fix the cause and deploy again.",
                )
            sleep(POLL_SECONDS)
        raise StackError(
            f"stack {self.name} is still in progress after {DEPLOY_SECONDS:g} s",
            "It goes on without us; look at its events.",
        )

    def _reason(self, name: str | None) -> str:
        events = self._cloudformation.describe_stack_events(StackName=name or self.name)
        for event in reversed(events["StackEvents"]):
            if event["ResourceStatus"].endswith("_FAILED") and event.get("ResourceStatusReason"):
                return f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        return "no reason given"

    def _with_code(self, template: Path, bootstrap_zip: Path) -> str:
        """Upload the bootstrap's code and name it in the template, as `sam package` does."""
        body = template.read_text(encoding="utf-8")
        local = f"CodeUri: {BOOTSTRAP_ZIP}"
        if body.count(local) != 1:
            raise StackError(
                f"{template}: expected exactly one line {local!r}",
                "Use the template that comes with this release.",
            )
        data = bootstrap_zip.read_bytes()
        bucket = self._artifact_bucket()
        key = f"bootstrap-{hashlib.sha256(data).hexdigest()[:20]}.zip"
        self._s3.put_object(Bucket=bucket, Key=key, Body=data)
        return body.replace(local, f'CodeUri: {{Bucket: "{bucket}", Key: "{key}"}}')

    @cached_property
    def account(self) -> str:
        """The account in which all of this is."""
        return str(self._sts.get_caller_identity()["Account"])

    @property
    def artifact_bucket(self) -> str:
        """The bucket for the bootstrap's code: one for each account and region."""
        return f"wukong-artifacts-{self.account}-{self.region}"

    def _template(self, body: str) -> dict[str, str]:
        """Give a template as it is, or if it is too long for that by its place in a bucket."""
        data = body.encode()
        if len(data) <= BODY_BYTES:
            return {"TemplateBody": body}
        bucket = self._artifact_bucket()
        key = f"template-{hashlib.sha256(data).hexdigest()[:20]}.yaml"
        self._s3.put_object(Bucket=bucket, Key=key, Body=data)
        # For the address alone, as the endpoint wants it: CloudFormation reads with our rights.
        place = {"Bucket": bucket, "Key": key}
        signed: str = self._s3.generate_presigned_url("get_object", place)
        return {"TemplateURL": signed.partition("?")[0]}

    def _artifact_bucket(self) -> str:
        """Make sure of the bucket for the bootstrap's code."""
        account, bucket = self.account, self.artifact_bucket
        try:
            # The owner is checked, as names of buckets are there for anybody to take.
            self._s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise StackError(
                    f"bucket {bucket}: {error.response['Error']['Message']}",
                    "It must belong to this account and be readable to you.",
                ) from error
            self._create_bucket(bucket)
        return bucket

    def _create_bucket(self, bucket: str) -> None:
        # us-east-1 is the one region that must not be named as a constraint.
        where = {"LocationConstraint": self.region} if self.region != "us-east-1" else None
        extra = {"CreateBucketConfiguration": where} if where else {}
        self._s3.create_bucket(Bucket=bucket, **extra)
        self._s3.put_public_access_block(
            Bucket=bucket,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "IgnorePublicAcls": True,
                "BlockPublicPolicy": True,
                "RestrictPublicBuckets": True,
            },
        )

    def empty(self, bucket: str) -> None:
        """Delete all objects of a bucket, with every version and every sign of a deletion."""
        pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
        for page in pages:
            doomed = [
                {"Key": one["Key"], "VersionId": one["VersionId"]}
                for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            ]
            if doomed:
                self._s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})


def _outputs(stack: Mapping[str, Any]) -> dict[str, str]:
    return {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}


def _kept(
    found: Mapping[str, Any], parameters: Mapping[str, str], body: str
) -> list[dict[str, Any]]:
    """Keep the value of each parameter that is not given and that the template still has."""
    return [
        {"ParameterKey": one["ParameterKey"], "UsePreviousValue": True}
        for one in found.get("Parameters", [])
        if one["ParameterKey"] not in parameters and f"\n  {one['ParameterKey']}:" in body
    ]


def _unreachable(error: Exception) -> StackError:
    return StackError(
        f"AWS cannot be asked: {error}",
        "Check credentials, region and AWS_ENDPOINT_URL; `aws sts get-caller-identity` must work.",
    )
