"""Lambda in memory: one client of all that the other modules can do.

Where AWS documents less than one needs, recordings of its answers decide, as they are published
with LocalStack's tests. So PublishVersion and the tags give `$LATEST` a new RevisionId too; a
version that Lambda finishes keeps its own.
"""

from __future__ import annotations

from typing import ClassVar

from tests.bootstrap.fake_aliases import Aliases
from tests.bootstrap.fake_answers import BUSY, STALE, conflict
from tests.bootstrap.fake_aws import Fault, Refused
from tests.bootstrap.fake_functions import Functions
from tests.bootstrap.fake_layers import Layers
from tests.bootstrap.fake_settings import Settings
from tests.bootstrap.fake_versions import Versions
from tests.bootstrap.fake_writes import Failure

__all__ = ["Failure", "FakeLambda"]


class FakeLambda(Functions, Versions, Aliases, Settings, Layers):
    """A Lambda client; what is AWS's to decide can be set.

    Attributes
    ----------
    create_polls, update_polls, snapshot_polls
        How many polls see a creation, an update, and a new version with SnapStart going on.
    unassumable
        How many more calls are refused because Lambda cannot assume a role yet, by the role's ARN.
    failures
        How the next `(operation, function)` ends, for CreateFunction, UpdateFunctionCode,
        UpdateFunctionConfiguration and, with SnapStart, PublishVersion.
    """

    refusals: ClassVar = {
        Fault.THROTTLE: Refused(429, "TooManyRequestsException", "Rate exceeded"),
        Fault.CONFLICT: conflict(f"{BUSY}An update is in progress for resource: arn"),
        Fault.PRECONDITION: STALE,
        Fault.SERVER_ERROR: Refused(500, "ServiceException", "An internal error occurred."),
    }
