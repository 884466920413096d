"""wukong-config.yaml and its environment: validated once, frozen, one source of every default.

A key of the file is overridden by the environment variable WUKONG_<SECTION>_<KEY>, in capitals:
WUKONG_AWS_LAMBDA_EXECUTOR_FUNCTION_NAME, WUKONG_STORE_URL, WUKONG_RUN_MAX_EXECUTORS. Keyword
arguments of `Client` override both.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from wukong.errors import WukongError

FILE = "wukong-config.yaml"


class ConfigError(WukongError):
    """A configuration that cannot be used; names the file or variable, the key and the value."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AwsLambda(_Section):
    """Which functions run a graph, and where; the first four keys are those of earlier releases."""

    executor_function_name: str = "WukongExecutor"
    invoker_function_name: str = "WukongInvoker"
    retrieve_function_names_from_cloudformation: bool = False
    aws_sam_app_name: str = "wukong-app"
    region: str | None = None
    endpoint_url: str | None = None
    invoker_threshold: Annotated[int, Field(ge=0)] | None = None
    """From more Executors than this on, the Invoker starts them."""


class Store(_Section):
    """Where runs keep state and outputs; without a URL one machine uses its embedded Valkey."""

    url: str | None = None
    signing_key: str | None = None
    """Where the key is with which everything in the store is signed: the ARN of a secret or of an
    SSM parameter, file:PATH or env:NAME. Without it, on aws, the key of the stack, if its names are
    taken from the stack; on this machine nothing is signed."""
    keep_days: Annotated[int, Field(ge=1)] | None = None
    """Days for which the bucket of a dynamodb+s3:// store keeps objects, by its lifecycle rule; on
    aws what the stack says. A run that is to be kept for longer is refused."""


class Local(_Section):
    """The local platform."""

    workers: Annotated[int, Field(ge=1)] | None = None
    """Worker processes; one for each core unless set."""
    bundles: str | None = None
    """A folder that `wukong package` has written: workers import from its overflow bundles."""


def _listed(value: object) -> object:
    """Take a text with commas for a list: variables are texts."""
    return value.split(",") if isinstance(value, str) else value


class Packages(_Section):
    """What the packages are built for, and the layers that are built with them."""

    runtime: str | None = None
    """As Lambda calls it, such as python3.13; this Python's version unless set."""
    architecture: Literal["x86_64", "arm64"] | None = None
    """This machine's unless set."""
    layers: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = None
    """Known layers, `NAME=FILE` for requirements files, or ARNs; none if empty."""
    bundles: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = None
    """What does not fit in layers and goes into overflow bundles, named like layers."""


class RunOptions(_Section):
    """Options of a run; each can also be given to `compute(...)` by keyword."""

    max_executors: Annotated[int, Field(ge=0)] = 0
    """The most Executors alive at once; 0 for no limit."""
    lease_seconds: Annotated[float, Field(gt=0)] = 15.0
    """How long an Executor is taken for alive after its last sign of life."""
    max_attempts: Annotated[int, Field(ge=1)] = 4
    """How often a lineage is started before the run is given up."""
    retries: Annotated[int, Field(ge=0)] = 0
    """How often a task that raises is run again, before its error ends the run."""
    deadline: Annotated[float, Field(gt=0)] | None = None
    """Seconds after its submission when the run is cancelled, by whoever follows it then."""
    keep_seconds: Annotated[int, Field(ge=60)] = 86_400
    """When everything that a run left in the store expires. The bucket of a dynamodb+s3:// store
    deletes objects when `store.keep_days` are over, so there it may not be more than these."""
    record: bool = True
    """Whether it is noted what Executors do, for reports, estimates and what a run has cost."""
    memory: Annotated[int, Field(ge=128, le=10_240)] | None = None
    """MB of memory that Executors must have; None for what is deployed.
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
    budget: Annotated[float, Field(gt=0)] | None = None
    """Dollars that the run may cost: it is refused, or stopped, if it would cost more."""
    progress: bool | None = None
    """Whether a progress bar is drawn; None for where somebody looks."""

    def changed(self, options: Mapping[str, Any]) -> RunOptions:
        """Give a copy with some options changed.

        Raises
        ------
        ConfigError
            If there is no such option, or its value cannot be used; names those that are near.
        """
        if not options:
            return self
        try:
            return RunOptions.model_validate({**self.model_dump(), **options})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            if first["type"] == "extra_forbidden":
                raise _unknown_option(name) from error
            raise ConfigError(
                f"option {name}: {first['msg']} (got {first['input']!r:.80})", _options_hint()
            ) from error


def _unknown_option(name: str) -> ConfigError:
    near = difflib.get_close_matches(name, [*RunOptions.model_fields, "callbacks"], n=3)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return ConfigError(f"option {name}: there is no such option of a run{meant}", _options_hint())


def _options_hint() -> str:
    return f"Options of a run are: {', '.join(sorted([*RunOptions.model_fields, 'callbacks']))}."


class Config(_Section):
    """The whole configuration."""

    platform: Literal["local", "aws", "threads"] = "local"
    prices: str | None = None
    """A price table to use instead of the package's own."""
    aws_lambda: AwsLambda = AwsLambda()
    store: Store = Store()
    local: Local = Local()
    packages: Packages = Packages()
    run: RunOptions = RunOptions()

    def with_arguments(
        self,
        platform: str | None,
        stack: str | None,
        workers: int | None,
        run: RunOptions,
    ) -> Config:
        """Give a copy with what a `Client` was given as arguments; raises `ConfigError`."""
        found = self
        if platform is not None or stack is not None:
            found = found.model_copy(update={"platform": platform or "aws"})
        if stack is not None:
            found = found.changed(
                "aws_lambda",
                retrieve_function_names_from_cloudformation=True,
                aws_sam_app_name=stack,
            )
        if workers is not None:
            found = found.changed("local", workers=workers)
        return found.model_copy(update={"run": run})

    def changed(self, section: str, **values: Any) -> Config:
        """Give a copy with some keys of one section changed, validated again."""
        data = self.model_dump()
        data[section].update(values)
        return _validated(data, "arguments")


def load_config(
    path: str | Path | None = None, environment: Mapping[str, str] | None = None
) -> Config:
    """Read the configuration.

    Parameters
    ----------
    path
        The file; without one, `wukong-config.yaml` of the current folder if it is there.
    environment
        Variables that override keys of the file; the process's own by default.

    Raises
    ------
    ConfigError
        That names the file or variable, the key, and what was wrong.
    """
    data = _read(path)
    source = str(path or FILE)
    for variable, section, key in _variables():
        value = (os.environ if environment is None else environment).get(variable)
        if value is None:
            continue
        source = f"{source} with {variable}"
        if section is None:
            data[key] = value
        else:
            data.setdefault(section, {})[key] = value
    return _validated(data, source)


def sources(
    path: str | Path | None = None, environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Say where each key's value comes from: a variable, the file, or `default`.

    Raises
    ------
    ConfigError
        As `load_config`.
    """
    data = _read(path)
    given = os.environ if environment is None else environment
    found = {}
    for variable, section, key in _variables():
        inside = data if section is None else data.get(section) or {}
        name = key if section is None else f"{section}.{key}"
        found[name] = "default"
        if key in inside:
            found[name] = str(path or FILE)
        if variable in given:
            found[name] = variable
    return found


def _read(path: str | Path | None) -> dict[str, Any]:
    file = Path(path or FILE)
    if path is None and not file.exists():
        return {}
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}", "Check the path.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: is not YAML: {error}", "Check the line it names.") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: expected sections, got {data!r:.80}", "See docs/config.md.")
    return {key: dict(value) if isinstance(value, dict) else value for key, value in data.items()}


def _variables() -> list[tuple[str, str | None, str]]:
    """Give each variable with the section (None at the top) and the key that it overrides."""
    found: list[tuple[str, str | None, str]] = []
    for name, field in Config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            found += [(f"WUKONG_{name}_{key}".upper(), name, key) for key in section.model_fields]
        else:
            found.append((f"WUKONG_{name}".upper(), None, name))
    return found


def _validated(data: Mapping[str, Any], source: str) -> Config:
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{source}: {where}: {first['msg']} (got {first['input']!r:.80})",
            "docs/config.md lists every key with its type and default.",
        ) from error
