"""What is wanted of each function: fills in what nobody says, and knows the only defaults.

    manual event  >  the package's manifest  >  CloudFormation's properties  >  environment

The last two repeat the template's parameters; `wishes.py` has checked all four. A field that none
of them gives is UNSET: it is left as it is, or has its default when the function is created. `null`
(and an empty list) clears a field as if it had never been set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, TypeVar

from bootstrap.configuration import Configuration, default_log_group
from bootstrap.variables import OURS, TRACING_LAYER
from bootstrap.wishes import LAYER_NAME, DeploymentWishes, Manifest

Component = Literal["executor", "invoker"]
COMPONENTS: Final[tuple[Component, ...]] = ("executor", "invoker")


class Unset(Enum):
    """The type of UNSET."""

    UNSET = "unset"


T = TypeVar("T")

UNSET: Final = Unset.UNSET
"""Nobody says: leave it as it is. Different from None, which clears."""

ALIAS: Final = "live"
"""The alias that points at a function's released version; nobody invokes `$LATEST`."""

DEFAULTS: Final[Mapping[Component, Mapping[str, Any]]] = {
    "executor": {
        "function_name": "WukongExecutor",
        "handler": "executor.function.lambda_handler",
        "runtime": "python3.13",
        "architecture": "x86_64",
        "memory_size": 3008,
        "timeout": 900,
    },
    "invoker": {
        "function_name": "WukongInvoker",
        "handler": "invoker.function.lambda_handler",
        "runtime": "python3.13",
        "architecture": "x86_64",
        "memory_size": 512,
        "timeout": 300,
    },
}
"""For a function that is created; one that exists is left as it is where nobody says."""

ALWAYS: Final[Mapping[Component, Mapping[str, Any]]] = {
    "executor": {"recursive_loop": "Allow", "asynchronous_retries": 0},
    "invoker": {"recursive_loop": "Allow"},
}
"""What Wukong's protocol needs of every function, unless somebody says otherwise: chains of
Executors are longer than Lambda's guard allows, and a run's client repeats what failed sooner."""

CLEARED: Final[Mapping[str, Any]] = {
    "layers": (),
    "environment": {},
    "subnet_ids": (),
    "security_group_ids": (),
    "tracing": "PassThrough",
    "log_format": "Text",
    "ephemeral_storage": 512,
    "snap_start": "None",
    "kms_key": "",
    "tracing_layer": "",
    "recursive_loop": "Terminate",
    "tags": {},
}
"""What `null` means: what Lambda has where nothing was ever set. For the other fields that is the
default, or None."""


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """What is wanted of one function, with UNSET where nobody says."""

    component: Component
    function_name: str
    recursive_loop: str
    handler: str | Unset = UNSET
    runtime: str | Unset = UNSET
    architecture: str | Unset = UNSET
    memory_size: int | Unset = UNSET
    timeout: int | Unset = UNSET
    ephemeral_storage: int | Unset = UNSET
    role: str | Unset = UNSET
    layers: tuple[str, ...] | Unset = UNSET
    environment: Mapping[str, str] | Unset = UNSET
    store_url: str | Unset = UNSET
    signing_key: str | Unset = UNSET
    tracing_layer: str | Unset = UNSET
    subnet_ids: tuple[str, ...] | Unset = UNSET
    security_group_ids: tuple[str, ...] | Unset = UNSET
    tracing: str | Unset = UNSET
    exec_wrapper: str | Unset | None = UNSET
    metrics: str | Unset | None = UNSET
    log_group: str | Unset | None = UNSET
    log_format: str | Unset = UNSET
    snap_start: str | Unset = UNSET
    kms_key: str | Unset = UNSET
    reserved_concurrency: int | Unset | None = UNSET
    asynchronous_retries: int | Unset | None = UNSET
    failure_destination: str | Unset | None = UNSET
    tags: Mapping[str, str] | Unset = UNSET
    bundle_place: str = ""

    @property
    def invoke(self) -> str:
        """The name to invoke the function by."""
        return f"{self.function_name}:{ALIAS}"

    def configuration(
        self, current: Configuration | None, layer_arns: Mapping[str, str] | None = None
    ) -> Configuration:
        """Give the whole wanted configuration.

        What is UNSET stays as it is in `current`, or without one has its default. Layers that are
        given by name become those of `layer_arns`.
        """
        base = current or self._default()
        group = default_log_group(self.function_name) if self.log_group is None else self.log_group
        return Configuration(
            handler=_or(self.handler, base.handler),
            runtime=_or(self.runtime, base.runtime),
            architecture=_or(self.architecture, base.architecture),
            memory_size=_or(self.memory_size, base.memory_size),
            timeout=_or(self.timeout, base.timeout),
            ephemeral_storage=_or(self.ephemeral_storage, base.ephemeral_storage),
            role=_or(self.role, base.role),
            layers=self._layers(base, layer_arns or {}),
            environment=self._environment(base.environment),
            subnet_ids=frozenset(_or(self.subnet_ids, base.subnet_ids)),
            security_group_ids=frozenset(_or(self.security_group_ids, base.security_group_ids)),
            tracing=_or(self.tracing, base.tracing),
            log_group=_or(group, base.log_group),
            log_format=_or(self.log_format, base.log_format),
            snap_start=_or(self.snap_start, base.snap_start),
            kms_key=_or(self.kms_key, base.kms_key),
        )

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers of ours that are wanted by name, in order."""
        wanted = _or(self.layers, ())
        return tuple(reference for reference in wanted if re.fullmatch(LAYER_NAME, reference))

    def _default(self) -> Configuration:
        chosen = {k: v for k, v in DEFAULTS[self.component].items() if k != "function_name"}
        return Configuration(role="", log_group=default_log_group(self.function_name), **chosen)

    def _layers(self, base: Configuration, arns: Mapping[str, str]) -> tuple[str, ...]:
        """Give the wanted layers, with that for tracing last, and without one that it was."""
        before = base.environment.get(TRACING_LAYER, "")
        tracing = _or(self.tracing_layer, before)
        kept = tuple(arn for arn in base.layers if arn != before)
        wanted = (arns.get(reference, reference) for reference in _or(self.layers, kept))
        others = tuple(arn for arn in wanted if arn != tracing)
        return (*others, tracing) if tracing else others

    def _environment(self, current: Mapping[str, str]) -> dict[str, str]:
        """Give the wanted variables: ours as their fields say, others as wished or as they are."""
        ours = {name: _or(getattr(self, of), current.get(name)) for name, of in OURS.items()}
        ours = {name: value for name, value in ours.items() if value}
        wished = _or(self.environment, current)
        others = {name: value for name, value in wished.items() if name not in OURS}
        url = _or(self.store_url, current.get("WUKONG_STORE_URL", ""))
        return others | ours | {"WUKONG_PLATFORM": "aws", "WUKONG_STORE_URL": url}


def _or(wanted: T | Unset, current: T) -> T:
    return current if isinstance(wanted, Unset) else wanted


def module_file(handler: str) -> str:
    """Give the file of a handler in the package, `executor/function.py`."""
    return handler.rpartition(".")[0].replace(".", "/") + ".py"


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """What is wanted of the pair."""

    executor: FunctionSpec
    invoker: FunctionSpec
    owner: str
    adopt: bool = False
    resource: str = ""

    @property
    def functions(self) -> tuple[FunctionSpec, FunctionSpec]:
        """Both, in the order in which they are switched."""
        return self.executor, self.invoker


def merge(
    layers: Sequence[DeploymentWishes | Manifest],
    owner: str,
    *,
    adopt: bool = False,
    resource: str = "",
) -> DeploymentSpec:
    """Fill in a deployment from what everybody says, the one who decides first."""
    said = [layer.said() for layer in reversed(layers)]
    specs = {}
    for component in COMPONENTS:
        own: dict[str, Any] = {"function_name": DEFAULTS[component]["function_name"]}
        own |= ALWAYS[component]
        for layer in said:
            own |= layer.get(component, {})
            own |= {"store_url": layer["store_url"]} if "store_url" in layer else {}
        cleared = {name: _cleared(component, name) for name, value in own.items() if value is None}
        specs[component] = FunctionSpec(component, **{**own, **cleared})
    return DeploymentSpec(specs["executor"], specs["invoker"], owner, adopt, resource)


def _cleared(component: Component, name: str) -> object:
    return CLEARED.get(name, DEFAULTS[component].get(name))
