"""The bootstrap's own handler on an account in memory: events in, answers out, and what must hold.

Everything between the raw event and AWS is the real code; AWS, the clock and CloudFormation's inbox
are of `fake_aws`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from unittest import mock

from bootstrap.cloudformation import ReplyTo
from bootstrap.deadline import ANSWER_SECONDS, Deadline
from bootstrap.errors import BootstrapError
from bootstrap.function import lambda_handler
from tests.bootstrap.conftest import package
from tests.bootstrap.fake_aws import FakeAws, FakeClock, Hook
from tests.bootstrap.fake_state import BOOTSTRAP

BUCKET = "packages"
KEY = "deployment.zip"
FUNCTIONS = ("WukongExecutor", "WukongInvoker")
ROLE = "arn:aws:iam::123456789012:role/{}"
STACK = "arn:aws:cloudformation:eu-west-1:123456789012:stack/app/1"
ENVIRONMENT = {
    "WUKONG_PACKAGE_BUCKET": BUCKET,
    "WUKONG_PACKAGE_KEY": KEY,
    "WUKONG_OWNER": STACK,
    "WUKONG_STORE_URL": "redis://:secret@store",
    "WUKONG_KEEP_RELEASES": "3",
    "WUKONG_EXECUTOR_ROLE": ROLE.format("executor"),
    "WUKONG_INVOKER_ROLE": ROLE.format("invoker"),
    "WUKONG_EXECUTOR_MEMORY_SIZE": "3008",
}


class Context:
    """Lambda's context of one invocation."""

    function_name = "WukongBootstrap"
    memory_limit_in_mb = 512
    invoked_function_arn = BOOTSTRAP

    def __init__(self, request_id: str, seconds: float) -> None:
        self.aws_request_id = request_id
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


class Bus:
    """EventBridge, which remembers what it was told."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 -- AWS's
        self.entries += Entries
        return {"FailedEntryCount": 0}


@dataclass
class Account:
    """An AWS account with a package's bucket and a bootstrap function."""

    aws: FakeAws = field(default_factory=FakeAws)
    bus: Bus = field(default_factory=Bus)
    environment: dict[str, str] = field(default_factory=lambda: dict(ENVIRONMENT))
    answers: list[dict[str, Any]] = field(default_factory=list)
    """What CloudFormation was answered."""
    seconds: float = 900.0
    """How much time an invocation has."""
    sent: int = 0

    def __post_init__(self) -> None:
        if not self.aws.calls and not self.sent:
            self.aws.s3.create(BUCKET)

    def copy(self) -> Account:
        """Give an account that is the same now and goes its own way."""
        return copy.deepcopy(self)

    def upload(self, marker: str, key: str = KEY, body: bytes | None = None, **more: Any) -> str:
        """Upload a package, and give its version."""
        content = body if body is not None else package(marker, **more)
        return self.aws.s3.put(BUCKET, key, content)

    def send(self, event: object) -> dict[str, Any]:
        """Let the bootstrap handle an event; gives its answer, or raises what it raises."""
        self.sent += 1
        self.aws.clock.advance(10)
        # The same object: what the stack says now, whatever a process began with.
        self.aws.lambda_.bootstrap_environment = self.environment
        context: Any = Context(f"{self.sent:08}-request", self.seconds)
        with self._instead_of_aws():
            answer = lambda_handler(event, context)
        json.dumps(answer)
        return answer

    @contextmanager
    def _instead_of_aws(self) -> Iterator[None]:
        clients = {"lambda": self.aws.lambda_, "s3": self.aws.s3, "events": self.bus}

        def client(service: str, **_: object) -> object:
            return clients[service]

        def respond(_: ReplyTo, body: bytes) -> None:
            self.answers.append(json.loads(body))

        with (
            mock.patch("boto3.client", client),
            mock.patch.dict("os.environ", self.environment),
            mock.patch("bootstrap.function.Deadline", _deadlines(self.aws.clock)),
            mock.patch("bootstrap.function.respond", respond),
            mock.patch("bootstrap.surroundings.datetime", _times(self.aws)),
        ):
            yield

    def interrupt(self, fault: Hook | None) -> None:
        """Say what goes wrong with the calls from now on, counted from 0."""
        begin = len(self.aws.calls)
        self.aws.fault = None if fault is None else lambda i, name: fault(i - begin, name)

    def alias(self, name: str, alias: str = "live") -> dict[str, Any] | None:
        """Look an alias up, without a trace in `calls`."""
        return self._quietly("get_alias", FunctionName=name, Name=alias)

    def function(self, name: str, qualifier: str | None = None) -> dict[str, Any] | None:
        """Look a function up, without a trace in `calls`."""
        asked = {"Qualifier": qualifier} if qualifier else {}
        return self._quietly("get_function", FunctionName=name, **asked)

    def versions(self, name: str) -> list[str]:
        """List the published versions."""
        found = self._quietly("list_versions_by_function", FunctionName=name)
        return [
            v["Version"] for v in (found or {}).get("Versions", []) if v["Version"] != "$LATEST"
        ]

    def layers(self, name: str) -> list[int]:
        """List the versions of a layer, without a trace in `calls`."""
        found = self._quietly("list_layer_versions", LayerName=name)
        return [layer["Version"] for layer in (found or {})["LayerVersions"]]

    def release(self) -> str | None:
        """Name the live release; None if none is."""
        aliases = [self.alias(name) for name in FUNCTIONS]
        return (
            ".".join(a["FunctionVersion"] if a else "-" for a in aliases) if any(aliases) else None
        )

    def markers(self) -> tuple[str | None, str | None]:
        """Ask the live functions which packages they are from."""
        executor, invoker = (self._marker(name) for name in FUNCTIONS)
        return executor, invoker

    def _marker(self, name: str) -> str | None:
        if self.alias(name) is None:
            return None
        ping = {"FunctionName": name, "Qualifier": "live", "Payload": b'{"wukong":"ping"}'}
        answer = self._quietly("invoke", InvocationType="RequestResponse", **ping)
        return str(json.loads(answer["Payload"].read())["marker"]) if answer else None

    def _quietly(self, method: str, **arguments: Any) -> dict[str, Any] | None:
        fault, calls = self.aws.fault, list(self.aws.calls)
        self.aws.fault = None
        try:
            return dict(getattr(self.aws.lambda_, method)(**arguments))
        except Exception as error:
            if "ResourceNotFound" in str(error):
                return None
            raise
        finally:
            self.aws.fault, self.aws.calls[:] = fault, calls

    def check_retryable(self, event: object, *, may_fail: bool) -> None:
        """Send an event that may be disturbed: it succeeds, or says that a retry can cure it.

        Of an upload nobody hears, so there that is raised: Lambda sends it again.
        """
        with suppress(BootstrapError):
            answer = self.send(event)
            if "error" in answer and not may_fail:
                assert answer["error"]["retryable"], answer
                assert not (isinstance(event, dict) and "Records" in event)

    def check_switches(self) -> None:
        """Check that no alias was ever pointed at a version that nobody had pinged."""
        pinged: set[tuple[str, str]] = set()
        for operation, said in self.aws.calls:
            if operation == "Invoke":
                pinged.add((said["FunctionName"], said["Qualifier"]))
            if operation in {"CreateAlias", "UpdateAlias"}:
                assert (said["FunctionName"], said["FunctionVersion"]) in pinged


def notification(version: str, key: str = KEY, **more: Any) -> dict[str, Any]:
    """Give S3's event of an upload."""
    record = {
        "eventVersion": "2.6",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AROAEXAMPLE:alice"},
        "s3": {"bucket": {"name": BUCKET}, "object": {"key": key, "versionId": version}},
    }
    return {"Records": [{**record, **more}]}


def resource(request: str = "Update", **properties: Any) -> dict[str, Any]:
    """Give CloudFormation's request."""
    return {
        "RequestType": request,
        "ResponseURL": "https://answer.example/?Signature=secret",
        "StackId": STACK,
        "RequestId": "request",
        "LogicalResourceId": "Functions",
        "PhysicalResourceId": "" if request == "Create" else "wukong/WukongExecutor/WukongInvoker",
        "ResourceProperties": {"ServiceToken": "arn", **properties},
    }


def _deadlines(clock: FakeClock) -> Any:
    def after(milliseconds: int) -> Deadline:
        seconds = milliseconds / 1000
        until = clock.read() + max(seconds - ANSWER_SECONDS, seconds / 2)
        return Deadline(until, clock.read, clock.advance)

    return mock.Mock(after=after)


def _times(aws: FakeAws) -> Any:
    def now(_: object) -> datetime:
        return aws.time()

    return mock.Mock(now=now)


def manual(action: str, **more: Any) -> Mapping[str, Any]:
    """Give an event by hand."""
    return {"action": action, **more}
