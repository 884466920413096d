"""Deleting a stack whose creation or deletion has failed: the account is stubbed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore.stub import Stubber

from wukong.stack.cloudformation import Stack

ARN = "arn:aws:cloudformation:us-east-1:123456789012:stack/failed/1"


@pytest.fixture
def failed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack that lists one bucket, which has gone already."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    stack = Stack("failed", region="us-east-1", endpoint_url="http://127.0.0.1:9")
    with Stubber(stack._cloudformation) as cloud, Stubber(stack._s3) as s3:
        stack.__dict__["account"] = "123456789012"
        found = {"StackName": "failed", "StackId": ARN, "CreationTime": "2026-01-01"}
        cloud.add_response(
            "describe_stacks", {"Stacks": [{**found, "StackStatus": "ROLLBACK_COMPLETE"}]}
        )
        bucket = {
            "LogicalResourceId": "PackageBucket",
            "PhysicalResourceId": "packages",
            "ResourceType": "AWS::S3::Bucket",
            "ResourceStatus": "DELETE_COMPLETE",
            "LastUpdatedTimestamp": "2026-01-01",
        }
        cloud.add_response("list_stack_resources", {"StackResourceSummaries": [bucket]})
        s3.add_client_error("head_bucket", "404", http_status_code=404)
        cloud.add_response("delete_stack", {}, {"StackName": "failed"})
        cloud.add_response(
            "describe_stacks", {"Stacks": [{**found, "StackStatus": "DELETE_COMPLETE"}]}
        )
        yield stack
        cloud.assert_no_pending_responses()
        s3.assert_no_pending_responses()


def test_a_stack_whose_bucket_has_gone_already_is_deleted(failed: Stack) -> None:
    failed.delete(sleep=lambda seconds: None)
