"""What events, manifests and the environment may say about functions: checked, nothing filled in.

CloudFormation sends every scalar as a string, so strings are taken for numbers and booleans
wherever they read as such; names are accepted as `memory_size` and as `MemorySize`. `spec.py` makes
of it what is wanted.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_pascal

from bootstrap.variables import sized

LAYER_NAME: Final = r"[a-zA-Z0-9_-]{1,64}"
"""A layer of ours, from `layers/NAME.zip` in the package's bucket."""

MOST_LAYERS: Final = 5
"""https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

LAYER_ARN: Final = r"arn:[^:]+:lambda:[^:]+:\d{12}:layer:[a-zA-Z0-9_-]+:\d+"


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
