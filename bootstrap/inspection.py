"""The actions that only look: "plan", "status" and "history"."""

from __future__ import annotations

from bootstrap.answer import Answer, FunctionAnswer, Release, Status
from bootstrap.errors import BootstrapError
from bootstrap.events import Request
from bootstrap.found import Deployed, Found
from bootstrap.outlook import Pair, look_ahead, read_pair
from bootstrap.record import Origin, Record, later, readable, release_name
from bootstrap.spec import FunctionSpec
from bootstrap.surroundings import Surroundings


def plan(request: Request, around: Surroundings) -> Answer:
    """Say what a deployment would do."""
    outlook = look_ahead(request, around, writes=False)
    if isinstance(outlook, Answer):
        return outlook
    functions = tuple(
        FunctionAnswer(
            component=function.spec.component,
            name=function.spec.function_name,
            invoke=function.spec.invoke,
            status=function.status,
            changes=tuple(str(change) for change in function.changes),
        )
        for function in outlook.plan.functions
    )
    package = outlook.plan.package
    message = f"Package {package.id} would be live ({outlook.plan.status.value})."
    lines = tuple(str(outlook.plan).splitlines())
    return Answer(Status.PLANNED, message, functions=functions, plan=lines)


def status(request: Request, around: Surroundings) -> Answer:
    """Say what is live, since when and by whom, and how it differs from what is wanted."""
    found = read_pair(request, around)
    lives = [exists.live if exists and exists.alias else None for exists in found]
    drifts = _drifts(request, around, found) if any(lives) else {}
    functions = tuple(
        _function_answer(spec, exists, drifts.get(spec.component, ()))
        for spec, exists in zip(request.spec.functions, found, strict=True)
    )
    executor, invoker = lives
    if executor is None and invoker is None:
        return Answer(Status.ABSENT, "No release is live.", functions=functions)
    if executor is None or invoker is None or executor.code_sha256 != invoker.code_sha256:
        message = "The two functions are not live with the same package; deploy again."
        return Answer(Status.INCOMPLETE, message, functions=functions)
    record = later(*(exists.record if exists else None for exists in found))
    live = _release(executor.version, invoker.version, executor.code_sha256, record)
    message = f"Release {live.name} of package {live.package or 'unknown'} is live."
    return Answer(Status.LIVE, message, live, functions)


def _release(executor: str, invoker: str, sha256: str, record: Record | None) -> Release:
    return Release(
        name=release_name(executor, invoker),
        package=record.package if record else "",
        code_sha256=sha256,
        at=readable(record.at) if record else "",
        by=record.by if record else "",
        live=True,
    )


def _drifts(request: Request, around: Surroundings, pair: Pair) -> dict[str, tuple[str, ...]]:
    """Say how what is live differs from what a deployment now would make."""
    try:
        outlook = look_ahead(request, around, writes=False, pair=pair)
    except BootstrapError as error:
        unknown = (f"unknown: {error.message}",)
        return {spec.component: unknown for spec in request.spec.functions}
    if isinstance(outlook, Answer):
        return {}
    return {
        function.spec.component: tuple(str(change) for change in function.changes)
        for function in outlook.plan.functions
    }


def _function_answer(
    spec: FunctionSpec, found: Found | None, drift: tuple[str, ...]
) -> FunctionAnswer:
    if found is None or found.alias is None or found.live is None:
        return FunctionAnswer(spec.component, spec.function_name, spec.invoke, Status.ABSENT)
    record = found.record
    position = 0 if spec.component == "executor" else -1
    previous = record.previous.split(".")[position] if record else "-"
    return FunctionAnswer(
        component=spec.component,
        name=spec.function_name,
        invoke=spec.invoke,
        status=Status.LIVE,
        version=found.alias.version,
        previous=previous if previous != "-" else None,
        code_sha256=found.live.code_sha256,
        package=record.package if record else None,
        drift=drift,
    )


def history(request: Request, around: Surroundings) -> Answer:
    """List the releases that Lambda still has, the newest first."""
    specs = request.spec.functions
    aliases = [around.api.read_alias(spec.function_name, spec.component) for spec in specs]
    versions = [around.api.list_versions(spec.function_name) for spec in specs]
    live = release_name(*(alias.version if alias else "-" for alias in aliases))
    listed = list_releases(versions[0], versions[1], live)[: request.count]
    message = f"{len(listed)} releases; {live if any(aliases) else 'none'} is live."
    return Answer(Status.LISTED, message, releases=tuple(listed))


def list_releases(executors: list[Deployed], invokers: list[Deployed], live: str) -> list[Release]:
    """Pair the versions that were published to go together, the newest pair first.

    A pair of which one version is gone is none; the live one is listed in any case.
    """
    exists = {"executor": {v.version for v in executors}, "invoker": {v.version for v in invokers}}
    releases: dict[str, Release] = {}
    for component, versions in (("executor", executors), ("invoker", invokers)):
        for version in versions:
            origin = Origin.parse(version.description)
            if origin is None:
                continue
            pair = version.version, origin.partner
            name = release_name(*(pair if component == "executor" else reversed(pair)))
            other = exists["invoker" if component == "executor" else "executor"]
            if origin.partner in other:
                releases[name] = Release(
                    name=name,
                    package=origin.package,
                    code_sha256=version.code_sha256,
                    at=readable(origin.at),
                    by=origin.by,
                    live=name == live,
                )
    if "-" not in live:
        releases.setdefault(live, Release(live, live=True))
    return sorted(releases.values(), key=lambda release: (release.at, release.name), reverse=True)
