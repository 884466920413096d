"""A function's configuration in the fake Lambda: its defaults, and how each argument changes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.bootstrap.fake_answers import invalid
from tests.bootstrap.fake_aws import Answer, copied

PLAIN = {
    "Role",
    "Runtime",
    "Handler",
    "Description",
    "Timeout",
    "MemorySize",
    "EphemeralStorage",
    "Environment",
    "TracingConfig",
}
"""Fields that are what they were set to."""


def default_configuration(name: str) -> Answer:
    """Give what a function has that is created without saying more."""
    return {
        "FunctionName": name,
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "PackageType": "Zip",
        "TracingConfig": {"Mode": "PassThrough"},
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
    }


def configured(wire: Answer, changes: Mapping[str, Any], layers: Mapping[str, int]) -> Answer:
    """Give a configuration with these changes; the old one stays as it is.

    Of layers, the account's own are known, with their sizes.
    """
    after = copied(wire)
    for name, value in changes.items():
        if name in PLAIN:
            after[name] = copied(value)
        elif name == "Layers":
            _set_layers(after, value, layers)
        elif name in _CHANGES:
            _CHANGES[name](after, value)
        else:
            raise TypeError(f"the fake does not know the argument {name}")
    if after["SnapStart"]["ApplyOn"] == "PublishedVersions":
        _check_snapstart(after)
    return after


def _set_layers(wire: Answer, value: Sequence[str], sizes: Mapping[str, int]) -> None:
    if len(value) > 5:
        raise invalid("Cannot reference more than 5 layers.")
    seen: dict[str, str] = {}
    for arn in value:
        layer = arn.rpartition(":")[0]
        if arn not in sizes:
            raise invalid(f"Layer version {arn} does not exist.")
        if layer in seen:
            raise invalid(
                "Two different versions of the same layer are not allowed to be referenced in the "
                f"same function. {seen[layer]} and {arn} are versions of the same layer."
            )
        seen[layer] = arn
    wire.pop("Layers", None)
    if value:
        wire["Layers"] = [{"Arn": arn, "CodeSize": sizes[arn]} for arn in value]


def _set_vpc(wire: Answer, value: Mapping[str, Sequence[str]]) -> None:
    """Attach to a VPC, or detach with empty lists; an empty dict says nothing."""
    if not value:
        return
    subnets = list(value["SubnetIds"])
    wire["VpcConfig"] = {
        "SubnetIds": subnets,
        "SecurityGroupIds": list(value["SecurityGroupIds"]) if subnets else [],
        "VpcId": "vpc-1" if subnets else "",
        "Ipv6AllowedForDualStack": False,
    }


def _set_key(wire: Answer, value: str) -> None:
    """Name the customer key; without one there is none in the answer."""
    wire.pop("KMSKeyArn", None)
    if value:
        wire["KMSKeyArn"] = value


def _set_snapstart(wire: Answer, value: Mapping[str, str]) -> None:
    # Only a version can have its snapshot taken.
    wire["SnapStart"] = {"ApplyOn": value["ApplyOn"], "OptimizationStatus": "Off"}


def _set_logging(wire: Answer, value: Mapping[str, str]) -> None:
    config = {**wire["LoggingConfig"], **value}
    for level in ("ApplicationLogLevel", "SystemLogLevel"):
        if config["LogFormat"] == "JSON":
            config.setdefault(level, "INFO")
        else:
            config.pop(level, None)
    wire["LoggingConfig"] = config


_CHANGES: Mapping[str, Callable[[Answer, Any], None]] = {
    "VpcConfig": _set_vpc,
    "SnapStart": _set_snapstart,
    "KMSKeyArn": _set_key,
    "LoggingConfig": _set_logging,
}


def _check_snapstart(wire: Answer) -> None:
    runtime = wire["Runtime"]
    match = re.fullmatch(r"python3\.(\d+)", runtime)
    if match and int(match[1]) < 12:
        raise invalid(f"{runtime} is not supported for SnapStart enabled functions.")
    if wire["EphemeralStorage"]["Size"] > 512:
        raise invalid("SnapStart is not supported with ephemeral storage greater than 512 MB.")
