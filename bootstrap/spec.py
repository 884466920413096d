"""What is wanted of each function: checks it, fills it in, and knows the only defaults.

    event's properties  >  the bootstrap's environment (the template's parameters)  >  DEFAULTS

A field that none of the three gives is UNSET: it is left as it is. `null` (and an empty list)
clears a field. CloudFormation sends every scalar as a string, so strings are taken for numbers and
booleans wherever they read as such; names are accepted as `memory_size` and as `MemorySize`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_pascal

from bootstrap.configuration import Configuration, default_log_group

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
        "recursive_loop": "Allow",
        "asynchronous_retries": 0,
    },
    "invoker": {
        "function_name": "WukongInvoker",
        "handler": "invoker.function.lambda_handler",
        "runtime": "python3.13",
        "architecture": "x86_64",
        "memory_size": 512,
        "timeout": 300,
        "recursive_loop": "Allow",
    },
}

RESERVED_VARIABLES = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)
"""Names that Lambda keeps for itself.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
"""

ENVIRONMENT_BYTES = 4096
"""Limit of all variables of a function together.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""


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


def _sized(variables: dict[str, str]) -> dict[str, str]:
    reserved = sorted(variables.keys() & RESERVED_VARIABLES)
    if reserved:
        raise ValueError(f"Lambda reserves {', '.join(reserved)}")
    size = sum(len(key.encode()) + len(value.encode()) for key, value in variables.items())
    if size > ENVIRONMENT_BYTES:
        raise ValueError(f"{size} bytes of variables; Lambda allows {ENVIRONMENT_BYTES}")
    return variables


Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9-_]{1,64}$")]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Variables = Annotated[dict[str, str], BeforeValidator(_variables), AfterValidator(_sized)]


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


class FunctionWishes(Wishes):
    """What an event or the environment may say about one function.

    A default here only makes its field optional: `said` gives what was given, and nothing else.
    Limits are those of ordinary functions (the API's own are wider, for managed instances).
    https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    """

    function_name: Name = ""
    handler: Annotated[str, Field(pattern=r"^[^\s/]+\.[^\s./]+$", max_length=128)] = ""
    runtime: Annotated[str, Field(pattern=r"^python3\.1[1-9]$")] = ""
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    role: Annotated[str, Field(pattern=r"^arn:[^:]+:iam::\d{12}:role/.+$")] = ""
    memory_size: Annotated[int, Field(ge=128, le=10_240)] = 0
    timeout: Annotated[int, Field(ge=1, le=900)] = 0
    layers: Annotated[Names, Field(max_length=5)] = ()
    environment: Variables = {}
    subnet_ids: Annotated[Names, Field(max_length=16)] = ()
    security_group_ids: Annotated[Names, Field(max_length=5)] = ()
    tracing: Literal["Active", "PassThrough"] = "PassThrough"
    log_group: str | None = None
    recursive_loop: Literal["Allow", "Terminate"] = "Allow"
    reserved_concurrency: Annotated[int, Field(ge=0)] | None = None
    asynchronous_retries: Annotated[int, Field(ge=0, le=2)] = 0


class DeploymentWishes(Wishes):
    """What an event or the environment may say about a deployment."""

    executor: FunctionWishes = FunctionWishes()
    invoker: FunctionWishes = FunctionWishes()
    store_url: str = ""
    adopt: bool = False

    def said(self) -> dict[str, Any]:
        """Give only the fields that were given, so that the others stay UNSET."""
        return self.model_dump(include={"executor", "invoker", "store_url"}, exclude_unset=True)


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """What is wanted of one function, with UNSET where nobody says."""

    component: Component
    function_name: str
    handler: str
    runtime: str
    architecture: str
    memory_size: int
    timeout: int
    recursive_loop: str
    role: str | Unset = UNSET
    layers: tuple[str, ...] | Unset = UNSET
    environment: Mapping[str, str] | Unset = UNSET
    store_url: str | Unset = UNSET
    subnet_ids: tuple[str, ...] | Unset = UNSET
    security_group_ids: tuple[str, ...] | Unset = UNSET
    tracing: str | Unset = UNSET
    log_group: str | Unset | None = UNSET
    reserved_concurrency: int | Unset | None = UNSET
    asynchronous_retries: int | Unset = UNSET

    @property
    def invoke(self) -> str:
        """The name to invoke the function by."""
        return f"{self.function_name}:{ALIAS}"

    @property
    def module_file(self) -> str:
        """The file of the handler in the package, `executor/function.py`."""
        return self.handler.rpartition(".")[0].replace(".", "/") + ".py"

    def configuration(self, current: Configuration | None) -> Configuration:
        """Give the whole wanted configuration; what is UNSET stays as it is in `current`."""
        base = current or Configuration(self.handler, self.runtime, "")
        group = default_log_group(self.function_name) if self.log_group is None else self.log_group
        if current is None and group is UNSET:
            group = default_log_group(self.function_name)
        return Configuration(
            handler=self.handler,
            runtime=self.runtime,
            architecture=self.architecture,
            memory_size=self.memory_size,
            timeout=self.timeout,
            role=_or(self.role, base.role),
            layers=_or(self.layers, base.layers),
            environment=self._environment(base.environment),
            subnet_ids=frozenset(_or(self.subnet_ids, base.subnet_ids)),
            security_group_ids=frozenset(_or(self.security_group_ids, base.security_group_ids)),
            tracing=_or(self.tracing, base.tracing),
            log_group=_or(group, base.log_group),
        )

    def _environment(self, current: Mapping[str, str]) -> dict[str, str]:
        """Give the wanted variables: ours always, the others as wished or as they are."""
        variables = dict(_or(self.environment, current))
        url = _or(self.store_url, current.get("WUKONG_STORE_URL", ""))
        return variables | {"WUKONG_PLATFORM": "aws", "WUKONG_STORE_URL": url}


def _or(wanted: T | Unset, current: T) -> T:
    return current if isinstance(wanted, Unset) else wanted


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """What is wanted of the pair."""

    executor: FunctionSpec
    invoker: FunctionSpec
    owner: str
    adopt: bool = False

    @property
    def functions(self) -> tuple[FunctionSpec, FunctionSpec]:
        """Both, in the order in which they are switched."""
        return self.executor, self.invoker


def merge(event: DeploymentWishes, environment: DeploymentWishes, owner: str) -> DeploymentSpec:
    """Fill in a deployment: what the event says, then the environment, then the defaults."""
    said, known = event.said(), environment.said()
    specs = {}
    for component in COMPONENTS:
        common = {
            key: layer[key] for layer in (known, said) for key in ("store_url",) if key in layer
        }
        own = {**DEFAULTS[component], **known.get(component, {}), **said.get(component, {})}
        specs[component] = FunctionSpec(component, **own, **common)
    return DeploymentSpec(specs["executor"], specs["invoker"], owner, event.adopt)
