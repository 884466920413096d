"""Writes to the fake Lambda's functions end later, well or not, and keep others waiting until then.

A write ends after a number of polls: each GetFunction or GetFunctionConfiguration is one, and so is
a call that was refused because of it, as time passes by it too. The last poll before the end still
sees it going on.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.bootstrap.fake_answers import BUSY, STALE, conflict, invalid
from tests.bootstrap.fake_aws import Answer, FakeAws
from tests.bootstrap.fake_state import LATEST, SETTLED, Function, LambdaState, Version

CREATING: Answer = {
    "State": "Pending",
    "StateReason": "The function is being created.",
    "StateReasonCode": "Creating",
}
UPDATING: Answer = {
    "State": "Active",
    "LastUpdateStatus": "InProgress",
    "LastUpdateStatusReason": "The function is being created.",
    "LastUpdateStatusReasonCode": "Creating",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why Lambda could not finish a write; the code is one of AWS's, such as `InvalidSubnet`."""

    code: str = "SubnetOutOfIPAddresses"
    reason: str = "The subnet has no address left."


class LambdaWrites(LambdaState):
    """What becomes of writes; the attributes are for tests to set, see `FakeLambda`."""

    def __init__(self, aws: FakeAws) -> None:
        super().__init__(aws)
        self.create_polls = 1
        self.update_polls = 1
        self.snapshot_polls = 1
        self.unassumable: dict[str, int] = {}
        self.failures: dict[tuple[str, str], Failure] = {}

    def _writable(self, name: str, revision_id: str | None) -> Function:
        """Give a function whose `$LATEST` may be written to now, by who knows its revision."""
        function = self._idle(name)
        if function.latest.status["State"] == "Failed":
            raise conflict(f"{BUSY}The function is currently in the following state: Failed")
        if revision_id not in {None, function.latest.revision_id}:
            raise STALE
        return function

    def _idle(self, name: str) -> Function:
        """Give a function to which nothing happens now.

        AWS documents this only for what `_writable` is for; others may be refused as well.
        """
        function = self._function(name)
        busy = self._poll(function.latest)
        if function.latest.status["State"] == "Pending":
            raise conflict(f"{BUSY}The function is currently in the following state: Pending")
        if busy:
            raise conflict(f"{BUSY}An update is in progress for resource: {function.arn}")
        return function

    def _poll(self, version: Version) -> bool:
        """Let time pass; tells whether a write to this version still goes on."""
        if version.polls is None:
            return False
        if version.polls:
            version.polls -= 1
            return True
        version.polls = None
        version.status = version.ending
        if version.status == SETTLED:
            version.run()
        # A version that Lambda finishes keeps its revision.
        if version.number == LATEST:
            version.revision_id = self.aws.new_id()
        return False

    def _updated(self, operation_name: str, function: Function) -> Answer:
        latest = function.latest
        latest.revision_id = self.aws.new_id()
        latest.modified = self._date()
        self._begin(operation_name, latest, UPDATING, self.update_polls)
        return function.described(latest)

    def _begin(self, operation_name: str, version: Version, status: Answer, polls: int) -> None:
        version.polls = polls
        version.status = status
        version.ending = SETTLED
        failure = self.failures.pop((operation_name, version.wire["FunctionName"]), None)
        if failure:
            failed = "State" if status is CREATING else "LastUpdateStatus"
            version.ending = {
                "State": "Active",
                failed: "Failed",
                f"{failed}Reason": failure.reason,
                f"{failed}ReasonCode": failure.code,
            }

    def _check_role(self, role: str) -> None:
        if self.unassumable.get(role, 0) > 0:
            self.unassumable[role] -= 1
            raise invalid("The role defined for the function cannot be assumed by Lambda.")
