"""Makes the table and the bucket of a `dynamodb+s3://` store, where no stack has made them.

For the embedded AWS, and to try the store in an account: on AWS the template makes both.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wukong.storage.dynamo.address import Address

if TYPE_CHECKING:
    from collections.abc import Iterator

OBJECTS_DAYS = 2
"""Objects that nobody has deleted go after so long: more than `run.keep_seconds` usually is."""

PARTS_DAYS = 1


def provide(url: str) -> None:
    """Make the table and the bucket that a store URL names, unless they are there.

    Region, endpoint and credentials are from the environment, as boto3 has it.

    Raises
    ------
    StorageError
        If the URL names none.
    ClientError
        If AWS refuses.
    """
    from boto3.session import Session

    address = Address.of(url)
    session: Any = Session(region_name=os.environ.get("AWS_REGION") or None)
    _provide_table(session.client("dynamodb"), address.table)
    _provide_bucket(session.client("s3"), address, session.region_name)


def _provide_table(dynamodb: Any, name: str) -> None:
    keys = {"pk": "HASH", "sk": "RANGE"}
    with _unless("ResourceInUseException"):
        dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": one, "AttributeType": "S"} for one in keys],
            KeySchema=[{"AttributeName": one, "KeyType": kind} for one, kind in keys.items()],
        )
        dynamodb.get_waiter("table_exists").wait(TableName=name)
        dynamodb.update_time_to_live(
            TableName=name,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"},
        )


def _provide_bucket(s3: Any, address: Address, region: str) -> None:
    where = {} if region == "us-east-1" else {"LocationConstraint": region}
    options = {"CreateBucketConfiguration": where} if where else {}
    with _unless("BucketAlreadyOwnedByYou"):
        s3.create_bucket(Bucket=address.bucket, **options)
        rule = {
            "ID": "wukong",
            "Status": "Enabled",
            "Filter": {"Prefix": f"{address.prefix}/"},
            "Expiration": {"Days": OBJECTS_DAYS},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": PARTS_DAYS},
        }
        s3.put_bucket_lifecycle_configuration(
            Bucket=address.bucket, LifecycleConfiguration={"Rules": [rule]}
        )


@contextmanager
def _unless(code: str) -> Iterator[None]:
    """Take the refusal to make what is there already for success."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] != code:
            raise
