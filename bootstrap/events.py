"""Reads a raw event, of whichever trigger, into a Request, or says why it is ignored.

    S3 notification      deploy the object that the event is about, if it is the package
    EventBridge S3       the same, from a bucket that tells EventBridge
    CloudFormation       Create and Update deploy, Delete deletes
    manual               {"action": "deploy" | "status", ...}

Everything here comes from outside, so every shape is a pydantic model, and an error names the
field but never repeats its value: properties may hold secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, TypeVar
from urllib.parse import unquote_plus

from pydantic import BaseModel, Field, ValidationError

from bootstrap.cloudformation import CustomResource
from bootstrap.errors import EventError
from bootstrap.settings import Settings
from bootstrap.spec import (
    COMPONENTS,
    DeploymentSpec,
    DeploymentWishes,
    FunctionWishes,
    Wishes,
    merge,
)

M = TypeVar("M", bound=BaseModel)


class Trigger(StrEnum):
    """Where an event came from."""

    S3 = "s3"
    EVENTBRIDGE = "eventbridge"
    CLOUDFORMATION = "cloudformation"
    MANUAL = "manual"

    @property
    def is_upload(self) -> bool:
        """Whether it tells of an object, and nobody waits for the answer."""
        return self in {Trigger.S3, Trigger.EVENTBRIDGE}


class Action(StrEnum):
    """What is asked for."""

    DEPLOY = "deploy"
    DELETE = "delete"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Upload:
    """One state of the package's object, as an event told it."""

    version_id: str | None
    etag: str


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to do.

    Attributes
    ----------
    uploads
        What an S3 event told of; empty if no upload triggered this.
    spec
        What is wanted of both functions.
    """

    action: Action
    trigger: Trigger
    spec: DeploymentSpec
    uploads: tuple[Upload, ...] = ()


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event that is none of our business, and why."""

    trigger: Trigger
    reason: str


class _Bucket(BaseModel):
    name: str


class _Object(BaseModel):
    key: str
    etag: str = Field(default="", alias="eTag")
    version_id: str | None = Field(default=None, alias="versionId")


class _S3(BaseModel):
    bucket: _Bucket
    object: _Object


class _Record(BaseModel):
    # The schema counts its minor version up for additions only.
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    event_version: str = Field(alias="eventVersion", pattern=r"^2\.")
    event_source: Literal["aws:s3"] = Field(alias="eventSource")
    event_name: str = Field(alias="eventName")
    s3: _S3


class _Notification(BaseModel):
    records: list[_Record] = Field(alias="Records", min_length=1)


class _BridgeObject(BaseModel):
    key: str
    etag: str = ""
    version_id: str | None = Field(default=None, alias="version-id")


class _BridgeDetail(BaseModel):
    bucket: _Bucket
    object: _BridgeObject


class _BridgeEvent(BaseModel):
    source: Literal["aws.s3"]
    detail_type: str = Field(alias="detail-type")
    detail: _BridgeDetail


class _CustomResourceProperties(DeploymentWishes):
    service_token: str
    service_timeout: int = 0


class _ManualDeploy(DeploymentWishes):
    action: Literal["deploy"]


class _ManualStatus(Wishes):
    action: Literal["status"]


_MANUAL: Mapping[str, type[_ManualDeploy | _ManualStatus]] = {
    "deploy": _ManualDeploy,
    "status": _ManualStatus,
}

_NOTHING = DeploymentWishes()

_HINT = (
    "The function takes S3 and EventBridge notifications of uploads, CloudFormation requests, and "
    f'{{"action": "{" | ".join(_MANUAL)}"}}.'
)


def read_event(event: object, settings: Settings) -> Request | Ignored:
    """Read an event.

    Raises
    ------
    EventError
        If it is of no known kind, or a field is wrong; names the field.
    """
    match event:
        case {"RequestType": _, "ResponseURL": _}:
            return _cloudformation(event, settings)
        case {"Event": "s3:TestEvent"}:
            return Ignored(Trigger.S3, "S3's test event, sent when notifications are set up.")
        case {"Records": _}:
            return _notification(event, settings)
        case {"source": "aws.s3"}:
            return _bridge(event, settings)
        case {"action": _}:
            return _manual(event, settings)
    keys = ", ".join(sorted(map(str, event))[:10]) if isinstance(event, Mapping) else ""
    raise EventError(f"Unknown kind of event ({type(event).__name__} with keys: {keys}).", _HINT)


def _cloudformation(event: object, settings: Settings) -> Request:
    resource = _read(CustomResource, event)
    if resource.request_type == "Delete":
        spec = merge(_names(resource.resource_properties, settings), _NOTHING, resource.stack_id)
        return Request(Action.DELETE, Trigger.CLOUDFORMATION, spec)
    properties = _read(
        _CustomResourceProperties, resource.resource_properties, "ResourceProperties"
    )
    spec = merge(properties, settings.wishes(), resource.stack_id)
    resource.refuse_half_a_rename(spec)
    return Request(Action.DEPLOY, Trigger.CLOUDFORMATION, spec)


def _names(properties: Mapping[str, Any], settings: Settings) -> DeploymentWishes:
    """Read only the names, and none that is wrong.

    CloudFormation also deletes what could not be created, with the very properties that were
    refused then.
    """
    names: dict[str, Any] = {}
    for component in COMPONENTS:
        given = properties.get(component.capitalize())
        told = given.get("FunctionName") if isinstance(given, Mapping) else None
        for name in (settings.said[component].get("function_name"), told):
            try:
                names[component] = FunctionWishes.model_validate({"function_name": name})
            except ValidationError:
                continue
    return DeploymentWishes(**names)


def _notification(event: object, settings: Settings) -> Request | Ignored:
    records = _read(_Notification, event).records
    uploads = tuple(
        Upload(record.s3.object.version_id, record.s3.object.etag.strip('"'))
        for record in records
        if record.event_name.startswith("ObjectCreated:")
        and record.s3.bucket.name == settings.bucket
        and unquote_plus(record.s3.object.key) == settings.key
    )
    return _uploaded(Trigger.S3, uploads, settings)


def _bridge(event: object, settings: Settings) -> Request | Ignored:
    message = _read(_BridgeEvent, event)
    told = message.detail.object
    # EventBridge sends the key as it is, not encoded as in S3's own notifications.
    ours = (message.detail.bucket.name, told.key) == (settings.bucket, settings.key)
    created = message.detail_type == "Object Created"
    uploads = (Upload(told.version_id, told.etag.strip('"')),) if ours and created else ()
    return _uploaded(Trigger.EVENTBRIDGE, uploads, settings)


def _uploaded(
    trigger: Trigger, uploads: tuple[Upload, ...], settings: Settings
) -> Request | Ignored:
    if not uploads:
        return Ignored(trigger, f"No upload of s3://{settings.bucket}/{settings.key}.")
    return Request(Action.DEPLOY, trigger, _known_spec(settings), uploads)


def _manual(event: object, settings: Settings) -> Request:
    assert isinstance(event, Mapping)  # noqa: S101 -- the pattern that led here says so
    model = _MANUAL.get(str(event["action"]))
    if model is None:
        raise EventError("Field 'action': not one of " + ", ".join(_MANUAL) + ".", _HINT)
    wishes = _read(model, event)
    if isinstance(wishes, _ManualDeploy):
        spec = merge(wishes, settings.wishes(), settings.owner)
        return Request(Action.DEPLOY, Trigger.MANUAL, spec)
    return Request(Action.STATUS, Trigger.MANUAL, _known_spec(settings))


def _known_spec(settings: Settings) -> DeploymentSpec:
    return merge(_NOTHING, settings.wishes(), settings.owner)


def _read(model: type[M], value: object, where: str = "") -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        first = wrong[0]
        path = ".".join([*([where] if where else []), *(str(part) for part in first["loc"])])
        known = ", ".join(model.model_fields)
        unknown = first["type"] == "extra_forbidden"
        hint = f"Known here: {known}." if unknown and len(first["loc"]) == 1 else ""
        raise EventError(f"Field '{path}': {first['msg']}.", hint) from None


def describe(event: Any) -> dict[str, Any]:
    """Say what an event is about, without its values, for the log."""
    if not isinstance(event, Mapping):
        return {"type": type(event).__name__}
    kept = ("RequestType", "RequestId", "LogicalResourceId", "StackId", "Event", "action")
    return {"keys": sorted(map(str, event)), **{k: str(event[k])[:200] for k in kept if k in event}}
