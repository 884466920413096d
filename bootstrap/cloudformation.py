"""The protocol of CloudFormation's custom resources: which request this is, and its one answer.

CloudFormation waits for a PUT to a pre-signed URL, up to an hour if none comes; so there is one
place that answers, and it never gives up silently. The URL lets anybody answer, so it is never
logged, not even inside an exception.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import requests
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_pascal

from bootstrap.answer import Answer, Status
from bootstrap.errors import AnswerError, EventError
from bootstrap.spec import DeploymentSpec, Unset

BODY_BYTES = 4096
"""Limit of the whole answer; CloudFormation takes a longer one for none at all."""

PHYSICAL_ID = "wukong/"
"""How the ids of our resources begin."""

TRIES = 3
SECONDS_PER_TRY = (2.0, 4.0)
"""To connect, and to read: all tries together must fit into what the deadline keeps back."""


class CustomResource(BaseModel):
    """The parts of a request that decide what is to be done."""

    model_config = ConfigDict(alias_generator=to_pascal, hide_input_in_errors=True, frozen=True)

    request_type: Literal["Create", "Update", "Delete"]
    stack_id: str
    resource_properties: dict[str, Any]
    logical_resource_id: str = ""
    physical_resource_id: str = ""

    @property
    def stack_name(self) -> str:
        """The stack's name, out of its id."""
        return self.stack_id.split("/")[1] if "/" in self.stack_id else self.stack_id

    def refuse_half_a_rename(self, spec: DeploymentSpec) -> None:
        """Refuse an update that renames one function of the pair and keeps the other.

        A new physical id makes CloudFormation delete the old pair afterwards, and with it the
        function that kept its name.
        """
        new = physical_id(spec)
        old = self.physical_resource_id
        if self.request_type != "Update" or old == new:
            return
        if set(old.split("/")[1:]) & set(new.split("/")[1:]):
            raise EventError(
                f"Field 'FunctionName': renaming {old} to {new} keeps one of the two names.",
                "Rename both functions, or none.",
            )


def physical_id(spec: DeploymentSpec) -> str:
    """Name the pair; the same names give the same id, however often a request is repeated."""
    return f"{PHYSICAL_ID}{spec.executor.function_name}/{spec.invoker.function_name}"


@dataclass(frozen=True, slots=True)
class ReplyTo:
    """Where and to what to answer; exists for every CloudFormation request, even a broken one."""

    url: str
    stack_id: str
    request_id: str
    logical_id: str
    request_type: str
    physical_id: str

    def __repr__(self) -> str:
        return f"ReplyTo({self.logical_id}, {self.request_id})"

    @classmethod
    def of(cls, event: object) -> ReplyTo | None:
        """Give the address of an event's answer, or None if it is not CloudFormation's."""
        if not isinstance(event, Mapping) or not isinstance(event.get("ResponseURL"), str):
            return None
        return cls(
            url=event["ResponseURL"],
            stack_id=str(event.get("StackId", "")),
            request_id=str(event.get("RequestId", "")),
            logical_id=str(event.get("LogicalResourceId", "")),
            request_type=str(event.get("RequestType", "")),
            physical_id=str(event.get("PhysicalResourceId", "")),
        )

    def body(self, answer: Answer, spec: DeploymentSpec | None) -> bytes:
        """Write the answer, within 4096 bytes.

        The physical id changes only when a deployment under new names has succeeded: that is what
        makes CloudFormation delete the old ones.
        """
        failed = answer.status is Status.FAILED
        keep = bool(self.physical_id) and (failed or self.request_type == "Delete" or spec is None)
        new = physical_id(spec) if spec else f"wukong/{self.logical_id}"
        fields: dict[str, Any] = {
            "Status": "FAILED" if failed else "SUCCESS",
            "PhysicalResourceId": (self.physical_id if keep else new)[:1024],
            "StackId": self.stack_id,
            "RequestId": self.request_id,
            "LogicalResourceId": self.logical_id,
        }
        if not failed and self.request_type != "Delete":
            fields["Data"] = _data(answer, spec)
        return _fitted(fields, _reason(answer))


def _reason(answer: Answer) -> str:
    if answer.error is None:
        return answer.message
    return f"{answer.error.code}: {answer.error.message} {answer.error.hint}".strip()


def _data(answer: Answer, spec: DeploymentSpec | None) -> dict[str, str]:
    """Give what the template can read with `!GetAtt`; every attribute, whatever the status.

    A missing attribute would fail the stack.
    """
    data = {
        "Status": answer.status.value,
        "Package": (answer.package or "")[:200],
        "CodeSha256": answer.code_sha256 or "",
        "StoreUrl": _public(spec.executor.store_url) if spec else "",
    }
    for function in spec.functions if spec else ():
        told = next((f for f in answer.functions if f.component == function.component), None)
        prefix = function.component.capitalize()
        data[f"{prefix}FunctionName"] = function.invoke
        data[f"{prefix}Version"] = (told.version if told else None) or ""
    return data


def _public(url: str | Unset) -> str:
    """Give a store's URL without user and password, wherever the URL has them.

    A password may hold characters that it should not, so all before the last @ goes.
    """
    if isinstance(url, Unset):
        return ""
    bare = re.sub(r"^([^:/]+://).*@", r"\1", url, flags=re.DOTALL)
    kept = re.sub(r"(?<=[?&])(username|password)=[^&#]*&?", "", bare)
    return kept.rstrip("?&")[:1024]


def _fitted(fields: dict[str, Any], reason: str) -> bytes:
    """Cut the reason until everything fits; it is the only part of free length."""
    reason = reason or "See the function's log."
    while True:
        body = json.dumps({**fields, "Reason": reason}).encode()
        excess = len(body) - BODY_BYTES
        if excess <= 0 or not reason:
            return body
        # A character is twelve bytes at most, as \ud83d\udc35, so this never cuts too much.
        reason = reason[: -max(1, excess // 12)]


def respond(to: ReplyTo, body: bytes, pause: Callable[[float], None] = time.sleep) -> None:
    """Give CloudFormation its answer, in at most three tries.

    Raises
    ------
    AnswerError
        If none was accepted.
    """
    problem = ""
    for attempt in range(TRIES):
        if attempt:
            pause(2.0**attempt)
        problem = _put(to.url, body)
        if not problem:
            return
    raise AnswerError(
        f"CloudFormation did not take the answer to request {to.request_id}: {problem}.",
        "Check that the bootstrap function can reach S3; the request runs again by itself.",
    )


def _put(url: str, body: bytes) -> str:
    """Send the answer and give the problem, empty if there was none."""
    with requests.Session() as session:
        # The signature covers the exact URL and an absent content type: requests would quote the
        # one again, and adds the other unless the body is bytes.
        request = session.prepare_request(requests.Request("PUT", url, data=body))
        request.url = url
        try:
            answer = session.send(request, timeout=SECONDS_PER_TRY)
        except requests.RequestException as error:
            # The message of the error holds the URL.
            return type(error).__name__
    return "" if answer.ok else f"HTTP {answer.status_code}"
