"""Reads a raw event, of whichever trigger, into a Request, or says why it is ignored.

    S3 notification      deploy the object that the event is about: the package, or a layer
    EventBridge S3       the same, from a bucket that tells EventBridge
    CloudFormation       Create and Update deploy, Delete deletes
    manual               {"action": ...}, as manual.py describes

Everything here comes from outside, so every shape is a pydantic model, and an error names the
field but never repeats its value: properties may hold secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, TypeVar
from urllib.parse import unquote_plus

from pydantic import BaseModel, Field, ValidationError

from bootstrap.cloudformation import PHYSICAL_ID, CustomResource, physical_id
from bootstrap.errors import EventError
from bootstrap.manual import MANUAL, Action, ManualDelete, ManualHistory, ManualRollback
from bootstrap.settings import Settings
from bootstrap.spec import COMPONENTS, DeploymentSpec, merge
from bootstrap.wishes import LAYER_NAME, DeploymentWishes, FunctionWishes, Manifest

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


LAYERS_FOLDER = "layers/"
"""Keys in the package's bucket that are layers: `layers/NAME.zip`."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One state of an object, as an event told it.

    Attributes
    ----------
    layer
        Name of the layer that the object is; empty for the deployment package.
    """

    version_id: str | None
    etag: str
    layer: str = ""


_NOTHING = DeploymentWishes()


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to do.

    Attributes
    ----------
    asked
        What the event itself wants, if a person sent it.
    configured
        What the stack wants: CloudFormation's properties, then the bootstrap's environment.
    owner
        In whose name functions are created and changed.
    resource
        Which of the stack's resources, by its logical id; empty if no stack asks.
    by
        Who asked, for the record: the trigger, and a name if there is one.
    uploads
        What an S3 event told of; empty if no upload triggered this.
    force
        Whether to deploy what is held, or to roll back to what does not answer a ping.
    keeps_live
        Whether the package and the layers that are live stay, whatever the newest are.
    to, count
        The release to roll back to, and how many releases to list.
    """

    action: Action
    trigger: Trigger
    owner: str
    configured: tuple[DeploymentWishes, ...]
    asked: DeploymentWishes = _NOTHING
    by: str = ""
    uploads: tuple[Upload, ...] = ()
    to: str = ""
    count: int = 10
    resource: str = ""
    force: bool = False
    keeps_live: bool = False

    @property
    def spec(self) -> DeploymentSpec:
        """What is wanted of both functions, apart from what a package's manifest wants."""
        return merge(
            (self.asked, *self.configured), self.owner, adopt=self._adopts, resource=self.resource
        )

    def wanted(self, manifest: Manifest) -> DeploymentSpec:
        """Give what is wanted of both functions, with the package's manifest."""
        layers: tuple[DeploymentWishes | Manifest, ...] = (self.asked, manifest, *self.configured)
        return merge(layers, self.owner, adopt=self._adopts, resource=self.resource)

    @property
    def _adopts(self) -> bool:
        return any(said.adopt for said in (self.asked, *self.configured))

    @property
    def pin(self) -> str:
        """The package's version that the stack pins; empty if it wants the newest."""
        return next((said.package_version for said in self.configured if said.package_version), "")

    @property
    def package_version(self) -> str:
        """The package's version that is asked for; empty for the newest."""
        return self.asked.package_version or self.pin


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


class _Identity(BaseModel):
    principal_id: str = Field(default="", alias="principalId")


class _Record(BaseModel):
    # The schema counts its minor version up for additions only.
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    event_version: str = Field(alias="eventVersion", pattern=r"^2\.")
    event_source: Literal["aws:s3"] = Field(alias="eventSource")
    event_name: str = Field(alias="eventName")
    s3: _S3
    identity: _Identity = Field(default=_Identity(), alias="userIdentity")


class _Notification(BaseModel):
    records: list[_Record] = Field(alias="Records", min_length=1)


class _BridgeObject(BaseModel):
    key: str
    etag: str = ""
    version_id: str | None = Field(default=None, alias="version-id")


class _BridgeDetail(BaseModel):
    bucket: _Bucket
    object: _BridgeObject
    requester: str = ""


class _BridgeEvent(BaseModel):
    source: Literal["aws.s3"]
    detail_type: str = Field(alias="detail-type")
    detail: _BridgeDetail


class _CustomResourceProperties(DeploymentWishes):
    service_token: str
    service_timeout: int = 0
    storage: str = ""
    """Of which kind the store is; only so that another kind is an update, and is answered anew."""


_HINT = (
    "The function takes S3 and EventBridge notifications of uploads, CloudFormation requests, and "
    f'{{"action": "{" | ".join(MANUAL)}"}}.'
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


def _cloudformation(event: object, settings: Settings) -> Request | Ignored:
    resource = _read(CustomResource, event)
    by = f"{Trigger.CLOUDFORMATION}:{resource.stack_name}"
    owner, logical = resource.stack_id, resource.logical_resource_id
    if resource.request_type == "Delete":
        names = _names(resource.resource_properties, settings)
        request = Request(
            Action.DELETE, Trigger.CLOUDFORMATION, owner, (names,), by=by, resource=logical
        )
        told = resource.physical_resource_id
        # An id that CloudFormation made up itself is of a creation that was never answered.
        if told.startswith(PHYSICAL_ID) and told != physical_id(request.spec):
            return Ignored(Trigger.CLOUDFORMATION, f"{told} is not what these properties name.")
        return request
    properties = _read(
        _CustomResourceProperties, resource.resource_properties, "ResourceProperties"
    )
    configured = (properties, settings.wishes())
    request = Request(
        Action.DEPLOY, Trigger.CLOUDFORMATION, owner, configured, by=by, resource=logical
    )
    resource.refuse_half_a_rename(request.spec)
    return request


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
    records = [
        record
        for record in _read(_Notification, event).records
        if record.event_name.startswith("ObjectCreated:")
    ]
    uploads = [
        _upload(
            settings,
            record.s3.bucket.name,
            unquote_plus(record.s3.object.key),
            record.s3.object.version_id,
            record.s3.object.etag,
        )
        for record in records
    ]
    by = next((record.identity.principal_id for record in records), "")
    return _uploaded(Trigger.S3, uploads, settings, by.rpartition(":")[2])


def _bridge(event: object, settings: Settings) -> Request | Ignored:
    message = _read(_BridgeEvent, event)
    told = message.detail.object
    uploads = []
    if message.detail_type == "Object Created":
        # EventBridge sends the key as it is, not encoded as in S3's own notifications.
        bucket = message.detail.bucket.name
        uploads = [_upload(settings, bucket, told.key, told.version_id, told.etag)]
    return _uploaded(Trigger.EVENTBRIDGE, uploads, settings, message.detail.requester)


def _upload(
    settings: Settings, bucket: str, key: str, version_id: str | None, etag: str
) -> Upload | None:
    """Give the upload if it is of the package or of a layer in our bucket."""
    if bucket != settings.bucket:
        return None
    layer = re.fullmatch(rf"{LAYERS_FOLDER}({LAYER_NAME})\.zip", key)
    if key != settings.key and not layer:
        return None
    name = layer.group(1) if layer and key != settings.key else ""
    return Upload(version_id, etag.strip('"'), name)


def _uploaded(
    trigger: Trigger, uploads: Iterable[Upload | None], settings: Settings, by: str
) -> Request | Ignored:
    ours = tuple(upload for upload in uploads if upload is not None)
    if not ours:
        places = f"s3://{settings.bucket}/{settings.key} or {LAYERS_FOLDER}NAME.zip"
        return Ignored(trigger, f"No upload of {places}.")
    return Request(
        Action.DEPLOY,
        trigger,
        settings.owner,
        (settings.wishes(),),
        by=f"{trigger}:{by}" if by else trigger.value,
        uploads=ours,
    )


def _manual(event: object, settings: Settings) -> Request:
    assert isinstance(event, Mapping)  # noqa: S101 -- the pattern that led here says so
    model = MANUAL.get(str(event["action"]))
    if model is None:
        raise EventError("Field 'action': not one of " + ", ".join(MANUAL) + ".", _HINT)
    asked = _read(model, event)
    request = Request(
        Action(asked.action),
        Trigger.MANUAL,
        settings.owner,
        (settings.wishes(),),
        asked=asked if isinstance(asked, DeploymentWishes) else _NOTHING,
        by=f"{Trigger.MANUAL}:{asked.by}" if asked.by else Trigger.MANUAL.value,
        to=asked.to if isinstance(asked, ManualRollback) else "",
        count=asked.count if isinstance(asked, ManualHistory) else 10,
        force=getattr(asked, "force", False),
    )
    if isinstance(asked, ManualDelete) and asked.confirm != request.spec.executor.function_name:
        raise EventError(
            f"Field 'confirm': it is not {request.spec.executor.function_name}.",
            "Deleting by hand needs the Executor's name, to be sure.",
        )
    return request


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
