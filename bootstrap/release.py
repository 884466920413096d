"""From two settled functions to a release: publish both, smoke-test both, switch both.

    publish ─> smoke test ─> settings ─> switch the Executor ─> switch the Invoker
                                                 └── switched back if this fails ──┘

`live` moves only in the last two steps, and each alias moves in one write together with its record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aws_lambda_powertools import Logger

from bootstrap.errors import BootstrapError, ConflictError, SmokeTestError, SwitchError
from bootstrap.lambda_api import LambdaApi
from bootstrap.package import Package
from bootstrap.plan import Deployed, FunctionPlan, SetConcurrency, SetRecursion, SetRetries, Setting
from bootstrap.record import Record
from bootstrap.spec import ALIAS, Unset

logger = Logger(service="bootstrap", child=True)

PING = b'{"wukong":"ping"}'


@dataclass(frozen=True, slots=True)
class Candidate:
    """A published version that may become live."""

    plan: FunctionPlan
    version: str
    smoke: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.plan.spec.function_name


def publish(api: LambdaApi, plan: FunctionPlan, latest: Deployed, package: Package) -> Candidate:
    """Publish what was settled, and give every version the Executor's rule about retries.

    Raises
    ------
    ConflictError
        If Lambda did not take the code that we validated.
    """
    name = plan.spec.function_name
    if latest.code_sha256 != package.sha256:
        raise ConflictError(
            f"{name} has code {latest.code_sha256[:12]}, not the package's {package.sha256[:12]}.",
            "Another deployment is at work; send the event again.",
        )
    version = api.publish(name, latest)
    # Runs invoke versions by number, and the setting is looked up under the name that is invoked.
    if not isinstance(plan.spec.asynchronous_retries, Unset):
        api.set_retries(name, version, plan.spec.asynchronous_retries)
    logger.info("published", function=name, version=version)
    return Candidate(plan, version)


def smoke_test(api: LambdaApi, candidate: Candidate) -> Candidate:
    """Ping a version, and keep its answer.

    Raises
    ------
    SmokeTestError
        If the answer is an error or not that component's pong.
    """
    where = f"{candidate.name}:{candidate.version}"
    error, payload = api.ping(candidate.name, candidate.version, PING)
    answer = _json(payload)
    component = candidate.plan.spec.component
    if error:
        said = answer.get("errorMessage", "") if isinstance(answer, Mapping) else ""
        raise _not_well(where, f"{error} error: {said!s:.500}")
    if not isinstance(answer, Mapping) or answer.get("wukong") != "pong":
        raise _not_well(where, f"the answer to a ping was {payload[:200]!r}")
    if answer.get("component") != component:
        raise _not_well(where, f"it says it is {answer.get('component')!r}, not {component!r}")
    logger.info("smoke test passed", function=candidate.name, version=candidate.version)
    return Candidate(candidate.plan, candidate.version, answer)


def _json(payload: bytes) -> object:
    try:
        return json.loads(payload)
    except ValueError:
        return None


def _not_well(where: str, what: str) -> SmokeTestError:
    return SmokeTestError(
        f"{where} failed its smoke test: {what}.",
        'Handlers answer {"wukong":"ping"} before anything else; `live` was left as it is.',
    )


def apply_setting(api: LambdaApi, name: str, setting: Setting) -> None:
    """Write one setting of a function as a whole."""
    match setting:
        case SetRecursion(loop):
            api.set_recursion(name, loop)
        case SetConcurrency(reserved):
            api.set_concurrency(name, reserved)
        case SetRetries(maximum):
            api.set_retries(name, ALIAS, maximum)


def switch_all(
    api: LambdaApi, candidates: tuple[Candidate, ...], package: Package, request_id: str
) -> None:
    """Make the candidates live, in order; a failure switches those before it back.

    Raises
    ------
    ConflictError
        If somebody else switched meanwhile, and all is as it was before.
    SwitchError
        With the cause, and what could not be switched back.
    """
    switched: list[tuple[Candidate, str]] = []
    for candidate in candidates:
        try:
            switched.append((candidate, _switch(api, candidate, package, request_id)))
        except BootstrapError as error:
            backs = [_switch_back(api, *done) for done in reversed(switched)]
            left = [name for name in backs if name]
            if isinstance(error, ConflictError) and not left:
                raise
            raise _half_switched(candidate, error, left) from error


def _switch(api: LambdaApi, candidate: Candidate, package: Package, request_id: str) -> str:
    found = candidate.plan.found
    alias = found.alias if found else None
    previous = alias.version if alias else None
    record = str(Record.now(package.id, package.sha256, previous, request_id))
    logger.info("switching", function=candidate.name, version=candidate.version, previous=previous)
    try:
        if alias is None:
            return api.create_alias(candidate.name, candidate.version, record)
        return api.update_alias(candidate.name, candidate.version, record, alias.revision_id)
    except ConflictError:
        # Our own write whose answer was lost, or a deployment of the same release beside us.
        now = api.read_alias(candidate.name)
        if now is None or now.weighted or now.version != candidate.version:
            raise
        return now.revision_id


def _switch_back(api: LambdaApi, candidate: Candidate, revision_id: str) -> str:
    """Undo a switch; gives the function's name if that failed."""
    alias = candidate.plan.found.alias if candidate.plan.found else None
    try:
        if alias is None:
            api.delete_alias(candidate.name)
        else:
            api.update_alias(candidate.name, alias.version, alias.description, revision_id)
    except BootstrapError:
        logger.exception("could not switch back", function=candidate.name)
        return candidate.name
    return ""


def _half_switched(candidate: Candidate, error: BootstrapError, left: list[str]) -> SwitchError:
    outcome = f"{', '.join(left)} could not be switched back" if left else "all is as it was before"
    return SwitchError(
        f"{candidate.name} could not be switched ({error.message}); {outcome}.",
        "The same event again finishes the release.",
    )
