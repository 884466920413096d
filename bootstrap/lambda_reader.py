"""The reading half of the gateway to Lambda: what there is, and whether a write has ended.

Every call goes through `patiently`, which knows what waiting cures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from bootstrap.configuration import Configuration
from bootstrap.deadline import Deadline
from bootstrap.errors import RefusedError
from bootstrap.found import Alias, Asynchronous, Deployed, Found
from bootstrap.record import Record
from bootstrap.retry import patiently
from bootstrap.spec import ALIAS, Component

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import GetFunctionResponseTypeDef

    from bootstrap.configuration import Description

T = TypeVar("T")

MARKS = "wukong:"
"""What the tags begin with that say whose a function is."""

FIRST_POLL_SECONDS = 0.25
LONGEST_POLL_SECONDS = 3.0

CONTROL = Config(
    connect_timeout=5,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 3},
)


@dataclass(frozen=True, slots=True)
class LayerVersion:
    """One version of a layer; without runtimes, or processors, it is for all."""

    arn: str
    number: int
    description: str
    runtimes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Holding:
    """What tells whose a function is, and what goes with it."""

    arn: str
    marks: Mapping[str, str]
    layers: tuple[str, ...]


class LambdaReader:
    """Lambda, as far as it is only read.

    Parameters
    ----------
    deadline
        Until when to wait for Lambda.
    client
        Made here if not given.
    """

    def __init__(self, deadline: Deadline, client: LambdaClient | None = None) -> None:
        self._deadline = deadline
        self._client = client or boto3.client("lambda", config=CONTROL)

    def read(self, name: str, component: Component) -> Found | None:
        """Read everything that a plan looks at; None if there is no such function."""
        answer = self._steady(name)
        if answer is None:
            return None
        recursion = self._call(name, self._client.get_function_recursion_config, FunctionName=name)
        alias = self.read_alias(name, component)
        latest = deployed(answer["Configuration"])
        return Found(
            latest=latest,
            marks=_marks(name, answer),
            reserved_concurrency=answer.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
            recursive_loop=recursion["RecursiveLoop"],
            alias=alias,
            live=self._live(name, alias, latest) if alias else None,
            asynchronous=self._read_asynchronous(name) if alias else Asynchronous(),
            tags=_tags(answer),
        )

    def _live(self, name: str, alias: Alias, latest: Deployed) -> Deployed:
        """Give the live version; without a call if the record says it is the same as `$LATEST`.

        A version never changes, so what was recorded when it went live still holds.
        """
        record = alias.record
        now = latest.code_sha256[:12], latest.configuration.fingerprint
        if record and (record.sha, record.configuration) == now and not latest.broken:
            return replace(latest, version=alias.version)
        return self.read_version(name, alias.version)

    def read_holding(self, name: str) -> Holding | None:
        """Read whose a function is; None if there is no such function."""
        answer = self._find(name, self._client.get_function, FunctionName=name)
        if answer is None:
            return None
        described = answer["Configuration"]
        layers = tuple(layer.get("Arn", "") for layer in described.get("Layers", []))
        return Holding(described.get("FunctionArn", ""), _marks(name, answer), layers)

    def read_tags(self, arn: str) -> Mapping[str, str]:
        """Read the tags of a function."""
        return self._call(arn, self._client.list_tags, Resource=arn).get("Tags", {})

    def read_variables(self, name: str) -> Mapping[str, str]:
        """Read the environment variables of a function."""
        read = self._client.get_function_configuration
        return deployed(self._call(name, read, FunctionName=name)).configuration.environment

    def read_alias(self, name: str, component: Component) -> Alias | None:
        """Read where `live` points; None if there is no such alias."""
        answer = self._find(name, self._client.get_alias, FunctionName=name, Name=ALIAS)
        if answer is None:
            return None
        version, description = answer["FunctionVersion"], answer.get("Description", "")
        record = Record.parse(description)
        return Alias(
            version=version,
            revision_id=answer["RevisionId"],
            description=description,
            record=record if record and record.names(component, version) else None,
            weighted=bool(answer.get("RoutingConfig", {}).get("AdditionalVersionWeights")),
        )

    def read_version(self, name: str, version: str) -> Deployed:
        """Read a published version; raises `RefusedError` if there is none."""
        return deployed(
            self._call(
                f"{name}:{version}",
                self._client.get_function_configuration,
                FunctionName=name,
                Qualifier=version,
            )
        )

    def list_versions(self, name: str) -> list[Deployed]:
        """List all published versions, the oldest first; empty if there is no such function."""
        pages = self._pages(name, self._client.list_versions_by_function, FunctionName=name)
        found = [deployed(version) for page in pages for version in page["Versions"]]
        return sorted((v for v in found if v.version.isdecimal()), key=lambda v: int(v.version))

    def list_needed_versions(self, name: str) -> set[str]:
        """List the versions that some alias points at, as a whole or in part."""
        needed: set[str] = set()
        for page in self._pages(name, self._client.list_aliases, FunctionName=name):
            for alias in page["Aliases"]:
                weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
                needed |= {alias["FunctionVersion"], *weights}
        return needed

    def list_layer_versions(self, name: str) -> list[LayerVersion]:
        """List the versions of a layer, the newest first; empty if there is no such layer."""
        pages = self._pages(f"layer {name}", self._client.list_layer_versions, LayerName=name)
        return [
            LayerVersion(
                found["LayerVersionArn"],
                found["Version"],
                found.get("Description", ""),
                tuple(found.get("CompatibleRuntimes") or ()),
                tuple(found.get("CompatibleArchitectures") or ()),
            )
            for page in pages
            for found in page["LayerVersions"]
        ]

    def read_layer_size(self, arn: str) -> int:
        """Read how many bytes a layer version has, zipped."""
        answer = self._call(arn, self._client.get_layer_version_by_arn, Arn=arn)
        return answer["Content"]["CodeSize"]

    def _read_asynchronous(self, name: str) -> Asynchronous:
        answer = self._find(
            name,
            self._client.get_function_event_invoke_config,
            FunctionName=name,
            Qualifier=ALIAS,
        )
        if answer is None:
            return Asynchronous()
        destination = answer.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        return Asynchronous(answer.get("MaximumRetryAttempts"), destination or None)

    def _steady(self, name: str) -> GetFunctionResponseTypeDef | None:
        pause = FIRST_POLL_SECONDS
        while True:
            answer = self._find(name, self._client.get_function, FunctionName=name)
            if answer is None or not _is_busy(answer["Configuration"]):
                return answer
            self._deadline.sleep(pause, f"{name} to settle")
            pause = min(pause * 1.5, LONGEST_POLL_SECONDS)

    def _pages(self, subject: str, method: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
        more: dict[str, str] = {}
        while True:
            page = self._find(subject, method, **arguments, **more)
            if page is None:
                return
            yield page
            if not page.get("NextMarker"):
                return
            more = {"Marker": page["NextMarker"]}

    def _call(self, subject: str, method: Callable[..., T], **arguments: Any) -> T:
        return patiently(lambda: method(**arguments), subject, self._deadline)

    def _find(self, subject: str, method: Callable[..., T], **arguments: Any) -> T | None:
        def find() -> T | None:
            try:
                return method(**arguments)
            except ClientError as error:
                if error.response["Error"].get("Code") == "ResourceNotFoundException":
                    return None
                raise

        return patiently(find, subject, self._deadline)


def _marks(name: str, answer: GetFunctionResponseTypeDef) -> dict[str, str]:
    """Give the tags that say whose it is; those that could not be read are not taken for none.

    https://docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html
    """
    if problem := answer.get("TagsError"):
        raise RefusedError(
            f"{name}: its tags cannot be read: {problem.get('Message', problem)}",
            "The bootstrap's role needs lambda:ListTags on the function.",
        )
    return {key: tag for key, tag in answer.get("Tags", {}).items() if key.startswith(MARKS)}


def _tags(answer: GetFunctionResponseTypeDef) -> dict[str, str]:
    tags = answer.get("Tags", {})
    return {key: tag for key, tag in tags.items() if not key.startswith((MARKS, "aws:"))}


def _is_busy(answer: Description) -> bool:
    pending = answer.get("State") in {"Pending", "Deleting"}
    return pending or answer.get("LastUpdateStatus") == "InProgress"


def deployed(answer: Description) -> Deployed:
    """Give Lambda's description of a function or a version as a value.

    Raises
    ------
    RefusedError
        If Lambda could not decrypt the variables: none told is not none there.
    """
    if problem := answer.get("Environment", {}).get("Error"):
        raise RefusedError(
            f"{answer.get('FunctionName', '')}: its variables cannot be read: "
            f"{problem.get('ErrorCode', '')} {problem.get('Message', '')}",
            "Let the bootstrap's role use the function's KMS key.",
        )
    broken = ""
    if answer.get("State") == "Failed":
        broken = f"{answer.get('StateReasonCode', '')}: {answer.get('StateReason', '')}"
    elif answer.get("LastUpdateStatus") == "Failed":
        reason = answer.get("LastUpdateStatusReason", "")
        broken = f"{answer.get('LastUpdateStatusReasonCode', '')}: {reason}"
    return Deployed(
        version=answer.get("Version", ""),
        arn=answer.get("FunctionArn", ""),
        configuration=Configuration.from_lambda(answer),
        code_sha256=answer.get("CodeSha256", ""),
        revision_id=answer.get("RevisionId", ""),
        broken=broken,
        stillborn=answer.get("State") == "Failed",
        description=answer.get("Description", ""),
    )
