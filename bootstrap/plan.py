"""What a deployment will do: a pure function of what is wanted and what was found.

    (wanted, package, found) -> FunctionPlan;  two of them -> Plan

Only `live` counts: a function whose live version already is what is wanted needs nothing, whatever
`$LATEST` is. So running a deployment again changes nothing, and running one again that stopped
half-way does the rest. A plan is a value that prints as a readable diff.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from bootstrap import claim
from bootstrap.answer import Status
from bootstrap.configuration import Change, Configuration
from bootstrap.errors import EventError, NotOursError
from bootstrap.found import Asynchronous, Deployed, Found
from bootstrap.package import Package
from bootstrap.spec import DeploymentSpec, FunctionSpec, Unset


@dataclass(frozen=True, slots=True)
class Claim:
    """Tag the function as ours: last before the switch, so that a failure leaves it theirs."""

    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Create:
    """Create the function."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Delete a function that never became active, and create it."""


@dataclass(frozen=True, slots=True)
class UpdateConfiguration:
    """Update these fields of `$LATEST`."""

    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UpdateCode:
    """Update the code, and the architecture, of `$LATEST`."""


@dataclass(frozen=True, slots=True)
class SetRecursion:
    """Set Lambda's guard against recursive invocations."""

    loop: str


@dataclass(frozen=True, slots=True)
class SetConcurrency:
    """Reserve concurrency, or with None give it back."""

    reserved: int | None


@dataclass(frozen=True, slots=True)
class SetAsynchronous:
    """Set what happens to asynchronous invocations of `live` that fail."""

    wanted: Asynchronous


@dataclass(frozen=True, slots=True)
class SetTags:
    """Add or change these tags, and remove those."""

    added: Mapping[str, str]
    removed: tuple[str, ...]


Preparation = Create | Replace | UpdateConfiguration | UpdateCode
Setting = Claim | SetRecursion | SetConcurrency | SetAsynchronous | SetTags


@dataclass(frozen=True, slots=True)
class FunctionPlan:
    """What will be done to one function, in this order.

    Attributes
    ----------
    preparations
        Writes to `$LATEST`, each settled before the next; nothing live is touched.
    release
        Whether to publish, smoke-test and switch.
    settings
        Writes to the function as a whole.
    asynchronous
        What is wanted of `live`, and of every version, as runs invoke versions by number.
    """

    spec: FunctionSpec
    found: Found | None
    wanted: Configuration
    asynchronous: Asynchronous
    changes: tuple[Change, ...]
    preparations: tuple[Preparation, ...]
    release: bool
    settings: tuple[Setting, ...]

    @property
    def creates(self) -> bool:
        """Whether the function is created."""
        return any(isinstance(step, Create | Replace) for step in self.preparations)

    @property
    def status(self) -> Status:
        """What this makes of the live version."""
        if not (self.preparations or self.release or self.settings):
            return Status.UNCHANGED
        if self.found is None or self.found.live is None:
            return Status.CREATED
        if any(change.field == "code" for change in self.changes):
            return Status.CODE_CHANGED
        return Status.CONFIGURATION_CHANGED

    def __str__(self) -> str:
        lines = [f"{self.spec.function_name}: {self.status}"]
        return "\n".join(lines + [f"  {change}" for change in self.changes])


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done to the pair, with which package, in whose name."""

    functions: tuple[FunctionPlan, FunctionPlan]
    package: Package
    owner: str
    resource: str = ""

    @property
    def status(self) -> Status:
        """The stronger of the two outcomes."""
        order = (Status.CREATED, Status.CODE_CHANGED, Status.CONFIGURATION_CHANGED)
        outcomes = {function.status for function in self.functions}
        return next((status for status in order if status in outcomes), Status.UNCHANGED)

    def __str__(self) -> str:
        return "\n".join(str(function) for function in self.functions)


def plan_deployment(
    spec: DeploymentSpec,
    package: Package,
    found: tuple[Found | None, Found | None],
    layer_arns: Mapping[str, str] | None = None,
) -> Plan:
    """Plan the deployment of a package to both functions.

    Raises
    ------
    NotOursError
        If a function exists that belongs to somebody else, and `adopt` was not asked for.
    EventError
        If a function is to be created and nobody says which role it has.
    """
    check_owners(spec, found)
    executor, invoker = (
        _plan_function(spec, function, package, exists, layer_arns or {})
        for function, exists in zip(spec.functions, found, strict=True)
    )
    return Plan((executor, invoker), package, spec.owner, spec.resource)


def check_owners(spec: DeploymentSpec, found: tuple[Found | None, Found | None]) -> None:
    """Refuse to touch a function that is somebody else's."""
    for function, exists in zip(spec.functions, found, strict=True):
        _check_owner(spec, function, exists)


def _check_owner(spec: DeploymentSpec, function: FunctionSpec, found: Found | None) -> None:
    if found is None or spec.adopt or found.owner == spec.owner:
        return
    belongs = f"belongs to {found.owner}" if found.owner else "exists and has no owner's tag"
    raise NotOursError(
        f"Function {function.function_name} {belongs}; this deployment is of {spec.owner}.",
        "Choose another name, or set `adopt` to true to take the function over.",
    )


def _plan_function(
    deployment: DeploymentSpec,
    spec: FunctionSpec,
    package: Package,
    found: Found | None,
    layer_arns: Mapping[str, str],
) -> FunctionPlan:
    if found is None:
        return _plan_creation(spec, package, Create(), layer_arns)
    if found.latest.stillborn and found.live is None:
        return _plan_creation(spec, package, Replace(), layer_arns)
    current = found.live or found.latest
    wanted = spec.configuration(current.configuration, layer_arns)
    changes = _differences(current, wanted, package)
    if found.alias and found.alias.weighted:
        changes += (Change("routing", "two versions", "one version"),)
    release = found.live is None or bool(changes)
    preparations = _updates(found.latest, wanted, package) if release else ()
    tags = claim.missing(found.marks, deployment.owner, deployment.resource)
    if claim.OWNER in tags:
        changes += (Change("owner", found.owner or "none", deployment.owner),)
    elif tags:
        before = found.marks.get(claim.RESOURCE, "none")
        changes += (Change("resource", before, deployment.resource),)
    asynchronous = _asynchronous(spec, found)
    settings = ((Claim(tags),) if tags else ()) + _settings(spec, found, asynchronous)
    return FunctionPlan(
        spec=spec,
        found=found,
        wanted=wanted,
        asynchronous=asynchronous,
        changes=(*changes, *_setting_changes(found, settings)),
        preparations=preparations,
        release=release,
        settings=settings,
    )


def _plan_creation(
    spec: FunctionSpec, package: Package, step: Create | Replace, layer_arns: Mapping[str, str]
) -> FunctionPlan:
    if isinstance(spec.role, Unset):
        raise EventError(
            f"Field '{spec.component}.role': nobody says which role the function has.",
            "Give it in the event, or as the bootstrap's environment variable "
            f"WUKONG_{spec.component.upper()}_ROLE.",
        )
    wanted = spec.configuration(None, layer_arns)
    nothing = Configuration("none", "none", "none")
    asynchronous = _asynchronous(spec, None)
    return FunctionPlan(
        spec=spec,
        found=None,
        wanted=wanted,
        asynchronous=asynchronous,
        changes=(Change("code", "none", package.sha256[:12]), *nothing.differences(wanted)),
        preparations=(step,),
        release=True,
        settings=_settings(spec, None, asynchronous),
    )


def _differences(current: Deployed, wanted: Configuration, package: Package) -> tuple[Change, ...]:
    code: tuple[Change, ...] = ()
    if current.code_sha256 != package.sha256:
        code = (Change("code", current.code_sha256[:12], package.sha256[:12]),)
    return (*code, *current.configuration.differences(wanted))


def _updates(latest: Deployed, wanted: Configuration, package: Package) -> tuple[Preparation, ...]:
    """Plan the writes that make `$LATEST` what is wanted; configuration first, then code.

    A broken `$LATEST` describes what Lambda could not do, so nothing it says is taken as done.
    """
    different = {change.field for change in latest.configuration.differences(wanted)}
    if latest.broken:
        different = {item.name for item in fields(Configuration)}
    # The architecture is written with the code.
    code = "architecture" in different or latest.code_sha256 != package.sha256
    steps: tuple[Preparation, ...] = ()
    if different - {"architecture"}:
        steps = (UpdateConfiguration(tuple(sorted(different - {"architecture"}))),)
    return (*steps, UpdateCode()) if code else steps


def _asynchronous(spec: FunctionSpec, found: Found | None) -> Asynchronous:
    now = found.asynchronous if found else Asynchronous()
    retries, destination = spec.asynchronous_retries, spec.failure_destination
    return Asynchronous(
        now.retries if isinstance(retries, Unset) else retries,
        now.destination if isinstance(destination, Unset) else destination or None,
    )


def _settings(
    spec: FunctionSpec, found: Found | None, asynchronous: Asynchronous
) -> tuple[Setting, ...]:
    steps: list[Setting] = []
    if found is None or found.recursive_loop != spec.recursive_loop:
        steps.append(SetRecursion(spec.recursive_loop))
    reserved = found.reserved_concurrency if found else None
    wanted = spec.reserved_concurrency
    if not isinstance(wanted, Unset) and wanted != reserved:
        steps.append(SetConcurrency(wanted))
    if asynchronous != (found.asynchronous if found else Asynchronous()):
        steps.append(SetAsynchronous(asynchronous))
    # A new function is created with its tags.
    if found is not None and not isinstance(spec.tags, Unset) and spec.tags != found.tags:
        added = {k: v for k, v in spec.tags.items() if found.tags.get(k) != v}
        removed = tuple(sorted(found.tags.keys() - spec.tags.keys()))
        steps.append(SetTags(added, removed))
    return tuple(steps)


def _setting_changes(found: Found, settings: tuple[Setting, ...]) -> tuple[Change, ...]:
    changes = []
    for setting in settings:
        match setting:
            case SetRecursion(loop):
                changes.append(Change("recursive_loop", found.recursive_loop, loop))
            case SetConcurrency(reserved):
                now = found.reserved_concurrency
                changes.append(Change("reserved_concurrency", f"{now}", f"{reserved}"))
            case SetAsynchronous(wanted):
                changes.append(Change("asynchronous", f"{found.asynchronous}", f"{wanted}"))
            case SetTags(added, removed):
                gone = sorted({*removed, *(added.keys() & found.tags.keys())})
                before, after = ", ".join(gone), ", ".join(added)
                changes.append(Change("tags", before or "none", after or "none"))
    return tuple(changes)
