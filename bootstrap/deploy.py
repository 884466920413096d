"""The actions: deploy, delete, status. Read this one to see a deployment from end to end.

package facts ─> read both ─> plan both ─> apply both (each write settled) ─> release ─> answer
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from bootstrap import package as packages
from bootstrap import release
from bootstrap.answer import Answer, FunctionAnswer, Status
from bootstrap.deadline import Deadline
from bootstrap.errors import ConflictError
from bootstrap.events import Action, Request
from bootstrap.lambda_api import LambdaApi
from bootstrap.package import Package
from bootstrap.plan import (
    Create,
    Deployed,
    Found,
    FunctionPlan,
    Plan,
    Preparation,
    Replace,
    SetRetries,
    TakeOver,
    UpdateCode,
    UpdateConfiguration,
    plan_deployment,
)
from bootstrap.record import Record
from bootstrap.release import Candidate
from bootstrap.settings import Settings
from bootstrap.spec import FunctionSpec

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PLANS = 6
PAUSE_SECONDS = 1.0
"""How often to plan when somebody else deploys at the same time, and the first wait in between.

One of the two always gets on, and waiting longer each time lets it finish.
"""

logger = Logger(service="bootstrap", child=True)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an action works with."""

    api: LambdaApi
    s3: S3Client
    settings: Settings
    deadline: Deadline
    request_id: str = ""


def perform(request: Request, around: Surroundings) -> Answer:
    """Do what is asked; raises `BootstrapError`, and then nothing that was live has changed."""
    return _ACTIONS[request.action](request, around)


def deploy(request: Request, around: Surroundings) -> Answer:
    """Make the current package, with the wanted configuration, the live release."""
    for attempt in range(1, PLANS):
        try:
            return _deploy_once(request, around)
        except ConflictError as conflict:
            # Somebody else wrote in between, or an answer to us was lost: what is there decides.
            logger.warning("planning again", problem=conflict.message)
            around.deadline.sleep(attempt * PAUSE_SECONDS, "another deployment")
    return _deploy_once(request, around)


def _deploy_once(request: Request, around: Surroundings) -> Answer:
    place = around.settings.bucket, around.settings.key
    package = packages.resolve(around.s3, *place)
    if request.uploads and (package is None or not package.is_one_of(request.uploads)):
        return Answer(Status.STALE, "A later upload replaced this one; its own event deploys it.")
    if package is None:
        return _awaiting(request, *place)
    package = packages.hashed(around.s3, package)
    executor, invoker = (around.api.read(spec.function_name) for spec in request.spec.functions)
    plan = plan_deployment(request.spec, package, (executor, invoker))
    logger.info("planned", status=plan.status, plan=str(plan).splitlines())
    if any(function.release for function in plan.functions):
        files = [spec.module_file for spec in request.spec.functions]
        packages.validate(around.s3, package, files)
    candidates = _apply(plan, around)
    return _deployed_answer(plan, candidates)


def _awaiting(request: Request, bucket: str, key: str) -> Answer:
    functions = tuple(
        FunctionAnswer(spec.component, spec.function_name, spec.invoke, Status.AWAITING_PACKAGE)
        for spec in request.spec.functions
    )
    message = f"Upload the deployment package to s3://{bucket}/{key} to deploy the functions."
    return Answer(Status.AWAITING_PACKAGE, message, functions=functions)


def _apply(plan: Plan, around: Surroundings) -> tuple[Candidate, ...]:
    """Do what is planned, and give the versions that are live now."""
    api = around.api
    settled = _prepare(plan, api)
    releasing = [function for function in plan.functions if function.release]
    candidates = [
        release.publish(api, function, settled[function.spec.function_name], plan.package)
        for function in releasing
    ]
    tested = tuple(release.smoke_test(api, candidate) for candidate in candidates)
    _set(plan, api, before_switch=True)
    release.switch_all(api, tested, plan.package, around.request_id)
    _set(plan, api, before_switch=False)
    return tested


def _prepare(plan: Plan, api: LambdaApi) -> Mapping[str, Deployed]:
    """Write to both `$LATEST`, starting each step of both before waiting for either."""
    latest = {f.spec.function_name: f.found.latest for f in plan.functions if f.found}
    for steps in zip_longest(*(function.preparations for function in plan.functions)):
        started = [(f, step) for f, step in zip(plan.functions, steps, strict=True) if step]
        for function, step in started:
            logger.info("writing", function=function.spec.function_name, step=type(step).__name__)
            current = latest.get(function.spec.function_name)
            _write(api, plan, function, step, current)
        for function, _ in started:
            latest[function.spec.function_name] = api.settle(function.spec.function_name)
    return latest


def _write(
    api: LambdaApi, plan: Plan, function: FunctionPlan, step: Preparation, current: Deployed | None
) -> None:
    name, wanted = function.spec.function_name, function.wanted
    match step, current:
        case Create(), _:
            api.create(name, wanted, plan.package, plan.owner)
        case Replace(), _:
            api.delete(name)
            api.create(name, wanted, plan.package, plan.owner)
        case TakeOver(), Deployed():
            api.tag(name, current.arn, plan.owner)
        case UpdateConfiguration(fields), Deployed():
            api.update_configuration(name, wanted, fields, current.revision_id)
        case UpdateCode(), Deployed():
            api.update_code(name, wanted, plan.package, current.revision_id)


def _set(plan: Plan, api: LambdaApi, *, before_switch: bool) -> None:
    """Write the settings; the alias's own can only follow the switch that creates the alias."""
    for function in plan.functions:
        has_alias = function.found is not None and function.found.alias is not None
        for setting in function.settings:
            now = has_alias or not isinstance(setting, SetRetries)
            if now is before_switch:
                release.apply_setting(api, function.spec.function_name, setting)


def _deployed_answer(plan: Plan, candidates: tuple[Candidate, ...]) -> Answer:
    package = plan.package
    published = {candidate.name: candidate for candidate in candidates}
    functions = tuple(
        _function_answer(function, published.get(function.spec.function_name), package)
        for function in plan.functions
    )
    told = "is live" if plan.status is not Status.UNCHANGED else "was live already"
    message = f"Package {package.id} {told} ({plan.status.value})."
    return Answer(plan.status, message, package.id, package.sha256, functions)


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


def delete(request: Request, around: Surroundings) -> Answer:
    """Delete both functions; what is gone already, or not ours, is left and not an error."""
    functions = []
    for spec in reversed(request.spec.functions):
        found, owner = around.api.read_owner(spec.function_name)
        status, change = Status.ABSENT, "gone already"
        if found and owner == request.spec.owner:
            around.api.delete(spec.function_name)
            status, change = Status.DELETED, "deleted"
        elif found:
            status, change = Status.IGNORED, f"left: it belongs to {owner or 'nobody we know'}"
        functions.append(
            FunctionAnswer(
                spec.component, spec.function_name, spec.invoke, status, changes=(change,)
            )
        )
    told = "; ".join(f"{function.name}: {function.changes[0]}" for function in functions)
    return Answer(Status.DELETED, f"{told}.", functions=tuple(functions))


def status(request: Request, around: Surroundings) -> Answer:
    """Say what is live, without changing anything."""
    functions = tuple(
        _live_answer(spec, around.api.read(spec.function_name)) for spec in request.spec.functions
    )
    lives = [function.status is Status.LIVE for function in functions]
    pairs = {function.code_sha256 for function in functions}
    if not any(lives):
        return Answer(Status.ABSENT, "No release is live.", functions=functions)
    if not all(lives) or len(pairs) > 1:
        message = "The two functions are not live with the same package; deploy again."
        return Answer(Status.INCOMPLETE, message, functions=functions)
    first = functions[0]
    message = f"Package {first.package} is live."
    return Answer(Status.LIVE, message, first.package, first.code_sha256, functions)


def _live_answer(spec: FunctionSpec, found: Found | None) -> FunctionAnswer:
    if found is None or found.alias is None or found.live is None:
        return FunctionAnswer(spec.component, spec.function_name, spec.invoke, Status.ABSENT)
    record = Record.parse(found.alias.description)
    previous = record.previous if record and record.previous != "-" else None
    return FunctionAnswer(
        component=spec.component,
        name=spec.function_name,
        invoke=spec.invoke,
        status=Status.LIVE,
        version=found.alias.version,
        previous=previous,
        code_sha256=found.live.code_sha256,
        package=record.package if record else None,
    )


_ACTIONS: Mapping[Action, Callable[[Request, Surroundings], Answer]] = {
    Action.DEPLOY: deploy,
    Action.DELETE: delete,
    Action.STATUS: status,
}
