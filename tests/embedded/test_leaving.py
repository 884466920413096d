"""Leaving with a stack that is not as it should be, and what the verb says: on the embedded AWS.

The stacks have of the template what a deletion looks at, and no outputs, as one has whose creation
has failed. How a whole one goes, tests/embedded/test_teams.py shows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from tests.bootstrap.conftest import zipped
from wukong.stack.cloudformation import Stack, StackError
from wukong.stack.embedded import ACCOUNT, REGION, EmbeddedAws
from wukong.stack.leaving import AddedPolicyError, BucketError, Leaving

pytestmark = pytest.mark.embedded

TEMPLATE = """
Parameters:
  Bucket: {Type: String}
  FunctionPrefix: {Type: String}
  Storage: {Type: String, Default: dynamodb}
  StoreUrl: {Type: String, Default: "", NoEcho: true}
  NetworkStack: {Type: String, Default: wukong-network}
Resources:
  PackageBucket:
    Type: AWS::S3::Bucket
    DeletionPolicy: Retain
    Properties:
      BucketName: !Ref Bucket
      VersioningConfiguration: {Status: Enabled}
  ExecutorRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - {Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}
      Policies:
        - PolicyName: executor
          PolicyDocument:
            Version: "2012-10-17"
            Statement: [{Effect: Deny, Action: "s3:*", Resource: "*"}]
  ClientPolicy:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      PolicyDocument:
        Version: "2012-10-17"
        Statement: [{Effect: Deny, Action: "s3:*", Resource: "*"}]
"""
TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}
DENIAL = {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}
"""A policy that is somebody else's."""


def document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Left:
    """A small stack, its bucket with a package in it, and who else is in its account."""

    def __init__(self, **parameters: str) -> None:
        self.prefix = f"L{uuid.uuid4().hex[:8]}"
        self.stack = Stack(f"left-{self.prefix}")
        self.bucket = f"{self.prefix.lower()}-packages-{ACCOUNT}-{REGION}"
        self.iam: Any = boto3.client("iam")
        self.s3: Any = boto3.client("s3")
        self.lambda_: Any = boto3.client("lambda")
        given = {"Bucket": self.bucket, "FunctionPrefix": self.prefix}
        self.stack.apply(TEMPLATE, {**given, **parameters})
        self.put("deployment.zip")

    def put(self, key: str) -> str:
        """Put an object into the bucket, and give its version."""
        return str(self.s3.put_object(Bucket=self.bucket, Key=key, Body=b"zip")["VersionId"])

    def resource(self, kind: str) -> str:
        ((_, found),) = self.stack.resources(kind)
        return found

    def versions(self) -> int:
        return self.stack.count_versions(self.bucket)

    def clear(self) -> None:
        self.stack.delete()
        self.stack.discard(self.bucket)


@pytest.fixture
def left(account: EmbeddedAws) -> Iterator[Left]:
    made = Left()
    yield made
    made.clear()


def test_a_stack_without_outputs_keeps_its_packages(left: Left) -> None:
    assert left.stack.outputs() == {}
    kept = Leaving(left.stack).leave(purge=False)
    assert kept[0] == f"bucket {left.bucket}"
    assert left.stack.describe() is None
    assert left.versions() == 1


def test_an_empty_bucket_goes_and_what_is_purged_too(account: EmbeddedAws) -> None:
    for purge in (False, True):
        left = Left()
        if not purge:
            left.stack.empty(left.bucket)
        assert f"bucket {left.bucket}" not in Leaving(left.stack).leave(purge=purge)
        assert not left.stack.has_bucket(left.bucket)


def test_a_role_with_policies_of_others_is_refused_by_name_and_nothing_is_deleted(
    left: Left,
) -> None:
    role = left.resource("AWS::IAM::Role")
    theirs = left.iam.create_policy(
        PolicyName=f"{left.prefix}-data", PolicyDocument=document(**DENIAL)
    )["Policy"]["Arn"]
    left.iam.attach_role_policy(RoleName=role, PolicyArn=theirs)
    left.iam.put_role_policy(
        RoleName=role, PolicyName="own-data", PolicyDocument=document(**DENIAL)
    )
    with pytest.raises(AddedPolicyError, match=f"own-data, {theirs}") as refused:
        Leaving(left.stack).leave(purge=True)
    assert f"{role} (ExecutorRole)" in refused.value.message
    assert left.stack.describe() is not None
    assert left.versions() == 1
    left.iam.detach_role_policy(RoleName=role, PolicyArn=theirs)
    left.iam.delete_role_policy(RoleName=role, PolicyName="own-data")
    left.iam.delete_policy(PolicyArn=theirs)
    Leaving(left.stack).leave(purge=True)
    assert left.stack.describe() is None


def test_who_may_not_look_at_policies_is_told_so_and_nothing_is_deleted(left: Left) -> None:
    leaving = Leaving(left.stack)
    with Stubber(leaving._iam) as iam:
        iam.add_client_error("list_role_policies", "AccessDenied", http_status_code=403)
        with pytest.raises(StackError, match="its policies cannot be looked at") as refused:
            leaving.leave(purge=True)
    assert "iam:ListRolePolicies" in refused.value.hint
    assert left.stack.describe() is not None
    assert left.versions() == 1


def test_the_policy_for_clients_is_taken_from_whoever_has_it(left: Left) -> None:
    policy, name = {"PolicyArn": left.resource("AWS::IAM::ManagedPolicy")}, left.prefix
    left.iam.create_user(UserName=name)
    left.iam.create_group(GroupName=name)
    trust = document(**TRUST, Action="sts:AssumeRole")
    left.iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    left.iam.attach_user_policy(UserName=name, **policy)
    left.iam.attach_group_policy(GroupName=name, **policy)
    left.iam.attach_role_policy(RoleName=name, **policy)
    left.iam.attach_role_policy(RoleName=left.resource("AWS::IAM::Role"), **policy)
    Leaving(left.stack).leave(purge=True)
    assert left.stack.describe() is None
    assert not left.iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]
    assert not left.iam.list_attached_group_policies(GroupName=name)["AttachedPolicies"]
    assert not left.iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    left.iam.delete_user(UserName=name)
    left.iam.delete_group(GroupName=name)
    left.iam.delete_role(RoleName=name)


def test_layers_go_first_so_that_a_deletion_that_fails_can_be_repeated(
    left: Left, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = f"{left.prefix}-tools"
    sources = [left.put("layers/tools.zip"), "of-another-bucket"]
    for source in sources:
        left.lambda_.publish_layer_version(
            LayerName=layer, Description=f"src={source}", Content={"ZipFile": zipped({"a": "b"})}
        )

    def fail(*_: object, **__: object) -> None:
        raise StackError("it cannot be deleted", "look")

    monkeypatch.setattr(left.stack, "delete", fail)
    with pytest.raises(StackError, match="cannot be deleted"):
        Leaving(left.stack).leave(purge=True)
    monkeypatch.undo()
    versions = left.lambda_.list_layer_versions(LayerName=layer)["LayerVersions"]
    assert [one["Description"] for one in versions] == ["src=of-another-bucket"]
    left.lambda_.delete_layer_version(LayerName=layer, VersionNumber=versions[0]["Version"])


def test_the_network_that_a_stack_uses_is_told_as_kept(account: EmbeddedAws) -> None:
    network = Left()
    named = {"Storage": "valkey", "NetworkStack": network.stack.name}
    using, gone = Left(**named), Left(Storage="valkey", NetworkStack="no-such-network")
    told = f"stack {network.stack.name}, which costs by the hour"
    assert told in Leaving(using.stack).leave(purge=True)
    for other in (gone, network):
        assert "by the hour" not in str(Leaving(other.stack).leave(purge=True))


@pytest.mark.parametrize("keys", [(), ("deployment.zip", "layers/tools.zip")])
def test_a_bucket_that_was_kept_is_deleted_also_if_it_is_empty_by_now(
    left: Left, keys: tuple[str, ...]
) -> None:
    Leaving(left.stack).leave(purge=False)
    left.stack.empty(left.bucket)
    for key in keys:
        left.put(key)
    Leaving(left.stack).purge(left.bucket)
    assert not left.stack.has_bucket(left.bucket)


def test_a_bucket_with_anything_but_packages_stays(left: Left) -> None:
    left.put("data.parquet")
    with pytest.raises(BucketError, match="has held no deployment package"):
        Leaving(left.stack).purge(left.bucket)
    assert left.versions() == 2


def delete(cwd: Path, *words: str, status: int = 0) -> str:
    """Run `wukong delete`, and give what it prints: what it was asked for, or its error."""
    done = subprocess.run(
        [sys.executable, "-m", "wukong", "delete", *words],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout or done.stderr


def test_the_verb_says_what_it_keeps_and_how_that_goes(
    account: EmbeddedAws, tmp_path: Path
) -> None:
    network = Left()
    left = Left(Storage="valkey", NetworkStack=network.stack.name)
    told = delete(tmp_path, "--stack", left.stack.name, "--yes")
    assert f"Kept: bucket {left.bucket}." in told
    assert f"wukong delete --bucket {left.bucket}" in told
    assert f"Kept: stack {network.stack.name}, which costs by the hour." in told
    assert f"aws cloudformation delete-stack --stack-name {network.stack.name}" in told
    assert left.versions() == 1
    again = delete(tmp_path, "--stack", left.stack.name, "--yes", status=1)
    assert f"there is no stack '{left.stack.name}'" in again
    given = json.loads(delete(tmp_path, "--bucket", left.bucket, "--yes", "--json"))
    assert given == {"bucket": left.bucket, "deleted": True}
    assert not left.stack.has_bucket(left.bucket)
    gone = delete(tmp_path, "--bucket", left.bucket, "--yes", status=1)
    assert f"there is no bucket {left.bucket}" in gone
    network.clear()


def test_the_verb_deletes_no_bucket_that_nobody_has_confirmed(left: Left, tmp_path: Path) -> None:
    told = delete(tmp_path, "--bucket", left.bucket, status=1)
    assert "nothing was deleted" in told
    assert left.versions() == 1
