"""A Lambda function's configuration as one comparable value, and its form on the wire.

Everything that a published version fixes is here; what belongs to the function as a whole (tags,
concurrency, the recursion guard) is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_lambda.type_defs import (
        FunctionConfigurationResponseTypeDef,
        FunctionConfigurationTypeDef,
    )

    Description = FunctionConfigurationTypeDef | FunctionConfigurationResponseTypeDef


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; prints as `memory_size: 512 -> 1024`. Never holds a secret."""

    field: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.field}: {self.before} -> {self.after}"


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a version of a function is made of, besides its code.

    Memory and ephemeral storage in MB, timeout in seconds. Layers are ordered, as later ones are
    laid over earlier ones in /opt; subnets and security groups are sets.
    """

    handler: str
    runtime: str
    role: str
    architecture: str = "x86_64"
    memory_size: int = 128
    timeout: int = 3
    layers: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    subnet_ids: frozenset[str] = frozenset()
    security_group_ids: frozenset[str] = frozenset()
    tracing: str = "PassThrough"
    log_group: str = ""
    log_format: str = "Text"
    ephemeral_storage: int = 512
    snap_start: str = "None"
    kms_key: str = ""

    @classmethod
    def from_lambda(cls, answer: Description) -> Configuration:
        """Read what Lambda says about a function or a version."""
        vpc = answer.get("VpcConfig", {})
        logging = answer.get("LoggingConfig", {})
        name = answer.get("FunctionName", "")
        return cls(
            handler=answer.get("Handler", ""),
            runtime=answer.get("Runtime", ""),
            role=answer.get("Role", ""),
            architecture=next(iter(answer.get("Architectures", [])), "x86_64"),
            memory_size=answer.get("MemorySize", 128),
            timeout=answer.get("Timeout", 3),
            layers=tuple(layer["Arn"] for layer in answer.get("Layers", []) if "Arn" in layer),
            environment=dict(answer.get("Environment", {}).get("Variables", {})),
            subnet_ids=frozenset(vpc.get("SubnetIds", [])),
            security_group_ids=frozenset(vpc.get("SecurityGroupIds", [])),
            tracing=answer.get("TracingConfig", {}).get("Mode", "PassThrough"),
            log_group=logging.get("LogGroup", default_log_group(name)),
            log_format=logging.get("LogFormat", "Text"),
            ephemeral_storage=answer.get("EphemeralStorage", {}).get("Size", 512),
            snap_start=answer.get("SnapStart", {}).get("ApplyOn", "None"),
            kms_key=answer.get("KMSKeyArn", ""),
        )

    @property
    def fingerprint(self) -> str:
        """Digest of all fields, equal for equal configurations."""
        values = {item.name: _plain(getattr(self, item.name)) for item in fields(self)}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    def differences(self, other: Configuration) -> tuple[Change, ...]:
        """List what would change if `other` replaced this one."""
        return tuple(
            _change(item.name, getattr(self, item.name), getattr(other, item.name))
            for item in fields(self)
            if getattr(self, item.name) != getattr(other, item.name)
        )

    def to_lambda(self, only: Container[str] | None = None) -> dict[str, Any]:
        """Give the arguments that `CreateFunction` and `UpdateFunctionConfiguration` share.

        All, or `only` those of the named fields.

        Empty values are given as empty values, as an omitted one means "leave alone"; the
        architecture is missing, as it belongs to the code.
        https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html
        """
        return {
            name: value
            for parts, name, value in self._arguments()
            if only is None or any(part in only for part in parts)
        }

    def _arguments(self) -> tuple[tuple[tuple[str, ...], str, Any], ...]:
        vpc = {
            "SubnetIds": sorted(self.subnet_ids),
            "SecurityGroupIds": sorted(self.security_group_ids),
        }
        logging = {"LogGroup": self.log_group, "LogFormat": self.log_format}
        return (
            (("handler",), "Handler", self.handler),
            (("runtime",), "Runtime", self.runtime),
            (("role",), "Role", self.role),
            (("memory_size",), "MemorySize", self.memory_size),
            (("timeout",), "Timeout", self.timeout),
            (("layers",), "Layers", list(self.layers)),
            (("environment",), "Environment", {"Variables": dict(self.environment)}),
            (("subnet_ids", "security_group_ids"), "VpcConfig", vpc),
            (("tracing",), "TracingConfig", {"Mode": self.tracing}),
            (("log_group", "log_format"), "LoggingConfig", logging),
            (("ephemeral_storage",), "EphemeralStorage", {"Size": self.ephemeral_storage}),
            (("snap_start",), "SnapStart", {"ApplyOn": self.snap_start}),
            (("kms_key",), "KMSKeyArn", self.kms_key),
        )


def default_log_group(function_name: str) -> str:
    """Name the log group that Lambda takes when none is configured."""
    return f"/aws/lambda/{function_name}"


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    return dict(value) if isinstance(value, Mapping) else value


def _change(name: str, before: object, after: object) -> Change:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return _environment_change(name, before, after)
    return Change(name, _show(before), _show(after))


def _environment_change(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> Change:
    """Name the variables that differ; their values may be secrets."""
    touched = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    return Change(
        name,
        _show(frozenset(before.keys() & touched)),
        _show(frozenset(f"{key} (new value)" for key in after.keys() & touched)),
    )


def _show(value: object) -> str:
    if isinstance(value, frozenset):
        value = tuple(sorted(value))
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value) or "none"
    return str(value) or "none"
