"""The action "deploy": from a plan to a release. Read this one to see a deployment from end to end.

look ahead ─> write both `$LATEST`, each write settled ─> publish ─> smoke test ─> switch ─> prune
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import zip_longest

from aws_lambda_powertools import Logger

from bootstrap import claim, release, stop
from bootstrap.answer import Answer, FunctionAnswer, Release, Status
from bootstrap.errors import (
    BootstrapError,
    ConflictError,
    DeletedMeanwhileError,
    FunctionBrokenError,
    PackageError,
    SmokeTestError,
    UnreachableError,
)
from bootstrap.events import Request, Trigger
from bootstrap.found import Deployed
from bootstrap.lambda_api import LambdaApi
from bootstrap.outlook import Outlook, look_ahead
from bootstrap.package import Package
from bootstrap.plan import (
    Claim,
    Create,
    FunctionPlan,
    Plan,
    Preparation,
    Replace,
    SetAsynchronous,
    SetConcurrency,
    SetRecursion,
    SetTags,
    Setting,
    UpdateCode,
    UpdateConfiguration,
)
from bootstrap.prune import prune
from bootstrap.record import release_name, timestamp
from bootstrap.release import Candidate, Occasion
from bootstrap.settings import Settings
from bootstrap.spec import ALIAS, Unset
from bootstrap.surroundings import Surroundings

PLANS = 6
PAUSE_SECONDS = 1.0
"""How often to plan when somebody else deploys at the same time, and the first wait in between.

One of the two always gets on, and waiting longer each time lets it finish.
"""

logger = Logger(service="bootstrap", child=True)


def deploy(request: Request, around: Surroundings) -> Answer:
    """Make the package, with the wanted configuration, the live release.

    A stack also configures the package that is live, with the layers that it has, if a newer one is
    bad: what somebody uploaded is no reason for an update, or for the one that takes it back, to
    fail.
    """
    try:
        return _until_undisturbed(request, around)
    except (PackageError, SmokeTestError, FunctionBrokenError) as error:
        if request.trigger is not Trigger.CLOUDFORMATION or request.package_version:
            raise
        logger.warning("the newest is refused", problem=error.message)
        answer = _with_the_live_package(request, around)
        if answer is None:
            raise
        told = f"{answer.message} What is newer is not: {error.message}"
        return replace(answer, message=told)


def _with_the_live_package(request: Request, around: Surroundings) -> Answer | None:
    """Deploy as `_until_undisturbed`; None if nothing older is live, or it fails as well."""
    try:
        answer = _until_undisturbed(replace(request, keeps_live=True), around)
    except (PackageError, SmokeTestError, FunctionBrokenError) as error:
        logger.warning("nor is the live package deployed", problem=error.message)
        return None
    return None if answer.status is Status.AWAITING_PACKAGE else answer


def _until_undisturbed(request: Request, around: Surroundings) -> Answer:
    for attempt in range(1, PLANS):
        try:
            return _deploy_once(request, around)
        except ConflictError as conflict:
            # Somebody else wrote in between, or an answer to us was lost: what is there decides.
            logger.warning("planning again", problem=conflict.message)
            around.deadline.sleep(attempt * PAUSE_SECONDS, "another deployment")
    return _deploy_once(request, around)


def _deploy_once(request: Request, around: Surroundings) -> Answer:
    outlook = look_ahead(request, around, writes=True)
    if isinstance(outlook, Answer):
        return outlook
    plan = outlook.plan
    if plan.status is not Status.UNCHANGED or outlook.holds_more:
        renewed = _as_configured_now(request, around)
        if renewed != request:
            return _deploy_once(renewed, around)
    logger.info("planned", status=plan.status, plan=str(plan).splitlines())
    around.progress.expect(steps(outlook))
    try:
        candidates = _apply(request, outlook, around)
    except (ConflictError, UnreachableError, DeletedMeanwhileError) as error:
        creates = any(function.creates for function in plan.functions)
        if creates or isinstance(error, DeletedMeanwhileError):
            arns = [arn for function in plan.functions for arn in function.wanted.layers]
            stop.clean_up(request, around, arns)
        raise
    if candidates:
        prune(plan, around)
    return _answer(plan, candidates)


def _as_configured_now(request: Request, around: Surroundings) -> Request:
    """Give the request as the bootstrap function's settings are now.

    This process has those of its start, and would undo a stack update that came since. They are
    read after the pair: an update that comes still later changes the pair, which is a conflict.
    CloudFormation says itself what is wanted, and only once its function has the settings.
    """
    if request.trigger is Trigger.CLOUDFORMATION:
        return request
    variables = around.api.read_variables(around.function_arn)
    return replace(request, configured=(Settings.from_environment(variables).wishes(),))


def steps(outlook: Outlook) -> list[str]:
    """Name all that a deployment does, in order."""
    plan = outlook.plan
    writes = [
        _step(function, part) for function in plan.functions for part in function.preparations
    ]
    releasing = [f.spec.function_name for f in plan.functions if f.release]
    settings = [_step(f, part) for f in plan.functions for part in f.settings]
    before = [f"{verb} {name}" for verb in ("publish", "smoke-test") for name in releasing]
    switched = plan.functions if releasing or outlook.holds_more else ()
    return [*writes, *before, *settings, *(f"switch {f.spec.function_name}" for f in switched)]


def _step(function: FunctionPlan, part: Preparation | Setting) -> str:
    return f"{type(part).__name__} {function.spec.function_name}"


def _apply(request: Request, outlook: Outlook, around: Surroundings) -> tuple[Candidate, ...]:
    """Do what is planned, and give the versions that are live now."""
    plan = outlook.plan
    settled = _prepare(request, plan, around)
    occasion = Occasion(
        by=request.by,
        at=timestamp(around.now()),
        request=around.request_id,
        held=outlook.held,
    )
    candidates = release.publish_pair(around, plan, settled, occasion)
    try:
        for candidate in candidates:
            release.smoke_test(around, candidate)
        _set(plan, around, before_switch=True)
    except BootstrapError as error:
        if not error.retryable:
            release.discard(around.api, candidates)
        raise
    if candidates or outlook.holds_more:
        release.switch_all(around, _switches(plan, candidates, occasion))
    _set(plan, around, before_switch=False)
    return candidates


def _switches(
    plan: Plan, candidates: tuple[Candidate, ...], occasion: Occasion
) -> tuple[release.Switch, ...]:
    """Write both aliases, also one that stays: so a deployment in between is noticed at either."""
    versions = {candidate.name: candidate.version for candidate in candidates}
    pair = [_version(function, versions) for function in plan.functions]
    new, previous = release_name(*pair), _previous(plan, release_name(*pair))
    return tuple(
        release.Switch(
            component=function.spec.component,
            name=function.spec.function_name,
            version=version,
            alias=function.found.alias if function.found else None,
            record=occasion.record(
                new, previous, plan.package.id, plan.package.sha256, function.wanted
            ),
        )
        for function, version in zip(plan.functions, pair, strict=True)
    )


def _previous(plan: Plan, new: str) -> str:
    """Name the release before the new one; "-" if that is not known."""
    records = [function.found.record for function in plan.functions if function.found]
    # A release that was interrupted half-way keeps the one before it, not the half.
    kept = [record.previous for record in records if record and record.release == new]
    before = [f.found.alias.version if f.found and f.found.alias else "" for f in plan.functions]
    if kept:
        return kept[0]
    return release_name(*before) if all(before) and release_name(*before) != new else "-"


def _version(plan: FunctionPlan, published: Mapping[str, str]) -> str:
    live = plan.found.alias.version if plan.found and plan.found.alias else ""
    return published.get(plan.spec.function_name, live)


def _prepare(request: Request, plan: Plan, around: Surroundings) -> Mapping[str, Deployed]:
    """Write to both `$LATEST`, starting each step of both before waiting for either."""
    api = around.api
    latest = {f.spec.function_name: f.found.latest for f in plan.functions if f.found}
    for pair in zip_longest(*(function.preparations for function in plan.functions)):
        started = [(f, step) for f, step in zip(plan.functions, pair, strict=True) if step]
        for function, step in started:
            logger.info("writing", function=function.spec.function_name, step=type(step).__name__)
            _write(around, plan, function, step, latest.get(function.spec.function_name))
        if any(function.creates for function, _ in started):
            stop.heed(request, around)
        for function, step in started:
            latest[function.spec.function_name] = api.settle(function.spec.function_name)
            around.progress.tick(_step(function, step))
    return latest


def _write(
    around: Surroundings,
    plan: Plan,
    function: FunctionPlan,
    step: Preparation,
    current: Deployed | None,
) -> None:
    api, name = around.api, function.spec.function_name
    wanted, package = function.wanted, plan.package
    tags = {} if isinstance(function.spec.tags, Unset) else dict(function.spec.tags)
    tags |= {**claim.ours(plan.owner, plan.resource), claim.CREATED: around.request_id}
    match step, current:
        case Create(), _:
            api.create(name, wanted, package, tags)
        case Replace(), _:
            api.delete(name)
            api.create(name, wanted, package, tags)
        case UpdateConfiguration(fields), Deployed():
            api.update_configuration(name, wanted, fields, current.revision_id)
        case UpdateCode(), Deployed():
            api.update_code(name, wanted, package, current.revision_id)


def _set(plan: Plan, around: Surroundings, *, before_switch: bool) -> None:
    """Write the settings; the alias's own can only follow the switch that creates the alias."""
    for function in plan.functions:
        has_alias = function.found is not None and function.found.alias is not None
        for setting in function.settings:
            now = has_alias or not isinstance(setting, SetAsynchronous)
            if now is before_switch:
                _write_setting(around.api, function, setting)
                around.progress.tick(_step(function, setting))


def _write_setting(api: LambdaApi, function: FunctionPlan, setting: Setting) -> None:
    name = function.spec.function_name
    match setting:
        case Claim(tags) if function.found:
            api.tag(function.found.latest.arn, tags)
        case SetRecursion(loop):
            api.set_recursion(name, loop)
        case SetConcurrency(reserved):
            api.set_concurrency(name, reserved)
        case SetAsynchronous(wanted):
            api.set_asynchronous(name, ALIAS, wanted)
            if function.found and function.found.alias and not function.release:
                # Runs invoke versions by number; one that is released now has it already.
                api.set_asynchronous(name, function.found.alias.version, wanted)
        case SetTags(added, removed) if function.found:
            if added:
                api.tag(function.found.latest.arn, added)
            if removed:
                api.untag(function.found.latest.arn, removed)


def _answer(plan: Plan, candidates: tuple[Candidate, ...]) -> Answer:
    package = plan.package
    published = {candidate.name: candidate for candidate in candidates}
    functions = tuple(
        _function_answer(function, published.get(function.spec.function_name), package)
        for function in plan.functions
    )
    told = "is live" if plan.status is not Status.UNCHANGED else "was live already"
    live = Release(
        name=release_name(*(function.version or "-" for function in functions)),
        package=package.id,
        code_sha256=package.sha256,
        live=True,
    )
    message = f"Package {package.id} {told} ({plan.status.value})."
    return Answer(plan.status, message, live, functions)


def _function_answer(
    plan: FunctionPlan, candidate: Candidate | None, package: Package
) -> FunctionAnswer:
    alias = plan.found.alias if plan.found else None
    before = alias.version if alias else None
    return FunctionAnswer(
        component=plan.spec.component,
        name=plan.spec.function_name,
        invoke=plan.spec.invoke,
        status=plan.status,
        version=candidate.version if candidate else before,
        previous=before if candidate else None,
        code_sha256=package.sha256,
        package=package.id,
        changes=tuple(str(change) for change in plan.changes),
        smoke=candidate.smoke if candidate else {},
    )
