"""Lambda in memory: functions, versions, aliases, layers, and writes that end later.

A write to a function ends after a number of polls: each GetFunction or GetFunctionConfiguration is
one, and so is a call that was refused because of it, as time passes by it too. The last poll before
the end still sees it going on.

Where AWS documents less than one needs, recordings of its answers decide, as they are published
with LocalStack's tests. So PublishVersion and the tags give `$LATEST` a new RevisionId too; a
version that Lambda finishes keeps its own.
"""

# ruff: noqa: N803 - arguments are spelled as boto3 spells them

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, TypeVar

from botocore.response import StreamingBody

from tests.bootstrap.fake_aws import Answer, FakeAws, FakeClient, Fault, Refused, copied, operation

T = TypeVar("T")

LATEST = "$LATEST"
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
SETTLED: Answer = {"State": "Active", "LastUpdateStatus": "Successful"}
BUSY = "The operation cannot be performed at this time. "
STALE = Refused(
    412,
    "PreconditionFailedException",
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
)
WRITES = {"UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion"}
"""What cannot be done to a function whose creation goes on or failed, says AWS."""

UNRESERVED = 100
"""So much of the account's concurrency can never be reserved."""
UNLISTED = {"RuntimeVersionConfig"}
"""What lists leave out, besides the states."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why Lambda could not finish a write; the code is one of AWS's, such as `InvalidSubnet`."""

    code: str = "SubnetOutOfIPAddresses"
    reason: str = "The subnet has no address left."


@dataclass
class _Version:
    """`$LATEST`, or a published version.

    `polls` is None when nothing goes on; `status` turns into `ending` then. Invocations get
    `running`, the code and handler from before a write that goes on or failed.
    """

    number: str
    wire: Answer
    code: bytes
    revision_id: str
    modified: str
    running: tuple[bytes, str]
    status: Answer = field(default_factory=lambda: SETTLED)
    polls: int | None = None
    ending: Answer = field(default_factory=lambda: SETTLED)
    published_from: Answer = field(default_factory=dict)


@dataclass
class _Function:
    """A function with all that belongs to it."""

    arn: str
    latest: _Version
    tags: dict[str, str]
    versions: dict[str, _Version] = field(default_factory=dict)
    aliases: dict[str, Answer] = field(default_factory=dict)
    invoke_configs: dict[str, Answer] = field(default_factory=dict)
    recursive_loop: str = "Terminate"
    reserved: int | None = None
    next_version: int = 1


class FakeLambda(FakeClient):
    """A Lambda client; what is AWS's to decide can be set.

    Attributes
    ----------
    create_polls, update_polls, snapshot_polls
        How many polls see a creation, an update, and a new version with SnapStart going on.
    unassumable
        How many more calls are refused because Lambda cannot assume a role yet, by the role's ARN.
    failures
        How the next `(operation, function)` ends, for CreateFunction, UpdateFunctionCode,
        UpdateFunctionConfiguration and, with SnapStart, PublishVersion.
    blocked
        What is refused while a write goes on; AWS documents `WRITES` only.
    concurrency
        The account's.
    """

    refusals: ClassVar = {
        Fault.THROTTLE: Refused(429, "TooManyRequestsException", "Rate exceeded"),
        Fault.CONFLICT: Refused(
            409, "ResourceConflictException", f"{BUSY}An update is in progress for resource: arn"
        ),
        Fault.PRECONDITION: STALE,
        Fault.SERVER_ERROR: Refused(500, "ServiceException", "An internal error occurred."),
    }

    def __init__(self, aws: FakeAws) -> None:
        super().__init__(aws)
        self.create_polls = 1
        self.update_polls = 1
        self.snapshot_polls = 1
        self.unassumable: dict[str, int] = {}
        self.failures: dict[tuple[str, str], Failure] = {}
        self.blocked = {
            *WRITES,
            "DeleteFunction",
            "PutFunctionConcurrency",
            "DeleteFunctionConcurrency",
            "TagResource",
            "UntagResource",
        }
        self.concurrency = 1000
        self._functions: dict[str, _Function] = {}
        self._layers: dict[str, list[Answer]] = {}
        self._layer_numbers: dict[str, int] = {}

    # Functions

    @operation(201)
    def create_function(
        self,
        /,
        *,
        FunctionName: str,
        Role: str,
        Code: Mapping[str, Any],
        Runtime: str,
        Handler: str,
        PackageType: str = "Zip",
        Architectures: Sequence[str] = ("x86_64",),
        Tags: Mapping[str, str] | None = None,
        **configuration: Any,
    ) -> Answer:
        """Create a function, which is `Pending` until Lambda has finished."""
        name, qualifier = self._locate(FunctionName)
        assert qualifier is None
        assert PackageType == "Zip"
        wire: Answer = {
            "FunctionName": name,
            "Description": "",
            "Timeout": 3,
            "MemorySize": 128,
            "PackageType": PackageType,
            "Architectures": list(Architectures),
            "TracingConfig": {"Mode": "PassThrough"},
            "EphemeralStorage": {"Size": 512},
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        }
        changes = {"Role": Role, "Runtime": Runtime, "Handler": Handler, **configuration}
        wire = self._configured(wire, changes)
        self._check_role(Role)
        if name in self._functions:
            raise _conflict(f"Function already exist: {name}")
        code = self._code(**Code)
        wire = {**wire, **_facts(code)}
        latest = _Version(
            LATEST, wire, code, self.aws.new_id(), self._date(), running=(code, Handler)
        )
        arn = self._arn("function", name)
        self._functions[name] = _Function(arn, latest, dict(Tags or {}))
        self._start("CreateFunction", latest)
        return self._described(arn, latest)

    @operation()
    def get_function(self, *, FunctionName: str, Qualifier: str | None = None) -> Answer:
        """Read a function with all that GetFunction knows; one poll."""
        name, qualifier = self._locate(FunctionName, Qualifier)
        function, version = self._version(name, qualifier)
        self._poll(version)
        location = f"https://awslambda.example/{version.wire['CodeSha256']}"
        answer: Answer = {
            "Configuration": self._described(function.arn, version, qualifier),
            "Code": {"RepositoryType": "S3", "Location": location},
        }
        if function.tags and qualifier is None:
            answer["Tags"] = dict(function.tags)
        if function.reserved is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
        return answer

    @operation()
    def get_function_configuration(
        self, *, FunctionName: str, Qualifier: str | None = None
    ) -> Answer:
        """Read the configuration of a function or a version; one poll."""
        name, qualifier = self._locate(FunctionName, Qualifier)
        function, version = self._version(name, qualifier)
        self._poll(version)
        return self._described(function.arn, version, qualifier)

    @operation()
    def update_function_code(
        self,
        /,
        *,
        FunctionName: str,
        RevisionId: str | None = None,
        Architectures: Sequence[str] | None = None,
        **Code: Any,
    ) -> Answer:
        """Update the code of `$LATEST`, and its architecture if given."""
        function = self._writable("UpdateFunctionCode", FunctionName, RevisionId)
        code = self._code(**Code)
        latest = function.latest
        latest.wire = {**latest.wire, **_facts(code)}
        latest.code = code
        if Architectures is not None:
            latest.wire["Architectures"] = list(Architectures)
        return self._started("UpdateFunctionCode", function)

    @operation()
    def update_function_configuration(
        self, /, *, FunctionName: str, RevisionId: str | None = None, **configuration: Any
    ) -> Answer:
        """Update `$LATEST`; what is omitted stays."""
        function = self._writable("UpdateFunctionConfiguration", FunctionName, RevisionId)
        wire = self._configured(function.latest.wire, configuration)
        if "Role" in configuration:
            self._check_role(wire["Role"])
        function.latest.wire = wire
        return self._started("UpdateFunctionConfiguration", function)

    @operation()
    def delete_function(self, *, FunctionName: str, Qualifier: str | None = None) -> Answer:
        """Delete a function with all that belongs to it, or one version; none of those is fine."""
        name, qualifier = self._locate(FunctionName, Qualifier)
        if qualifier == LATEST:
            raise _invalid("$LATEST version cannot be deleted without deleting the function.")
        function = self._function(name)
        if qualifier is None:
            self._check_idle("DeleteFunction", function)
            del self._functions[name]
            return {"StatusCode": 204}
        if not qualifier.isdecimal():
            raise _invalid("Deletion of aliases is not currently supported.")
        if used := [a["Name"] for a in function.aliases.values() if qualifier in _targets(a)]:
            references = f"[{', '.join(used)}]"
            raise _conflict(
                f"Unable to delete version because the following aliases reference it: {references}"
            )
        function.versions.pop(qualifier, None)
        function.invoke_configs.pop(qualifier, None)
        return {"StatusCode": 204}

    # Versions

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
        function = self._writable("PublishVersion", FunctionName, RevisionId)
        latest = function.latest
        current = latest.wire["CodeSha256"]
        if CodeSha256 not in {None, current}:
            raise _invalid(
                f"CodeSHA256 ({CodeSha256}) is different from current CodeSHA256 in $LATEST "
                f"({current}). Please try again with the CodeSHA256 in $LATEST."
            )
        last = function.versions.get(str(function.next_version - 1))
        if last and last.published_from == latest.wire:
            return self._described(function.arn, last, last.number)
        number = str(function.next_version)
        function.next_version += 1
        version = _Version(
            number,
            copied(latest.wire),
            latest.code,
            self.aws.new_id(),
            self._date(),
            running=(latest.code, latest.wire["Handler"]),
            published_from=copied(latest.wire),
        )
        if Description is not None:
            version.wire["Description"] = Description
        if version.wire["SnapStart"]["ApplyOn"] == "PublishedVersions":
            version.wire["SnapStart"]["OptimizationStatus"] = "On"
            self._start("PublishVersion", version)
        function.versions[number] = version
        latest.revision_id = self.aws.new_id()
        return self._described(function.arn, version, number)

    @operation()
    def list_versions_by_function(
        self, *, FunctionName: str, Marker: str | None = None, MaxItems: int = 50
    ) -> Answer:
        """List `$LATEST` and the published versions, oldest first."""
        function = self._function(self._locate(FunctionName)[0])
        versions = [function.latest, *function.versions.values()]
        page, more = _page(versions, Marker, MaxItems)
        described = [self._described(function.arn, v, v.number) for v in page]
        hidden = UNLISTED | CREATING.keys() | UPDATING.keys()
        return {"Versions": [_without(answer, hidden) for answer in described], **more}

    @operation()
    def invoke(
        self,
        *,
        FunctionName: str,
        Qualifier: str | None = None,
        InvocationType: str = "RequestResponse",
        Payload: bytes | str = b"",
    ) -> Answer:
        """Invoke a function, version or alias; an alias's first version, whatever the weights."""
        name, qualifier = self._locate(FunctionName, Qualifier)
        function, version = self._version(name, qualifier)
        self._check_invocable(function, version)
        executed = {"ExecutedVersion": version.number}
        if InvocationType != "RequestResponse":
            return {"StatusCode": 202 if InvocationType == "Event" else 204, "Payload": _stream()}
        error, payload = _answer_of(*version.running)
        failed = {"FunctionError": error} if error else {}
        return {"StatusCode": 200, **executed, **failed, "Payload": _stream(payload)}

    # Aliases

    @operation(201)
    def create_alias(
        self,
        *,
        FunctionName: str,
        Name: str,
        FunctionVersion: str,
        Description: str = "",
        RoutingConfig: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Create an alias of a version."""
        name, _ = self._locate(FunctionName)
        function, _ = self._version(name, FunctionVersion, aliases=False)
        arn = f"{function.arn}:{Name}"
        if Name in function.aliases:
            raise _conflict(f"Alias already exists: {arn}")
        alias = {"AliasArn": arn, "Name": Name, "FunctionVersion": FunctionVersion}
        alias = {**alias, "Description": Description, "RevisionId": self.aws.new_id()}
        function.aliases[Name] = self._routed(name, alias, RoutingConfig)
        return copied(function.aliases[Name])

    @operation()
    def get_alias(self, *, FunctionName: str, Name: str) -> Answer:
        """Read an alias."""
        return copied(self._alias(FunctionName, Name, "Cannot find alias arn")[1])

    @operation()
    def update_alias(
        self,
        *,
        FunctionName: str,
        Name: str,
        FunctionVersion: str | None = None,
        Description: str | None = None,
        RoutingConfig: Mapping[str, Any] | None = None,
        RevisionId: str | None = None,
    ) -> Answer:
        """Update an alias; what is omitted stays, weights too."""
        function, alias = self._alias(FunctionName, Name, "Alias not found")
        if RevisionId not in {None, alias["RevisionId"]}:
            raise STALE
        name, _ = self._locate(FunctionName)
        alias = {**alias, "RevisionId": self.aws.new_id()}
        if FunctionVersion is not None:
            self._version(name, FunctionVersion, aliases=False)
            alias["FunctionVersion"] = FunctionVersion
        if Description is not None:
            alias["Description"] = Description
        function.aliases[Name] = self._routed(name, alias, RoutingConfig)
        return copied(function.aliases[Name])

    @operation(204)
    def delete_alias(self, *, FunctionName: str, Name: str) -> Answer:
        """Delete an alias; one that is gone already is fine."""
        function = self._function(self._locate(FunctionName)[0])
        function.aliases.pop(Name, None)
        function.invoke_configs.pop(Name, None)
        return {}

    @operation()
    def list_aliases(
        self,
        *,
        FunctionName: str,
        FunctionVersion: str | None = None,
        Marker: str | None = None,
        MaxItems: int = 50,
    ) -> Answer:
        """List the aliases, or those that point at a version."""
        function = self._function(self._locate(FunctionName)[0])
        found = [
            alias
            for alias in function.aliases.values()
            if FunctionVersion in {None, alias["FunctionVersion"]}
        ]
        page, more = _page(found, Marker, MaxItems)
        return {"Aliases": copied(page), **more}

    # What belongs to a function as a whole, or is set for a version or an alias

    @operation(204)
    def tag_resource(self, *, Resource: str, Tags: Mapping[str, str]) -> Answer:
        """Add tags to a function."""
        function = self._tagged("TagResource", Resource)
        function.tags.update(Tags)
        function.latest.revision_id = self.aws.new_id()
        return {}

    @operation(204)
    def untag_resource(self, *, Resource: str, TagKeys: Iterable[str]) -> Answer:
        """Remove tags from a function; those that it does not have are fine."""
        function = self._tagged("UntagResource", Resource)
        for key in TagKeys:
            function.tags.pop(key, None)
        function.latest.revision_id = self.aws.new_id()
        return {}

    @operation()
    def list_tags(self, *, Resource: str) -> Answer:
        """List a function's tags."""
        return {"Tags": dict(self._tagged("ListTags", Resource).tags)}

    @operation()
    def put_function_concurrency(
        self, *, FunctionName: str, ReservedConcurrentExecutions: int
    ) -> Answer:
        """Reserve concurrency, as long as the account keeps enough."""
        function = self._whole("PutFunctionConcurrency", FunctionName)
        others = sum(f.reserved or 0 for f in self._functions.values() if f is not function)
        if self.concurrency - others - ReservedConcurrentExecutions < UNRESERVED:
            raise _invalid(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{UNRESERVED}]."
            )
        function.reserved = ReservedConcurrentExecutions
        return {"ReservedConcurrentExecutions": ReservedConcurrentExecutions}

    @operation(204)
    def delete_function_concurrency(self, *, FunctionName: str) -> Answer:
        """Give reserved concurrency back; none is fine."""
        self._whole("DeleteFunctionConcurrency", FunctionName).reserved = None
        return {}

    @operation()
    def put_function_recursion_config(self, *, FunctionName: str, RecursiveLoop: str) -> Answer:
        """Set the guard against recursive invocations."""
        function = self._whole("PutFunctionRecursionConfig", FunctionName)
        function.recursive_loop = RecursiveLoop
        return {"RecursiveLoop": RecursiveLoop}

    @operation()
    def get_function_recursion_config(self, *, FunctionName: str) -> Answer:
        """Read the guard against recursive invocations."""
        function = self._whole("GetFunctionRecursionConfig", FunctionName)
        return {"RecursiveLoop": function.recursive_loop}

    @operation()
    def put_function_event_invoke_config(
        self, /, *, FunctionName: str, Qualifier: str | None = None, **settings: Any
    ) -> Answer:
        """Set what becomes of asynchronous invocations; what is omitted is unset."""
        known = {"MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig"}
        assert settings.keys() <= known
        if not settings:
            raise _invalid(
                "You must specify at least one of error handling or destination setting."
            )
        name, qualifier = self._locate(FunctionName, Qualifier)
        qualifier = qualifier or LATEST
        try:
            function, _ = self._version(name, qualifier)
        except Refused:
            raise _missing("The function doesn't exist.") from None
        function.invoke_configs[qualifier] = {
            "FunctionArn": f"{function.arn}:{qualifier}",
            "LastModified": self.aws.time(),
            **copied(settings),
            "DestinationConfig": {
                "OnSuccess": {},
                "OnFailure": {},
                **copied(settings.get("DestinationConfig", {})),
            },
        }
        return copied(function.invoke_configs[qualifier])

    @operation()
    def get_function_event_invoke_config(
        self, *, FunctionName: str, Qualifier: str | None = None
    ) -> Answer:
        """Read what becomes of asynchronous invocations."""
        configs, qualifier = self._invoke_configs(FunctionName, Qualifier)
        return copied(configs[qualifier])

    @operation(204)
    def delete_function_event_invoke_config(
        self, *, FunctionName: str, Qualifier: str | None = None
    ) -> Answer:
        """Unset what becomes of asynchronous invocations."""
        configs, qualifier = self._invoke_configs(FunctionName, Qualifier)
        del configs[qualifier]
        return {}

    # Layers

    @operation(201)
    def publish_layer_version(
        self, /, *, LayerName: str, Content: Mapping[str, Any], Description: str = "", **given: Any
    ) -> Answer:
        """Publish a version of a layer; each call makes a new one."""
        assert given.keys() <= {"CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo"}
        content = self._code(**Content)
        number = self._layer_numbers.get(LayerName, 0) + 1
        self._layer_numbers[LayerName] = number
        arn = self._arn("layer", LayerName)
        facts = {"Location": f"https://awslambda.example/{LayerName}/{number}", **_facts(content)}
        layer: Answer = {
            "Content": facts,
            "LayerArn": arn,
            "LayerVersionArn": f"{arn}:{number}",
            "Description": Description,
            "CreatedDate": self._date(),
            "Version": number,
            **copied(given),
        }
        self._layers.setdefault(LayerName, []).insert(0, layer)
        return copied(layer)

    @operation()
    def list_layer_versions(
        self,
        *,
        LayerName: str,
        CompatibleRuntime: str | None = None,
        CompatibleArchitecture: str | None = None,
        Marker: str | None = None,
        MaxItems: int = 50,
    ) -> Answer:
        """List a layer's versions, newest first; none if there is no such layer."""
        found = [
            _without(layer, {"Content", "LayerArn"})
            for layer in self._layers.get(LayerName, [])
            if CompatibleRuntime in {None, *layer.get("CompatibleRuntimes", ())}
            and CompatibleArchitecture in {None, *layer.get("CompatibleArchitectures", ())}
        ]
        page, more = _page(found, Marker, MaxItems)
        return {"LayerVersions": copied(page), **more}

    @operation()
    def get_layer_version(self, *, LayerName: str, VersionNumber: int) -> Answer:
        """Read a version of a layer."""
        for layer in self._layers.get(LayerName, []):
            if layer["Version"] == VersionNumber:
                return copied(layer)
        raise _missing("The resource you requested does not exist.")

    @operation()
    def get_layer_version_by_arn(self, *, Arn: str) -> Answer:
        """Read a version of a layer; those of other accounts are not known."""
        for layer in self._layers.get(Arn.split(":")[6], []):
            if layer["LayerVersionArn"] == Arn:
                return copied(layer)
        raise _missing("The resource you requested does not exist.")

    @operation(204)
    def delete_layer_version(self, *, LayerName: str, VersionNumber: int) -> Answer:
        """Delete a version of a layer; functions keep it, and one that is gone is fine."""
        layers = self._layers.get(LayerName, [])
        layers[:] = [layer for layer in layers if layer["Version"] != VersionNumber]
        return {}

    # Looking things up

    def own_layers(self) -> tuple[str, dict[str, int]]:
        """Give how the ARNs of this account's layers begin, and the size of each version."""
        sizes = {
            layer["LayerVersionArn"]: layer["Content"]["CodeSize"]
            for layers in self._layers.values()
            for layer in layers
        }
        return self._arn("layer", ""), sizes

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:aws:lambda:{self.aws.region}:{self.aws.account}:{kind}:{name}"

    def _date(self) -> str:
        return self.aws.time().strftime("%Y-%m-%dT%H:%M:%S.000+0000")

    def _locate(self, text: str, qualifier: str | None = None) -> tuple[str, str | None]:
        """Take a name, which may be an ARN and may be qualified, apart."""
        name, _, own = (text.partition(":function:")[2] or text).partition(":")
        if own and qualifier not in {None, own}:
            raise _invalid(
                "The derived qualifier from the function name does not match "
                "the specified qualifier."
            )
        return name, qualifier or own or None

    def _function(self, name: str, suffix: str = "") -> _Function:
        function = self._functions.get(name)
        if function is None:
            raise _missing(f"Function not found: {self._arn('function', name)}{suffix}")
        return function

    def _version(
        self, name: str, qualifier: str | None, *, aliases: bool = True
    ) -> tuple[_Function, _Version]:
        suffix = f":{qualifier}" if qualifier else ""
        function = self._function(name, suffix)
        if aliases and qualifier in function.aliases:
            qualifier = function.aliases[qualifier]["FunctionVersion"]
        if qualifier in {None, LATEST}:
            return function, function.latest
        version = function.versions.get(qualifier or "")
        if version is None:
            raise _missing(f"Function not found: {function.arn}{suffix}")
        return function, version

    def _alias(self, function_name: str, name: str, problem: str) -> tuple[_Function, Answer]:
        function = self._function(self._locate(function_name)[0])
        if name not in function.aliases:
            raise _missing(f"{problem}: {function.arn}:{name}")
        return function, function.aliases[name]

    def _invoke_configs(
        self, function_name: str, given: str | None
    ) -> tuple[dict[str, Answer], str]:
        name, qualifier = self._locate(function_name, given)
        qualifier = qualifier or LATEST
        function = self._functions.get(name)
        if function is None or qualifier not in function.invoke_configs:
            arn = f"{self._arn('function', name)}:{qualifier}"
            raise _missing(f"The function {arn} doesn't have an EventInvokeConfig")
        return function.invoke_configs, qualifier

    def _tagged(self, operation_name: str, arn: str) -> _Function:
        name, qualifier = self._locate(arn)
        if qualifier:
            raise _invalid(
                "Tags on function aliases and versions are not supported. "
                "Please specify a function ARN."
            )
        function = self._function(name)
        self._check_idle(operation_name, function)
        return function

    def _whole(self, operation_name: str, function_name: str) -> _Function:
        name, qualifier = self._locate(function_name)
        if qualifier:
            raise _invalid(
                "This operation is permitted on Lambda functions only. Aliases and versions do not "
                "support this operation. Please specify either a function name or an unqualified "
                "function ARN."
            )
        suffix = f":{LATEST}" if operation_name.endswith("Concurrency") else ""
        function = self._function(name, suffix)
        self._check_idle(operation_name, function)
        return function

    def _described(self, arn: str, version: _Version, qualifier: str | None = None) -> Answer:
        changing = {
            "FunctionArn": f"{arn}:{qualifier}" if qualifier else arn,
            "Version": version.number,
            "RevisionId": version.revision_id,
            "LastModified": version.modified,
        }
        return {**copied(version.wire), **changing, **version.status}

    # Writes that end later

    def _writable(
        self, operation_name: str, function_name: str, revision_id: str | None
    ) -> _Function:
        """Give a function whose `$LATEST` may be written to now, by who knows its revision."""
        name, qualifier = self._locate(function_name)
        assert qualifier is None
        function = self._function(name)
        self._check_idle(operation_name, function)
        if revision_id not in {None, function.latest.revision_id}:
            raise STALE
        return function

    def _check_idle(self, operation_name: str, function: _Function) -> None:
        if operation_name not in self.blocked:
            return
        busy = self._poll(function.latest)
        state = function.latest.status["State"]
        if state == "Pending" or (state == "Failed" and operation_name in WRITES):
            raise _conflict(f"{BUSY}The function is currently in the following state: {state}")
        if busy:
            raise _conflict(f"{BUSY}An update is in progress for resource: {function.arn}")

    def _check_invocable(self, function: _Function, version: _Version) -> None:
        state = version.status["State"]
        if state == "Pending" and self._poll(version):
            raise _conflict(f"{BUSY}The function is currently in the following state: {state}")
        if version.status["State"] == "Failed":
            raise _conflict(f"{BUSY}The function is currently in the following state: Failed")
        if function.reserved == 0:
            raise Refused(429, "TooManyRequestsException", "Rate Exceeded.")

    def _poll(self, version: _Version) -> bool:
        """Let time pass; tells whether a write to this version still goes on."""
        if version.polls is None:
            return False
        if version.polls:
            version.polls -= 1
            return True
        version.polls = None
        version.status = version.ending
        if version.status is SETTLED:
            version.running = (version.code, version.wire["Handler"])
        if version.number == LATEST:
            version.revision_id = self.aws.new_id()
        return False

    def _started(self, operation_name: str, function: _Function) -> Answer:
        latest = function.latest
        latest.revision_id = self.aws.new_id()
        latest.modified = self._date()
        self._start(operation_name, latest)
        return self._described(function.arn, latest)

    def _start(self, operation_name: str, version: _Version) -> None:
        polls = {"CreateFunction": self.create_polls, "PublishVersion": self.snapshot_polls}
        version.polls = polls.get(operation_name, self.update_polls)
        version.status = CREATING if operation_name in polls else UPDATING
        version.ending = SETTLED
        failure = self.failures.pop((operation_name, version.wire["FunctionName"]), None)
        if failure and operation_name in polls:
            version.ending = {
                "State": "Failed",
                "StateReason": failure.reason,
                "StateReasonCode": failure.code,
            }
        elif failure:
            version.ending = {
                "State": "Active",
                "LastUpdateStatus": "Failed",
                "LastUpdateStatusReason": failure.reason,
                "LastUpdateStatusReasonCode": failure.code,
            }

    # What is written

    def _check_role(self, role: str) -> None:
        if self.unassumable.get(role, 0) > 0:
            self.unassumable[role] -= 1
            raise _invalid("The role defined for the function cannot be assumed by Lambda.")

    def _code(
        self,
        *,
        ZipFile: bytes | None = None,
        S3Bucket: str = "",
        S3Key: str = "",
        S3ObjectVersion: str | None = None,
    ) -> bytes:
        try:
            code = (
                self.aws.s3.fetch(S3Bucket, S3Key, S3ObjectVersion) if ZipFile is None else ZipFile
            )
        except Refused as refused:
            raise _invalid(
                f"Error occurred while GetObject. S3 Error Code: {refused.code}. "
                f"S3 Error Message: {refused.message}"
            ) from None
        if not zipfile.is_zipfile(io.BytesIO(code)):
            raise _invalid(
                "Could not unzip uploaded file. Please check your file, then try to upload again."
            )
        return code

    def _routed(self, name: str, alias: Answer, routing: Mapping[str, Any] | None) -> Answer:
        """Give the alias with this routing: None leaves it as it is, an empty one clears it."""
        if routing is None:
            return alias
        weights = dict(routing.get("AdditionalVersionWeights") or {})
        if len(weights) > 1:
            raise _invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
        target = alias["FunctionVersion"]
        for version in weights:
            if version == target:
                raise _invalid(
                    f"Invalid function version {version}. Function version {version} is already "
                    "included in routing configuration."
                )
            if target == LATEST:
                message = "$LATEST is not supported for an alias pointing to more than 1 version"
                raise _invalid(message)
            self._version(name, version, aliases=False)
        bare = _without(alias, {"RoutingConfig"})
        return {**bare, "RoutingConfig": {"AdditionalVersionWeights": weights}} if weights else bare

    def _configured(self, wire: Answer, changes: Mapping[str, Any]) -> Answer:
        """Give a configuration with these changes; the old one stays as it is."""
        after = copied(wire)
        for name, value in changes.items():
            change = _CHANGES.get(name)
            if change is None:
                raise TypeError(f"the fake does not know the argument {name}")
            change(self, after, copied(value))
        runtime = after["Runtime"]
        after["RuntimeVersionConfig"] = {
            "RuntimeVersionArn": f"arn:aws:lambda:{self.aws.region}::runtime:{runtime}"
        }
        if after["SnapStart"]["ApplyOn"] == "PublishedVersions":
            _check_snapstart(after)
        return after


def _plain(name: str) -> Callable[[FakeLambda, Answer, Any], None]:
    """Give the change of a field that is what it was set to."""

    def change(_: FakeLambda, wire: Answer, value: Any) -> None:
        wire[name] = value

    return change


def _set_vpc(_: FakeLambda, wire: Answer, value: Any) -> None:
    """Attach to a VPC, or detach with empty lists; an empty dict says nothing."""
    if not value:
        return
    subnets = list(value.get("SubnetIds", ()))
    wire["VpcConfig"] = {
        "SubnetIds": subnets,
        "SecurityGroupIds": list(value.get("SecurityGroupIds", ())) if subnets else [],
        "VpcId": "vpc-1" if subnets else "",
        "Ipv6AllowedForDualStack": False,
    }


def _set_layers(client: FakeLambda, wire: Answer, value: Sequence[str]) -> None:
    """Lay layers over the function; those of other accounts are taken for granted."""
    if len(value) > 5:
        raise _invalid("Cannot reference more than 5 layers.")
    own, sizes = client.own_layers()
    seen: dict[str, str] = {}
    for arn in value:
        layer = arn.rpartition(":")[0]
        if arn.startswith(own) and arn not in sizes:
            raise _invalid(f"Layer version {arn} does not exist.")
        if layer in seen:
            raise _invalid(
                "Two different versions of the same layer are not allowed to be referenced in the "
                f"same function. {seen[layer]} and {arn} are versions of the same layer."
            )
        seen[layer] = arn
    wire.pop("Layers", None)
    if value:
        wire["Layers"] = [{"Arn": arn, "CodeSize": sizes.get(arn, 1)} for arn in value]


def _set_environment(_: FakeLambda, wire: Answer, value: Any) -> None:
    wire["Environment"] = {"Variables": dict(value.get("Variables", {}))}


def _set_snapstart(_: FakeLambda, wire: Answer, value: Any) -> None:
    # Only a version can have its snapshot taken.
    wire["SnapStart"] = {"ApplyOn": value.get("ApplyOn", "None"), "OptimizationStatus": "Off"}


def _set_logging(_: FakeLambda, wire: Answer, value: Any) -> None:
    config = {**wire["LoggingConfig"], **value}
    levels = ("ApplicationLogLevel", "SystemLogLevel")
    for level in levels:
        if config["LogFormat"] == "JSON":
            config.setdefault(level, "INFO")
        else:
            config.pop(level, None)
    wire["LoggingConfig"] = config


def _set_tracing(_: FakeLambda, wire: Answer, value: Any) -> None:
    wire["TracingConfig"] = {"Mode": value.get("Mode", wire["TracingConfig"]["Mode"])}


_CHANGES: Mapping[str, Callable[[FakeLambda, Answer, Any], None]] = {
    **{
        name: _plain(name)
        for name in (
            "Role",
            "Runtime",
            "Handler",
            "Description",
            "Timeout",
            "MemorySize",
            "EphemeralStorage",
        )
    },
    "VpcConfig": _set_vpc,
    "Layers": _set_layers,
    "Environment": _set_environment,
    "SnapStart": _set_snapstart,
    "LoggingConfig": _set_logging,
    "TracingConfig": _set_tracing,
}


def _check_snapstart(wire: Answer) -> None:
    runtime = wire["Runtime"]
    match = re.fullmatch(r"python3\.(\d+)", runtime)
    if match and int(match[1]) < 12:
        raise _invalid(f"{runtime} is not supported for SnapStart enabled functions.")
    if wire["EphemeralStorage"]["Size"] > 512:
        raise _invalid("SnapStart is not supported with ephemeral storage greater than 512 MB.")


def _conflict(message: str) -> Refused:
    return Refused(409, "ResourceConflictException", message)


def _invalid(message: str) -> Refused:
    return Refused(400, "InvalidParameterValueException", message)


def _missing(message: str) -> Refused:
    return Refused(404, "ResourceNotFoundException", message)


def _facts(code: bytes) -> Answer:
    sha256 = base64.b64encode(hashlib.sha256(code).digest()).decode()
    return {"CodeSha256": sha256, "CodeSize": len(code)}


def _targets(alias: Answer) -> set[str]:
    weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    return {alias["FunctionVersion"], *weights}


def _without(answer: Answer, names: Iterable[str]) -> Answer:
    return {name: value for name, value in answer.items() if name not in set(names)}


def _page(items: Sequence[T], marker: str | None, most: int) -> tuple[Sequence[T], Answer]:
    """Give a page of a list, and the marker of the next if there is one."""
    first = int(marker or 0)
    more = {"NextMarker": str(first + most)} if first + most < len(items) else {}
    return items[first : first + most], more


def _stream(payload: bytes = b"") -> StreamingBody:
    return StreamingBody(io.BytesIO(payload), len(payload))


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
    if found := re.search(r"\braise\s+(\w+)(?:\((.*)\))?", source):
        return _failed(found[1], _literal(found[2] or "''"))
    answer = {
        name: _literal(text) for name, text in re.findall(r"(\w+)=('[^']*'|\"[^\"]*\")", source)
    }
    return "", json.dumps(answer or None).encode()


def _literal(text: str) -> str:
    try:
        return str(ast.literal_eval(text))
    except (SyntaxError, ValueError):
        return text


def _failed(kind: str, message: str) -> tuple[str, bytes]:
    error = {"errorMessage": message, "errorType": kind, "requestId": "", "stackTrace": []}
    return "Unhandled", json.dumps(error).encode()
