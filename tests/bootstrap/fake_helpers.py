"""What tests of the fake AWS alone begin with: a settled function, and calls that are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.bootstrap.conftest import package
from tests.bootstrap.differential import HANDLER
from tests.bootstrap.fake_aws import FakeAws


def lambda_with(**configuration: Any) -> FakeAws:
    """Give an account with the function `f`, settled."""
    aws = FakeAws()
    version = aws.s3.put("bucket", "key", package("1"))
    code = {"S3Bucket": "bucket", "S3Key": "key", "S3ObjectVersion": version}
    rest = {"Role": "role", "Runtime": "python3.13", "Handler": HANDLER, **configuration}
    aws.lambda_.create_function(FunctionName="f", Code=code, **rest)
    while aws.lambda_.get_function(FunctionName="f")["Configuration"]["State"] == "Pending":
        pass
    aws.calls.clear()
    return aws


def uploaded(aws: FakeAws, body: bytes) -> dict[str, str]:
    """Upload a zip; gives where Lambda finds it."""
    version = aws.s3.put("bucket", "key", body)
    return {"S3Bucket": "bucket", "S3Key": "key", "S3ObjectVersion": version}


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    """Make a call that must be refused; gives the code and the message."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]
