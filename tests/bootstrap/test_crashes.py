"""Whatever single call goes wrong, sending the event again makes the end what it was to be.

Each scenario is first run undisturbed, and then once for every call that it makes and every way in
which a call can go wrong: the function dies before or after it, the answer is lost, AWS throttles,
is busy, has another revision or an internal error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from bootstrap.errors import BootstrapError
from tests.bootstrap.account import FUNCTIONS, Account, manual, notification, resource
from tests.bootstrap.conftest import handler, package, zipped
from tests.bootstrap.fake_aws import Crash, Fault

Event = Mapping[str, Any]
MORE_MEMORY = {"Executor": {"MemorySize": "4096", "ReservedConcurrency": "5", "Tags": {"a": "b"}}}


def nothing() -> tuple[Account, Event]:
    account = Account()
    return account, notification(account.upload("1"))


def live(marker: str = "1") -> Account:
    account = Account()
    assert account.send(notification(account.upload(marker)))["status"] == "CREATED"
    return account


def new_code() -> tuple[Account, Event]:
    account = live()
    return account, notification(account.upload("2"))


def new_configuration() -> tuple[Account, Event]:
    return live(), resource("Update", **MORE_MEMORY)


def code_and_configuration() -> tuple[Account, Event]:
    account = live()
    account.upload("2")
    return account, resource("Update", **MORE_MEMORY)


def rolling_back() -> tuple[Account, Event]:
    account = live()
    account.send(notification(account.upload("2")))
    return account, manual("rollback")


def new_layer() -> tuple[Account, Event]:
    account = live()
    account.environment["WUKONG_EXECUTOR_LAYERS"] = "numpy"
    version = account.upload("", "layers/numpy.zip", zipped({"python/numpy.py": ""}))
    return account, notification(version, "layers/numpy.zip")


def bad_package() -> tuple[Account, Event]:
    account = live()
    body = package("2", invoker="def lambda_handler(e, c):\n    raise ValueError('no')\n")
    return account, notification(account.upload("", body=body))


def half_handler() -> tuple[Account, Event]:
    account = live()
    return account, notification(account.upload("2", executor=handler("invoker", "2")))


def deleting() -> tuple[Account, Event]:
    return live(), manual("delete", confirm="WukongExecutor")


def deleting_with_a_layer() -> tuple[Account, Event]:
    account, event = new_layer()
    account.send(event)
    return account, manual("delete", confirm="WukongExecutor")


SCENARIOS: dict[str, Callable[[], tuple[Account, Event]]] = {
    "create": nothing,
    "new code": new_code,
    "new configuration": new_configuration,
    "code and configuration": code_and_configuration,
    "rollback": rolling_back,
    "new layer": new_layer,
    "bad package": bad_package,
    "wrong handler": half_handler,
    "delete": deleting,
    "delete with a layer": deleting_with_a_layer,
}


@dataclass(frozen=True)
class End:
    """What matters of an account in the end: not numbers, which depend on the way there."""

    markers: tuple[str | None, str | None]
    versions: tuple[int, ...]
    settings: tuple[Any, ...]
    layers: bool
    held: bool
    fails: bool

    @classmethod
    def of(cls, account: Account, answer: Mapping[str, Any]) -> End:
        return cls(
            account.markers(),
            # A failed version that the interrupted event had published is left to be pruned: this
            # one cannot know that the other is not at work any more.
            () if "error" in answer else tuple(len(account.versions(name)) for name in FUNCTIONS),
            tuple(_settings(account, name) for name in FUNCTIONS),
            bool(account.layers("Wukong-numpy")),
            any(
                "held=" in (account.alias(name) or {"Description": ""})["Description"]
                for name in FUNCTIONS
            ),
            "error" in answer,
        )


def _settings(account: Account, name: str) -> tuple[Any, ...] | None:
    function, version = account.function(name), account.function(name, "live")
    if function is None or version is None:
        return None
    found = version["Configuration"]
    return (
        found["MemorySize"],
        # A reply that is lost may leave a layer version that nothing uses.
        [layer["Arn"].rpartition(":")[0] for layer in found.get("Layers", [])],
        function.get("Concurrency"),
        {key: tag for key, tag in function["Tags"].items() if key != "wukong:created-by"},
    )


def finish(account: Account, event: Event) -> Mapping[str, Any]:
    """Send an event until it is answered without an error that a retry can cure."""
    for _ in range(4):
        with suppress(BootstrapError, Crash):
            answer = account.send(event)
            if "error" not in answer or not answer["error"]["retryable"]:
                return answer
    raise AssertionError("the event never ended")


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize("kind", SCENARIOS)
def test_an_event_that_is_interrupted_at_any_call_and_sent_again_ends_as_it_should(
    kind: str, fault: Fault
) -> None:
    start, event = SCENARIOS[kind]()
    undisturbed = start.copy()
    begin = len(undisturbed.aws.calls)
    wanted = End.of(undisturbed, finish(undisturbed, event))
    for call in range(len(undisturbed.aws.calls) - begin):
        account = start.copy()
        account.interrupt(lambda i, _, call=call: fault if i == call else None)  # type: ignore[misc]
        with suppress(Crash):
            account.check_retryable(event, may_fail=wanted.fails)
            executor, invoker = account.markers()
            # One that was told to end put right what it could not finish.
            assert executor == invoker or kind.startswith("delete")
        account.check_switches()
        account.interrupt(None)
        answer = finish(account, event)
        account.check_switches()
        story = f"call {call}: {account.aws.operations[begin:]}"
        assert End.of(account, answer) == wanted, story
        assert not any("secret" in str(entry) for entry in account.bus.entries)


@pytest.mark.parametrize("polls", [5, 40])
def test_slow_settling_only_takes_longer(polls: int) -> None:
    account, event = nothing()
    account.aws.lambda_.create_polls = account.aws.lambda_.update_polls = polls
    assert account.send(event)["status"] == "CREATED"
    assert account.send(notification(account.upload("2")))["status"] == "CODE_CHANGED"
    assert account.markers() == ("2", "2")


def test_a_role_that_lambda_does_not_know_yet_is_waited_for() -> None:
    account, event = nothing()
    for name in ("executor", "invoker"):
        account.aws.lambda_.unassumable[f"arn:aws:iam::123456789012:role/{name}"] = 4
    assert account.send(event)["status"] == "CREATED"


@pytest.mark.parametrize("kind", ["create", "new code", "rollback", "delete"])
def test_when_the_time_ends_at_any_call_it_says_what_is_left_and_the_next_event_goes_on(
    kind: str,
) -> None:
    start, event = SCENARIOS[kind]()
    undisturbed = start.copy()
    begin = len(undisturbed.aws.calls)
    wanted = End.of(undisturbed, finish(undisturbed, event))
    for call in range(len(undisturbed.aws.calls) - begin):
        account = start.copy()
        account.seconds = 40
        account.interrupt(lambda i, _, call=call: Fault.CONFLICT if i >= call else None)  # type: ignore[misc]
        before = account.aws.clock.now
        with suppress(BootstrapError):
            account.send(event)
        assert account.aws.clock.now - before < account.seconds + 10
        # The outcome is in the log and in the news, also where the answer is an exception.
        news = json.loads(account.bus.entries[-1]["Detail"])
        assert news["status"] == "FAILED"
        assert {*news["done"]}.isdisjoint(news["left"])
        account.interrupt(None)
        account.seconds = 900
        assert End.of(account, finish(account, event)) == wanted


@pytest.mark.parametrize("action", ["deploy", "rollback"])
def test_a_switch_is_not_begun_when_there_is_hardly_time_for_both(action: str) -> None:
    """An event by hand does not come again by itself, so its pair must not be left mixed."""
    account = live()
    account.upload("2")
    if action == "rollback":
        account.send(manual("deploy"))
    before = account.release()
    pings: list[int] = []

    def dawdle(index: int, operation: str) -> None:
        pings.append(index) if operation == "Invoke" else None
        if operation == "Invoke" and len(pings) == 2:
            account.aws.clock.advance(850)

    account.interrupt(dawdle)
    answer = account.send(manual(action))
    assert answer["error"]["code"] == "DEADLINE_EXCEEDED"
    assert answer["left"] == ["switch WukongExecutor", "switch WukongInvoker"]
    assert account.release() == before
    account.interrupt(None)
    assert account.send(manual(action))["status"] in {"CODE_CHANGED", "ROLLED_BACK"}


@pytest.mark.parametrize("request_type", ["Create", "Update", "Delete"])
def test_cloudformation_is_answered_in_time_whatever_hangs(request_type: str) -> None:
    account = live()
    event = resource(request_type, **MORE_MEMORY)
    for call in range(12):
        tried = account.copy()
        tried.interrupt(lambda i, _, call=call: Fault.CONFLICT if i >= call else None)  # type: ignore[misc]
        tried.send(event)
        (answer,) = tried.answers
        assert answer["PhysicalResourceId"] == "wukong/WukongExecutor/WukongInvoker"
        assert answer["Status"] in {"FAILED", "SUCCESS"}
        assert tried.aws.clock.now - account.aws.clock.now < 900
