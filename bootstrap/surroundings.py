"""What every action works with, made once for an event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bootstrap.deadline import Deadline
from bootstrap.lambda_api import LambdaApi
from bootstrap.progress import Progress
from bootstrap.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """AWS, the bootstrap's settings, its time and its clock.

    Attributes
    ----------
    request_id
        Of the Lambda invocation, for the record.
    function_arn
        Of the bootstrap function itself.
    began
        When this event came in.
    progress
        What this event has done so far.
    """

    api: LambdaApi
    s3: S3Client
    settings: Settings
    deadline: Deadline
    request_id: str = ""
    now: Callable[[], datetime] = _now
    progress: Progress = field(default_factory=Progress)
    function_arn: str = ""
    began: datetime = field(init=False)

    def __post_init__(self) -> None:
        """Look at the clock, before anything is read."""
        object.__setattr__(self, "began", self.now())
