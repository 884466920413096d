"""The bootstrap function's own environment: where the package is, and the template's parameters.

WUKONG_PACKAGE_BUCKET, WUKONG_PACKAGE_KEY      the one object that deploys
WUKONG_OWNER                                   the stack's id; "manual" without a stack
WUKONG_STORE_URL                               for both functions
WUKONG_PACKAGE_VERSION                         the S3 version that is to be live; empty: the newest
WUKONG_KEEP_RELEASES                           how many releases pruning leaves
WUKONG_LAYER_PREFIX                            layers/NAME.zip becomes the layer <prefix>NAME
WUKONG_TOPIC                                   SNS topic for news of releases; else EventBridge
WUKONG_RUNTIME, WUKONG_ARCHITECTURE, ...       any field of a function, for both
WUKONG_EXECUTOR_MEMORY_SIZE, WUKONG_INVOKER_ROLE, ...           ... or for one
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bootstrap.errors import SettingsError
from bootstrap.spec import COMPONENTS
from bootstrap.wishes import DeploymentWishes, FunctionWishes

CLEARABLE = frozenset(
    {
        "layers",
        "subnet_ids",
        "security_group_ids",
        "failure_destination",
        "exec_wrapper",
        "kms_key",
        "signing_key",
        "tracing_layer",
    }
)
"""Fields where an empty variable means "none"; elsewhere it means "not said"."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the bootstrap function knows before any event."""

    bucket: str
    key: str
    owner: str
    said: Mapping[str, Any]
    keep_releases: int = 10
    layer_prefix: str = "Wukong-"
    topic: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read and check the environment.

        Raises
        ------
        SettingsError
            Naming the variable that is missing.
        """
        wishes: dict[str, Any] = {name: _function(environment, name) for name in COMPONENTS}
        for name in ("store_url", "package_version"):
            if f"WUKONG_{name.upper()}" in environment:
                wishes[name] = environment[f"WUKONG_{name.upper()}"]
        keep = environment.get("WUKONG_KEEP_RELEASES") or "10"
        if not keep.isdecimal() or int(keep) < 2:
            raise SettingsError(
                f"Environment variable WUKONG_KEEP_RELEASES: {keep!r:.20} is not a number above 1.",
                "Correct the parameter KeepReleases and update the stack.",
            )
        return cls(
            bucket=_required(environment, "WUKONG_PACKAGE_BUCKET"),
            key=_required(environment, "WUKONG_PACKAGE_KEY"),
            owner=environment.get("WUKONG_OWNER") or "manual",
            said=wishes,
            keep_releases=int(keep),
            layer_prefix=environment.get("WUKONG_LAYER_PREFIX") or "Wukong-",
            topic=environment.get("WUKONG_TOPIC", ""),
        )

    def wishes(self) -> DeploymentWishes:
        """Check and give what the environment says about the functions.

        Only when it is needed: deleting them must work with parameters that are wrong.

        Raises
        ------
        SettingsError
            Naming the variable that is wrong.
        """
        try:
            return DeploymentWishes.model_validate(self.said)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            variable = "_".join(["WUKONG", *(str(part).upper() for part in first["loc"])])
            raise SettingsError(
                f"Environment variable {variable}: {first['msg']}.",
                "Correct the parameter of the bootstrap's stack and update the stack.",
            ) from None


def _function(environment: Mapping[str, str], component: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name in FunctionWishes.model_fields:
        for variable in (f"WUKONG_{name}", f"WUKONG_{component}_{name}"):
            value = environment.get(variable.upper())
            if value or (value is not None and name in CLEARABLE):
                fields[name] = value
    return fields


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise SettingsError(
            f"Environment variable {name} is missing.",
            "Deploy the bootstrap function with template-bootstrap.yaml, which sets it.",
        )
    return value
