"""CloudFormation's answer: always, once, within its size, to the exact URL, which no log knows."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from bootstrap.answer import Answer, FunctionAnswer, Release, Status
from bootstrap.cloudformation import BODY_BYTES, ReplyTo, physical_id, respond
from bootstrap.errors import AnswerError, EventError
from bootstrap.function import lambda_handler
from bootstrap.spec import merge
from bootstrap.wishes import DeploymentWishes

SPEC = merge([], "owner")
FUNCTION = FunctionAnswer("executor", "WukongExecutor", "WukongExecutor:live", Status.LIVE, "7")
ANSWER = Answer(Status.CREATED, "Done.", Release("1.1", "v1", "sha"), (FUNCTION,))


def reply_to(**changes: str) -> ReplyTo:
    event = {
        "RequestType": "Create",
        "ResponseURL": "https://answer.example/path%7Cmore?Signature=a%2Fb%3D",
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Functions",
        **changes,
    }
    found = ReplyTo.of(event)
    assert found is not None
    return found


def body(answer: Answer, **changes: str) -> dict[str, Any]:
    return dict(json.loads(reply_to(**changes).body(answer, SPEC)))


def test_a_success_gives_the_names_that_the_template_needs() -> None:
    told = body(ANSWER)
    assert told["Status"] == "SUCCESS"
    assert told["PhysicalResourceId"] == "wukong/WukongExecutor/WukongInvoker"
    assert (told["StackId"], told["RequestId"]) == ("stack", "request")
    assert told["LogicalResourceId"] == "Functions"
    assert told["Data"] == {
        "Status": "CREATED",
        "Package": "v1",
        "CodeSha256": "sha",
        "StoreUrl": "",
        "ExecutorFunctionName": "WukongExecutor:live",
        "ExecutorVersion": "7",
        "InvokerFunctionName": "WukongInvoker:live",
        "InvokerVersion": "",
    }


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("dynamodb+s3://table/bucket/wukong", "dynamodb+s3://table/bucket/wukong"),
        ("valkeys://user:secret@host:6379/0", "valkeys://host:6379/0"),
        ("valkeys://:sec/re?t@h@host:6379?ssl_ca_certs=/x", "valkeys://host:6379?ssl_ca_certs=/x"),
        ("unix:///run/valkey.sock?password=secret&db=1", "unix:///run/valkey.sock?db=1"),
        ("valkey://host?db=1&username=secret&password=secret", "valkey://host?db=1"),
        ("", ""),
    ],
)
def test_the_stores_address_is_told_without_user_and_password(url: str, told: str) -> None:
    spec = merge([DeploymentWishes(store_url=url)], "owner")
    data = json.loads(reply_to().body(ANSWER, spec))["Data"]
    assert data["StoreUrl"] == told


def test_a_failure_fits_however_long_its_reason() -> None:
    error = EventError("ü" * 10_000, "🐵" * 5_000)
    raw = reply_to().body(Answer.failed(error), SPEC)
    assert len(raw) <= BODY_BYTES
    told = json.loads(raw)
    assert told["Status"] == "FAILED"
    assert told["Reason"].startswith("INVALID_EVENT: ü")
    assert len(raw) > BODY_BYTES - 100


@pytest.mark.parametrize("request_type", ["Update", "Delete"])
def test_a_failure_keeps_the_physical_id(request_type: str) -> None:
    failed = Answer.failed(EventError("no"))
    told = body(failed, RequestType=request_type, PhysicalResourceId="wukong/a/b")
    assert told["PhysicalResourceId"] == "wukong/a/b"


def test_a_deletion_keeps_the_physical_id_and_a_rename_changes_it() -> None:
    deleted = Answer(Status.DELETED, "gone")
    old = {"PhysicalResourceId": "wukong/a/b"}
    assert body(deleted, RequestType="Delete", **old)["PhysicalResourceId"] == "wukong/a/b"
    assert body(ANSWER, RequestType="Update", **old)["PhysicalResourceId"] == physical_id(SPEC)


def test_a_request_that_cannot_be_read_gets_an_id_all_the_same() -> None:
    told = json.loads(reply_to().body(Answer.failed(EventError("no")), None))
    assert told["PhysicalResourceId"] == "wukong/Functions"


@dataclass
class Server:
    """A place that takes answers, or does not."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(found.statuses.pop(0) if found.statuses else 200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        found.url = f"http://127.0.0.1:{http.server_port}"
        yield found
        http.shutdown()
        thread.join()


def test_the_answer_is_put_to_the_exact_url_without_a_content_type(server: Server) -> None:
    path = "/arn%3Aaws%7CFunctions?X-Amz-Signature=a%2Fb%3D&x=~y"
    respond(reply_to(ResponseURL=server.url + path), b"{}")
    ((got, headers, sent),) = server.got
    assert (got, sent) == (path, b"{}")
    assert "content-type" not in headers


def test_an_answer_that_was_not_taken_is_sent_again(server: Server) -> None:
    server.statuses = [503, 403]
    pauses: list[float] = []
    respond(reply_to(ResponseURL=server.url), b"{}", pauses.append)
    assert len(server.got) == 3
    assert len(pauses) == 2


def test_an_answer_that_nobody_takes_is_an_error_without_the_url(server: Server) -> None:
    server.statuses = [403] * 9
    with pytest.raises(AnswerError, match="HTTP 403") as caught:
        respond(reply_to(ResponseURL=server.url + "/secret"), b"{}", lambda _: None)
    assert "secret" not in str(caught.value)
    with pytest.raises(AnswerError, match="ConnectionError") as caught:
        respond(reply_to(ResponseURL="http://127.0.0.1:9/secret"), b"{}", lambda _: None)
    assert "secret" not in str(caught.value)


class Context:
    """What the handler needs of Lambda's context."""

    function_name = "WukongBootstrap"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:WukongBootstrap"
    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.mark.parametrize(
    ("request_type", "properties", "reason"),
    [
        ("Create", {"Executor": {"MemorySize": "lots"}}, "ResourceProperties"),
        ("Create", "not even an object", "ResourceProperties"),
        ("Explode", {}, "RequestType"),
    ],
)
def test_a_broken_request_is_answered_once_and_no_log_knows_the_url(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    log: io.StringIO,
    request_type: str,
    properties: object,
    reason: str,
) -> None:
    monkeypatch.setenv("WUKONG_PACKAGE_BUCKET", "bucket")
    monkeypatch.setenv("WUKONG_PACKAGE_KEY", "deployment.zip")
    event = {
        "RequestType": request_type,
        "ResponseURL": f"{server.url}/secret",
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Functions",
        "ResourceProperties": properties,
    }
    context: Any = Context()
    answer = lambda_handler(event, context)
    assert answer["status"] == "FAILED"
    ((_, _, sent),) = server.got
    told = json.loads(sent)
    assert told["Status"] == "FAILED"
    assert reason.lower() in told["Reason"].lower().replace("_", "")
    captured = capsys.readouterr()
    assert '"message":"answer"' in log.getvalue()
    assert "secret" not in captured.out + captured.err + log.getvalue()


def test_without_settings_cloudformation_is_answered_too(server: Server) -> None:
    event = {"RequestType": "Create", "ResponseURL": server.url, "RequestId": "request"}
    context: Any = Context()
    answer = lambda_handler(event, context)
    assert answer["error"]["code"] == "INVALID_SETTINGS"
    assert len(server.got) == 1
