"""Random walks: uploads, events twice, late and in any order, stack updates, rollbacks, faults.

After every quiet point, when all events have been delivered, what the bootstrap promises must hold.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from bootstrap.errors import BootstrapError
from tests.bootstrap.account import (
    BUCKET,
    FUNCTIONS,
    KEY,
    ROLE,
    Account,
    manual,
    notification,
    resource,
)
from tests.bootstrap.conftest import handler, package, zipped
from tests.bootstrap.fake_aws import Crash, Fault
from tests.bootstrap.fake_state import BOOTSTRAP

CHANGED = {"CREATED", "CODE_CHANGED", "CONFIGURATION_CHANGED", "ROLLED_BACK", "UNCHANGED"}
BAD = {
    "no zip": b"nothing like a zip",
    "no invoker": package("bad", invoker=None),
    "raises": package("bad", executor="def lambda_handler(e, c):\n    raise ValueError('no')\n"),
    "swapped": package("bad", executor=handler("invoker", "bad")),
}


class Walk(RuleBasedStateMachine):
    """One account, and what was done to it."""

    uploads = Bundle("uploads")

    def __init__(self) -> None:
        super().__init__()
        self.account = Account()
        self.pending: list[dict[str, Any]] = []
        self.newest: str | None = None
        self.newest_is_good = True
        self.layer_is_good = True
        self.overtaken = False
        self.number = 0
        self.rolled_back: set[str | None] = set()
        self.asked = 0
        self.stranger: Any = None

    @initialize()
    def somebody_else_has_a_function(self) -> None:
        version = self.account.upload("theirs", "elsewhere.zip")
        self.account.aws.lambda_.create_function(
            FunctionName="Stranger",
            Runtime="python3.13",
            Handler="executor.function.lambda_handler",
            Role=ROLE.format("stranger"),
            Code={"S3Bucket": BUCKET, "S3Key": "elsewhere.zip", "S3ObjectVersion": version},
        )
        while self.account.function("Stranger")["Configuration"]["State"] != "Active":  # type: ignore[index]
            pass
        self.stranger = self.account.function("Stranger")
        self.account.aws.calls.clear()

    @rule(target=uploads)
    def upload(self) -> str:
        self.number += 1
        self.newest, self.newest_is_good = f"{self.number}", True
        version = self.account.upload(self.newest)
        self.pending.append(notification(version))
        return version

    @rule(target=uploads, kind=st.sampled_from(sorted(BAD)))
    def upload_a_bad_one(self, kind: str) -> str:
        self.newest_is_good = False
        version = self.account.upload("", body=BAD[kind])
        self.pending.append(notification(version))
        return version

    @rule(number=st.integers(0, 9))
    def upload_a_layer(self, number: int) -> None:
        self.account.environment["WUKONG_EXECUTOR_LAYERS"] = "numpy"
        self.layer_is_good = True
        body = zipped({"python/numpy.py": f"{number}"})
        version = self.account.upload("", "layers/numpy.zip", body=body)
        self.pending.append(notification(version, "layers/numpy.zip"))

    @rule()
    def upload_a_bad_layer(self) -> None:
        self.account.environment["WUKONG_EXECUTOR_LAYERS"] = "numpy"
        self.layer_is_good = False
        version = self.account.upload("", "layers/numpy.zip", b"nothing like a zip")
        self.pending.append(notification(version, "layers/numpy.zip"))

    @rule(version=uploads)
    def deliver_an_old_event_again(self, version: str) -> None:
        self.send(notification(version))

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def deliver_in_any_order(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.pending) - 1))
        self.send(self.pending.pop(place))

    @rule(memory=st.integers(1, 8), create=st.booleans())
    def update_the_stack(self, memory: int, create: bool) -> None:
        self.account.environment["WUKONG_EXECUTOR_MEMORY_SIZE"] = str(memory * 1024)
        properties = {"Executor": {"MemorySize": str(memory * 1024)}}
        self.send(resource("Create" if create else "Update", **properties))

    @rule()
    def roll_back(self) -> None:
        self.after_a_rollback(manual("rollback"))

    @rule(data=st.data())
    def roll_back_to_one_of_the_history(self, data: st.DataObject) -> None:
        answer = self.send(manual("history"))
        releases = answer["releases"] if answer else []
        if releases:
            name = data.draw(st.sampled_from([release["name"] for release in releases]))
            self.after_a_rollback(manual("rollback", to=name))

    def after_a_rollback(self, event: Any) -> None:
        before = self.account.markers()
        answer = self.send(event)
        if answer is not None and answer["status"] == "ROLLED_BACK":
            self.rolled_back |= set(before)

    @rule()
    def deploy_by_hand_what_was_rolled_back(self) -> None:
        answer = self.send(manual("deploy", force=True))
        if answer is not None and answer["status"] in CHANGED:
            self.rolled_back.discard(self.newest)

    @rule()
    def delete(self) -> None:
        self.send(manual("delete", confirm=FUNCTIONS[0]))

    @rule()
    def delete_the_stack(self) -> None:
        """CloudFormation deletes, and what comes later creates anew."""
        self.send(resource("Delete"))
        assert self.account.markers() == (None, None) or self.account.answers[-1]["Status"] == (
            "FAILED"
        )

    @rule(fault=st.sampled_from(Fault), call=st.integers(0, 30))
    def disturb(self, fault: Fault, call: int) -> None:
        """Let one call of the next event go wrong."""
        self.account.interrupt(lambda i, _: fault if i == call else None)

    @precondition(lambda self: self.pending)
    @rule(call=st.integers(1, 25), memory=st.integers(1, 8))
    def two_deployments_at_once(self, call: int, memory: int) -> None:
        """While an upload is deployed, a stack update runs from beginning to end.

        CloudFormation gives the bootstrap its new settings first, which the upload's process does
        not see.
        """
        other = resource("Update", Executor={"MemorySize": str(memory * 1024)})

        def meanwhile(index: int, _: str) -> None:
            if index == call:
                self.account.aws.fault = None
                self.account.environment["WUKONG_EXECUTOR_MEMORY_SIZE"] = str(memory * 1024)
                self.overtaken = False
                self.send(other)
                self.overtaken = True

        self.account.interrupt(meanwhile)
        self.overtaken = True
        self.send(self.pending.pop())
        self.overtaken = False

    def send(self, event: Any) -> dict[str, Any] | None:
        """Send an event as Lambda does: what fails for now comes again."""
        is_asked = "ResponseURL" in event
        self.asked += is_asked
        for _ in range(6):
            try:
                with suppress(BootstrapError):
                    answer = self.account.send(event)
                    if "error" not in answer or not answer["error"]["retryable"] or is_asked:
                        if answer["status"] in CHANGED | {"HELD", "STALE"}:
                            self.check(answer)
                        return answer
            except Crash:
                pass
            finally:
                self.account.interrupt(None)
        raise AssertionError("the event never ended")

    def check(self, answer: dict[str, Any]) -> None:
        """What was answered is true, and a deployment leaves one package live."""
        if answer["status"] in CHANGED:
            # What was only read was true when it was read.
            if not (self.overtaken and answer["status"] == "UNCHANGED"):
                assert answer["release"]["name"] == self.account.release()
            executor, invoker = self.account.markers()
            assert executor == invoker

    @rule()
    def all_is_delivered(self) -> None:
        """Reach a quiet point; a stack update that failed for now is sent again by somebody."""
        self.account.interrupt(None)
        for event in [*self.pending, resource("Update")]:
            self.send(event)
        self.pending.clear()
        executor, invoker = self.account.markers()
        assert executor == invoker
        if self.newest_is_good and self.layer_is_good and self.newest not in self.rolled_back:
            assert executor == self.newest
        found = self.account.function(FUNCTIONS[0], "live")
        # A layer that never was good leaves nothing that could be configured instead.
        if found is not None and (self.layer_is_good or found["Configuration"].get("Layers")):
            memory = self.account.environment["WUKONG_EXECUTOR_MEMORY_SIZE"]
            assert str(found["Configuration"]["MemorySize"]) == memory

    @invariant()
    def nothing_foreign_is_touched(self) -> None:
        if self.stranger is not None:
            assert self.account.function("Stranger") == self.stranger
        for operation, said in self.account.aws.calls:
            itself = {BOOTSTRAP} if operation == "GetFunctionConfiguration" else set()
            assert said.get("FunctionName", FUNCTIONS[0]) in {*FUNCTIONS, *itself}
            assert said.get("Bucket", BUCKET) == BUCKET
            assert said.get("Key", KEY).startswith((KEY, "layers/"))

    @invariant()
    def cloudformation_is_answered_exactly_once(self) -> None:
        assert len(self.account.answers) == self.asked

    @invariant()
    def only_what_answered_a_ping_was_ever_live(self) -> None:
        self.account.check_switches()


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
