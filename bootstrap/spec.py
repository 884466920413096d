"""What is wanted of each function: checks it, fills it in, and knows the only defaults.

    manual event  >  the package's manifest  >  CloudFormation's properties  >  environment

The last two repeat the template's parameters. A field that none of them gives is UNSET: it is left
as it is, or has its default when the function is created. `null` (and an empty list) clears a field
as if it had never been set. CloudFormation sends every scalar as a string, so strings are taken for
numbers and booleans wherever they read as such; names are accepted as `memory_size` and as
`MemorySize`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_pascal

from bootstrap.configuration import Configuration, default_log_group
from bootstrap.variables import sized

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

VARIABLES: Final[Mapping[str, str]] = {
    "bundle_place": "WUKONG_BUNDLES",
    "exec_wrapper": "AWS_LAMBDA_EXEC_WRAPPER",
    "metrics": "WUKONG_METRICS",
}
"""Fields that are variables of a function, of which a template need not know the others.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html#runtime-wrapper"""


def _listed(value: object) -> object:
    """Take a comma-separated string or null for a list, and drop empty entries."""
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split(",")
    if isinstance(value, list | tuple):
        return tuple(item for item in value if item != "")
    return value


def _variables(value: object) -> object:
    return {} if value is None else value


def _foreign_tags(tags: dict[str, str]) -> dict[str, str]:
    kept = sorted(key for key in tags if key.lower().startswith(("aws:", "wukong:")))
    if kept:
        raise ValueError(f"tags that begin with aws: or wukong: are not yours: {', '.join(kept)}")
    return tags


def _layer(reference: str) -> str:
    if not re.fullmatch(LAYER_NAME, reference) and not re.fullmatch(LAYER_ARN, reference):
        raise ValueError(f"{reference!r:.150} is neither a name nor the ARN of a layer version")
    return reference


SIGNING_KEY: Final = "WUKONG_STORE_SIGNING_KEY"

TRACING_LAYER: Final = "WUKONG_TRACING_LAYER"
"""Which of its layers a function has for tracing, so that this one can be taken away again."""

LAYER_NAME: Final = r"[a-zA-Z0-9_-]{1,64}"
"""A layer of ours, from `layers/NAME.zip` in the package's bucket."""

MOST_LAYERS: Final = 5
"""https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

LAYER_ARN: Final = r"arn:[^:]+:lambda:[^:]+:\d{12}:layer:[a-zA-Z0-9_-]+:\d+"

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9-_]{1,64}$")]
Runtime = Annotated[str, Field(pattern=r"^python3\.1[1-9]$")]
Architecture = Literal["x86_64", "arm64"]
Arn = Annotated[str, Field(pattern=r"^(arn:.+)?$")]
LISTED = BeforeValidator(_listed, json_schema_input_type=list[str] | str | None)
MAPPED = BeforeValidator(_variables, json_schema_input_type=dict[str, str] | None)
Names = Annotated[tuple[str, ...], LISTED]
Layer = Annotated[str, AfterValidator(_layer)]
Variables = Annotated[dict[str, str], MAPPED, AfterValidator(sized)]
TagKey = Annotated[str, Field(min_length=1, max_length=128)]
TagValue = Annotated[str, Field(max_length=256)]
Tags = Annotated[
    dict[TagKey, TagValue],
    Field(max_length=49),
    MAPPED,
    AfterValidator(_foreign_tags),
]


class Wishes(BaseModel):
    """The root of everything that is read from outside: unknown names are errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_pascal,
        validate_by_name=True,
        validate_by_alias=True,
        loc_by_alias=False,
        hide_input_in_errors=True,
    )


class FunctionFields(Wishes):
    """What a package's manifest may say about a function: all but whose it is.

    A default here only makes its field optional: `said` gives what was given, and nothing else.
    Limits are those of ordinary functions (the API's own are wider, for managed instances).
    https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    """

    handler: Annotated[str, Field(pattern=r"^[^\s/]+\.[^\s./]+$", max_length=128)] | None = None
    runtime: Runtime | None = None
    architecture: Architecture | None = None
    memory_size: Annotated[int, Field(ge=128, le=10_240)] | None = None
    timeout: Annotated[int, Field(ge=1, le=900)] | None = None
    ephemeral_storage: Annotated[int, Field(ge=512, le=10_240)] | None = None
    layers: Annotated[tuple[Layer, ...], LISTED, Field(max_length=MOST_LAYERS)] = ()
    environment: Variables = {}
    subnet_ids: Annotated[Names, Field(max_length=16)] = ()
    security_group_ids: Annotated[Names, Field(max_length=5)] = ()
    tracing: Literal["Active", "PassThrough"] | None = None
    exec_wrapper: Annotated[str, Field(pattern=r"^(/.+)?$")] | None = None
    metrics: Literal["on", "off", ""] | None = None
    log_group: str | None = None
    log_format: Literal["Text", "JSON"] | None = None
    snap_start: Literal["None", "PublishedVersions"] | None = None
    kms_key: Arn | None = None
    recursive_loop: Literal["Allow", "Terminate"] | None = None
    reserved_concurrency: Annotated[int, Field(ge=0)] | None = None
    asynchronous_retries: Annotated[int, Field(ge=0, le=2)] | None = None
    failure_destination: Arn | None = None
    tags: Tags = {}


class FunctionWishes(FunctionFields):
    """What an event or the environment may say about one function.

    Attributes
    ----------
    signing_key
        Where the key is that signs what is in the store; only the place, never the key.
    tracing_layer
        The layer that is laid over all others, whoever names those.
    """

    function_name: Name = ""
    role: Annotated[str, Field(pattern=r"^arn:[^:]+:iam::\d{12}:role/.+$")] = ""
    signing_key: Arn = ""
    tracing_layer: Annotated[str, Field(pattern=rf"^({LAYER_ARN})?$")] | None = None


class PartFields(Wishes):
    """A zip that holds a part of an overflow bundle: its key, SHA-256 and bytes."""

    key: Annotated[str, Field(pattern=r"^bundles/[A-Za-z0-9._-]{1,200}\.zip$")]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=1)]


class BundleFields(Wishes):
    """An overflow bundle, which Executors fetch from the package's bucket (bundles.py)."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
    python: Annotated[str, Field(pattern=r"^3\.1[1-9]$")]
    architecture: Architecture
    unpacked: Annotated[int, Field(ge=1)]
    modules: tuple[str, ...]
    versions: dict[str, str]
    parts: Annotated[tuple[PartFields, ...], Field(min_length=1)]


class Manifest(Wishes):
    """`wukong.json` in a deployment package: how its functions want to be configured."""

    executor: FunctionFields = FunctionFields()
    invoker: FunctionFields = FunctionFields()
    bundles: Annotated[tuple[BundleFields, ...], Field(max_length=16)] = ()

    def said(self) -> dict[str, Any]:
        """Give only the fields that were given."""
        return self.model_dump(exclude_unset=True)


class DeploymentWishes(Wishes):
    """What an event or the environment may say about a deployment.

    Attributes
    ----------
    package_version
        The S3 version that is to be live, instead of the newest.
    adopt
        Whether to take over functions that belong to somebody else.
    """

    executor: FunctionWishes = FunctionWishes()
    invoker: FunctionWishes = FunctionWishes()
    store_url: str = ""
    package_version: Annotated[str, Field(max_length=1024)] = ""
    adopt: bool = False

    def said(self) -> dict[str, Any]:
        """Give only the fields that were given, so that the others stay UNSET."""
        return self.model_dump(include={"executor", "invoker", "store_url"}, exclude_unset=True)


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
        """Give the wanted variables: ours always, the others as wished or as they are."""
        told = {variable: getattr(self, name) for name, variable in VARIABLES.items()}
        cleared = {variable for variable, value in told.items() if not value}
        kept = {name: value for name, value in current.items() if name not in cleared}
        variables = dict(_or(self.environment, kept))
        variables |= {name: value for name, value in told.items() if value and value is not UNSET}
        url = _or(self.store_url, current.get("WUKONG_STORE_URL", ""))
        theirs = {
            SIGNING_KEY: _or(self.signing_key, current.get(SIGNING_KEY, "")),
            TRACING_LAYER: _or(self.tracing_layer, current.get(TRACING_LAYER, "")),
        }
        others = {name: value for name, value in variables.items() if name not in theirs}
        said = {name: value for name, value in theirs.items() if value}
        return others | said | {"WUKONG_PLATFORM": "aws", "WUKONG_STORE_URL": url}


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
