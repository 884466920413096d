"""From two settled functions to a release: publish both, smoke-test both, switch both.

    publish ─> smoke test ─> settings ─> switch the Executor ─> switch the Invoker
                                                 └── switched back if this fails ──┘

`live` moves only in the last two steps, and each alias moves in one write together with its record.
A rollback uses the same smoke test and the same switch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aws_lambda_powertools import Logger

from bootstrap.configuration import Configuration
from bootstrap.errors import (
    BootstrapError,
    ConflictError,
    DeadlineError,
    DeletedMeanwhileError,
    SmokeTestError,
    SwitchError,
    UnreachableError,
)
from bootstrap.found import Alias, Asynchronous, Deployed
from bootstrap.lambda_api import LambdaApi
from bootstrap.plan import FunctionPlan, Plan
from bootstrap.record import Origin, Record
from bootstrap.spec import Component
from bootstrap.surroundings import Surroundings

logger = Logger(service="bootstrap", child=True)

PING = b'{"wukong":"ping"}'

SWITCH_SECONDS = 30.0
"""Without so much time no switch is begun: a pair that is half switched at the end would stay so
until an event comes again."""

SECRET_CHARACTERS = 6
"""How long the value of a variable is at least that may be a secret."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """Who asked for a release, when, and which uploads it leaves out."""

    by: str
    at: str
    request: str
    held: tuple[str, ...] = ()
    rollback: bool = False

    def record(
        self, release: str, previous: str, package: str, sha256: str, configuration: Configuration
    ) -> Record:
        """Write down a release of this occasion."""
        return Record(
            release=release,
            previous=previous,
            package=package,
            sha=sha256[:12],
            configuration=configuration.fingerprint,
            at=self.at,
            request=self.request,
            by=self.by,
            rollback=self.rollback,
            held=self.held,
        )


@dataclass(slots=True)
class Candidate:
    """A published version that may become live.

    Attributes
    ----------
    is_new
        Whether it was published just now, and not found published.
    smoke
        What it answered to the ping, once it was sent one.
    """

    plan: FunctionPlan
    version: str
    is_new: bool
    smoke: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.plan.spec.function_name

    @property
    def component(self) -> Component:
        """Which of the two it is."""
        return self.plan.spec.component


@dataclass(frozen=True, slots=True)
class Switch:
    """One alias that is to point at another version; `alias` is None if it is to be created."""

    component: Component
    name: str
    version: str
    alias: Alias | None
    record: Record


def publish_pair(
    around: Surroundings, plan: Plan, settled: Mapping[str, Deployed], occasion: Occasion
) -> tuple[Candidate, ...]:
    """Publish what was settled, as far as it is to be released, in the order of the switches.

    The Invoker is published first, so that the Executor's version can say which one it goes with:
    that makes the list of releases readable from the versions alone.

    Raises
    ------
    ConflictError
        If Lambda did not take the code that we validated.
    """
    executor, invoker = plan.functions
    published: list[Candidate] = []
    live = executor.found.alias.version if executor.found and executor.found.alias else "-"
    partner = invoker.found.alias.version if invoker.found and invoker.found.alias else "-"
    if invoker.release:
        goes_with = "-" if executor.release else live
        candidate = _publish(around, plan, invoker, settled, occasion, goes_with)
        partner = candidate.version
        published.insert(0, candidate)
    if executor.release:
        published.insert(0, _publish(around, plan, executor, settled, occasion, partner))
    return tuple(published)


def _publish(
    around: Surroundings,
    plan: Plan,
    function: FunctionPlan,
    settled: Mapping[str, Deployed],
    occasion: Occasion,
    partner: str,
) -> Candidate:
    name, package = function.spec.function_name, plan.package
    latest = settled[name]
    if latest.code_sha256 != package.sha256:
        raise ConflictError(
            f"{name} has code {latest.code_sha256[:12]}, not the package's {package.sha256[:12]}.",
            "Another deployment is at work; send the event again.",
        )
    origin = Origin(package.id, partner, occasion.at, occasion.by)
    version, is_new = around.api.publish(name, latest, origin)
    if function.wanted.snap_start != "None":
        around.api.await_version(name, version)
    # Runs invoke versions by number, and the setting is looked up under the name that is invoked.
    if function.asynchronous != Asynchronous():
        around.api.set_asynchronous(name, version, function.asynchronous)
    around.progress.tick(f"publish {name}")
    logger.info("published", function=name, version=version)
    return Candidate(function, version, is_new)


def discard(api: LambdaApi, candidates: Iterable[Candidate]) -> None:
    """Delete what was published for nothing; what cannot be deleted is pruned later.

    Publishing may also have given a version that was published before: by a release that was live
    and was rolled back, by an event that was interrupted, or by one that is at work just now.
    """
    for candidate in candidates:
        if not candidate.is_new:
            continue
        try:
            api.delete_version(candidate.name, candidate.version)
        except BootstrapError:
            logger.warning("left", function=candidate.name, version=candidate.version)


def smoke_test(around: Surroundings, candidate: Candidate) -> None:
    """Ping a version, and keep its answer.

    Raises
    ------
    SmokeTestError
        If the answer is an error or not that component's pong.
    """
    variables = candidate.plan.wanted.environment
    where = candidate.name, candidate.version, candidate.component
    candidate.smoke = ping(around.api, *where, variables)
    around.progress.tick(f"smoke-test {candidate.name}")


def ping(
    api: LambdaApi,
    name: str,
    version: str,
    component: Component,
    variables: Mapping[str, str],
    patience: float | None = None,
) -> Mapping[str, Any]:
    """Give a version's answer to a ping; what a bad one says is told without its `variables`.

    Raises
    ------
    SmokeTestError
        If it is not a good one.
    ThrottledError
        If Lambda had nothing to run it on, for `patience` seconds or until the deadline.
    """
    where = f"{name}:{version}"
    error, payload = api.ping(name, version, PING, patience)
    answer = _json(payload)
    if error:
        told = answer.get("errorMessage", "") if isinstance(answer, Mapping) else ""
        raise _not_well(where, f"{error} error: {_hidden(str(told), variables):.500}")
    if not isinstance(answer, Mapping) or answer.get("wukong") != "pong":
        told = _hidden(payload.decode(errors="replace"), variables)
        raise _not_well(where, f"the answer to a ping was {told:.200}")
    if answer.get("component") != component:
        told = _hidden(repr(answer.get("component")), variables)
        raise _not_well(where, f"it says it is {told:.200}, not {component!r}")
    logger.info("smoke test passed", function=name, version=version)
    return answer


def _hidden(text: str, variables: Mapping[str, str]) -> str:
    """Hide the values of variables, which may be secrets; short ones are too common for that."""
    values = (value for value in variables.values() if len(value) >= SECRET_CHARACTERS)
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "***")
    return text


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


def switch_all(around: Surroundings, switches: Iterable[Switch]) -> None:
    """Make versions live, in order; a failure switches those before it back.

    Raises
    ------
    ConflictError
        If somebody else switched meanwhile, and all is as it was before.
    DeadlineError
        If time was up, or nearly; both versions have passed their tests, so the next event only
        goes on.
    DeletedMeanwhileError
        If there is nothing to switch any more.
    SwitchError
        With the cause, and what could not be switched back.
    """
    switches = tuple(switches)
    if switches and around.deadline.remaining() < SWITCH_SECONDS:
        raise DeadlineError(
            f"{around.deadline.remaining():.0f} seconds are too few to switch both functions.",
            "The same event again continues where this one stopped.",
        )
    done: list[tuple[Switch, str]] = []
    for switch in switches:
        try:
            done.append((switch, _switch(around.api, switch)))
        except (DeadlineError, DeletedMeanwhileError):
            raise
        except BootstrapError as error:
            backs = [_switch_back(around.api, *before) for before in reversed(done)]
            left = [name for name in backs if name]
            if isinstance(error, ConflictError) and not left:
                raise
            raise _half_switched(switch, error, left) from error
        around.progress.tick(f"switch {switch.name}")


def _switch(api: LambdaApi, switch: Switch) -> str:
    alias, record = switch.alias, str(switch.record)
    previous = alias.version if alias else None
    logger.info("switching", function=switch.name, version=switch.version, previous=previous)
    try:
        if alias is None:
            return api.create_alias(switch.name, switch.version, record)
        return api.update_alias(switch.name, switch.version, record, alias.revision_id)
    except DeletedMeanwhileError as error:
        if api.read_holding(switch.name) is None:
            raise
        # Only the alias or the version is gone: what is there decides.
        raise ConflictError(error.message, error.hint) from error
    except (ConflictError, UnreachableError):
        # Our own write whose answer was lost, or a deployment of the same release beside us.
        now = api.read_alias(switch.name, switch.component)
        if now is None or now.weighted or now.version != switch.version:
            raise
        if now.record is None or now.record.release != switch.record.release:
            raise
        return now.revision_id


def _switch_back(api: LambdaApi, switch: Switch, revision_id: str) -> str:
    """Undo a switch; gives the function's name if that failed."""
    alias = switch.alias
    try:
        if alias is None:
            api.delete_alias(switch.name)
        else:
            api.update_alias(switch.name, alias.version, alias.description, revision_id)
    except ConflictError:
        # Another deployment has switched it since; what is there is its doing.
        logger.info("not switched back", function=switch.name)
    except BootstrapError:
        logger.exception("could not switch back", function=switch.name)
        return switch.name
    return ""


def _half_switched(switch: Switch, error: BootstrapError, left: list[str]) -> SwitchError:
    outcome = f"{', '.join(left)} could not be switched back" if left else "all is as it was before"
    return SwitchError(
        f"{switch.name} could not be switched ({error.message}); {outcome}.",
        "The same event again finishes the release.",
    )
