"""The fake Lambda's versions: published, listed, and invoked, without running their code."""

# ruff: noqa: N803 - arguments are spelled as boto3 spells them

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from functools import lru_cache

from botocore.response import StreamingBody

from tests.bootstrap.fake_answers import BUSY, conflict, invalid, paged, without
from tests.bootstrap.fake_aws import Answer, Refused, copied, operation
from tests.bootstrap.fake_state import Function, Version
from tests.bootstrap.fake_writes import CREATING, UPDATING, LambdaWrites


class Versions(LambdaWrites):
    """The operations on versions."""

    @operation(201)
    def publish_version(
        self,
        *,
        FunctionName: str,
        Description: str | None = None,
        CodeSha256: str | None = None,
        RevisionId: str | None = None,
    ) -> Answer:
        """Publish `$LATEST`; one that is the same as the last version gives that one."""
        function = self._writable(FunctionName, RevisionId)
        latest = function.latest
        current = latest.wire["CodeSha256"]
        if CodeSha256 not in {None, current}:
            raise invalid(
                f"CodeSHA256 ({CodeSha256}) is different from current CodeSHA256 in $LATEST "
                f"({current}). Please try again with the CodeSHA256 in $LATEST."
            )
        last = function.versions.get(str(function.next_version - 1))
        if last and last.published_from == latest.wire:
            return function.described(last, last.number)
        number = str(function.next_version)
        function.next_version += 1
        version = Version(
            number,
            copied(latest.wire),
            latest.code,
            self.aws.new_id(),
            self._date(),
            published_from=copied(latest.wire),
        )
        if Description is not None:
            version.wire["Description"] = Description
        if version.wire["SnapStart"]["ApplyOn"] == "PublishedVersions":
            version.wire["SnapStart"]["OptimizationStatus"] = "On"
            self._begin("PublishVersion", version, CREATING, self.snapshot_polls)
        function.versions[number] = version
        latest.revision_id = self.aws.new_id()
        return function.described(version, number)

    @operation()
    def list_versions_by_function(
        self, *, FunctionName: str, Marker: str | None = None, MaxItems: int = 50
    ) -> Answer:
        """List `$LATEST` and the published versions, oldest first; their states are left out."""
        function = self._function(FunctionName)
        versions = [function.latest, *function.versions.values()]
        page, more = paged(versions, Marker, MaxItems)
        hidden = CREATING.keys() | UPDATING.keys()
        listed = [without(function.described(v, v.number), hidden) for v in page]
        return {"Versions": listed, **more}

    @operation()
    def invoke(
        self,
        *,
        FunctionName: str,
        Qualifier: str | None = None,
        InvocationType: str = "RequestResponse",
        Payload: bytes = b"",
    ) -> Answer:
        """Invoke a function, version or alias; an alias's first version, whatever the weights."""
        assert InvocationType == "RequestResponse"
        function, version = self._version(FunctionName, Qualifier)
        self._check_invocable(function, version)
        error, payload = _answer_of(*version.running)
        stream = StreamingBody(io.BytesIO(payload), len(payload))
        failed = {"FunctionError": error} if error else {}
        return {"StatusCode": 200, "ExecutedVersion": version.number, **failed, "Payload": stream}

    def _check_invocable(self, function: Function, version: Version) -> None:
        if version.status["State"] == "Pending":
            self._poll(version)
        state = version.status["State"]
        if state != "Active":
            raise conflict(f"{BUSY}The function is currently in the following state: {state}")
        if function.reserved == 0:
            raise Refused(429, "TooManyRequestsException", "Rate Exceeded.")


@lru_cache(maxsize=1024)
def _answer_of(code: bytes, handler: str) -> tuple[str, bytes]:
    """Give the FunctionError and the answer of a handler like that of `conftest.handler`.

    It is read, not run; one that raises gives its error, whatever the event is.
    """
    module, _, _ = handler.rpartition(".")
    try:
        with zipfile.ZipFile(io.BytesIO(code)) as archive:
            source = archive.read(f"{module.replace('.', '/')}.py").decode()
    except KeyError:
        message = f"Unable to import module '{module}': No module named '{module}'"
        return _failed("Runtime.ImportModuleError", message)
    if found := re.search(r"\braise\s+(\w+)\((.*)\)", source):
        return _failed(found[1], ast.literal_eval(found[2]))
    answer = {name: ast.literal_eval(text) for name, text in re.findall(r"(\w+)=('[^']*')", source)}
    return "", json.dumps(answer).encode()


def _failed(kind: str, message: str) -> tuple[str, bytes]:
    error = {"errorMessage": message, "errorType": kind, "requestId": "", "stackTrace": []}
    return "Unhandled", json.dumps(error).encode()
