"""The action "rollback": an earlier release becomes live again, by switching and nothing else.

    read both aliases ─> which release ─> its versions ─> smoke test ─> switch, as in release.py

Without a name it undoes the last deployment, once: asking again changes nothing. To go further
back, name the release. What was rolled back is held: its own event does not deploy it again.
"""

from __future__ import annotations

from dataclasses import dataclass

from aws_lambda_powertools import Logger

from bootstrap import claim
from bootstrap.answer import Answer, FunctionAnswer, Release, Status
from bootstrap.errors import (
    ConflictError,
    NoReleaseError,
    NotOursError,
    SmokeTestError,
    ThrottledError,
    UpdateInProgressError,
)
from bootstrap.events import Request
from bootstrap.found import Alias, Deployed
from bootstrap.record import Origin, Record, digest, later, release_name, timestamp
from bootstrap.release import Occasion, Switch, ping, switch_all
from bootstrap.spec import FunctionSpec
from bootstrap.surroundings import Surroundings

logger = Logger(service="bootstrap", child=True)

TRIES = 4

PATIENCE_SECONDS = 30.0
"""How long a ping waits for Lambda to have room for it, and for a version to wake up."""


@dataclass(frozen=True, slots=True)
class _Half:
    """One function: where it is, and where it is to be."""

    spec: FunctionSpec
    alias: Alias
    live: Deployed
    target: Deployed

    @property
    def moves(self) -> bool:
        return self.alias.version != self.target.version


def rollback(request: Request, around: Surroundings) -> Answer:
    """Make an earlier release live.

    Raises
    ------
    NoReleaseError
        If there is no such release, or none before this one.
    SmokeTestError, ThrottledError
        If a version of it does not answer a ping any more, or has no room to; nothing is switched
        then, unless `force` was asked for.
    NotOursError
        If a function is somebody else's by now.
    """
    began = ""
    for attempt in range(1, TRIES):
        aliases = [_alias(around, spec) for spec in request.spec.functions]
        now = release_name(*(alias.version for alias in aliases))
        if began and now != began and not request.to:
            raise ConflictError(
                f"Release {now} went live while {began} was to be rolled back.",
                'Look at {"action": "status"}; to go back all the same, name the release.',
            )
        began = now
        try:
            return _roll_back_once(request, around, aliases, now)
        except ConflictError as conflict:
            if attempt + 1 == TRIES:
                raise
            logger.warning("looking again", problem=conflict.message)
            around.deadline.sleep(float(attempt), "another deployment")
    raise AssertionError("unreachable")


def _roll_back_once(
    request: Request, around: Surroundings, aliases: list[Alias], now: str
) -> Answer:
    specs = request.spec.functions
    record = later(*(alias.record for alias in aliases))
    target = request.to or _before(now, record)
    executor, invoker = (
        _half(around, spec, alias, version)
        for spec, alias, version in zip(specs, aliases, target.split("."), strict=True)
    )
    if executor.target.code_sha256 != invoker.target.code_sha256:
        raise NoReleaseError(
            f"{target} is no release: its two versions are of different packages.",
            'Name one of {"action": "history"}.',
        )
    halves = executor, invoker
    moving = [half for half in halves if half.moves]
    around.progress.expect(
        [f"{verb} {h.spec.function_name}" for verb in ("smoke-test", "switch") for h in moving]
    )
    for half in moving:
        _check_owner(request, around, half.spec)
    for half in moving:
        _smoke_test(request, around, half)
    occasion = Occasion(
        by=request.by,
        at=timestamp(around.now()),
        request=around.request_id,
        held=_held(around, halves, record),
        rollback=True,
    )
    package = _package(halves)
    # Both are written, also one that stays: so a deployment in between is noticed at either.
    switches = [
        Switch(
            component=half.spec.component,
            name=half.spec.function_name,
            version=half.target.version,
            alias=half.alias,
            record=occasion.record(
                target, now, package, half.target.code_sha256, half.target.configuration
            ),
        )
        for half in (halves if moving else ())
    ]
    switch_all(around, switches)
    return _answer(halves, target, package, request.by)


def _check_owner(request: Request, around: Surroundings, spec: FunctionSpec) -> None:
    found = around.api.read_holding(spec.function_name)
    why = claim.why_not_ours(found.marks, request.owner, "") if found else ""
    if why:
        raise NotOursError(
            f"{spec.function_name}: {why}.", "Roll back with the bootstrap that deployed it."
        )


def _smoke_test(request: Request, around: Surroundings, half: _Half) -> None:
    """Ping a version, not for long: what is live may be the reason why nothing else can run."""
    name, version = half.spec.function_name, half.target.version
    try:
        variables = half.target.configuration.environment
        ping(around.api, name, version, half.spec.component, variables, PATIENCE_SECONDS)
    except (SmokeTestError, ThrottledError, UpdateInProgressError) as error:
        if not request.force:
            error.hint += ' To switch all the same: {"action": "rollback", "force": true}.'
            raise
        logger.warning("forced", problem=error.message)
    around.progress.tick(f"smoke-test {name}")


def _alias(around: Surroundings, spec: FunctionSpec) -> Alias:
    alias = around.api.read_alias(spec.function_name, spec.component)
    if alias is None:
        raise NoReleaseError(
            f"{spec.function_name} has no live version.", "Upload a package to deploy one."
        )
    return alias


def _before(now: str, record: Record | None) -> str:
    """Name the release before the last deployment; the live one if that is undone already."""
    if record is not None and record.rollback:
        # Also where a rollback was interrupted between its two switches.
        return record.release
    if record is None or "-" in record.previous:
        raise NoReleaseError(
            f"Nobody wrote down which release was before {now}.",
            'Name the release, as {"action": "rollback", "to": "..."}; see {"action": "history"}.',
        )
    return record.previous


def _half(around: Surroundings, spec: FunctionSpec, alias: Alias, version: str) -> _Half:
    versions = {found.version: found for found in around.api.list_versions(spec.function_name)}
    if version not in versions:
        raise NoReleaseError(
            f"{spec.function_name} has no version {version} any more.",
            'Name one of {"action": "history"}.',
        )
    return _Half(spec, alias, versions[alias.version], versions[version])


def _held(
    around: Surroundings, halves: tuple[_Half, _Half], record: Record | None
) -> tuple[str, ...]:
    """Hold back what the release had that is being left: its package, and its layers."""
    if record is None or not any(half.moves for half in halves):
        return record.held if record else ()
    held = list(record.held)
    # The package last, as the record has room for the last few only.
    for upload in (*_layers_left(around, halves), record.package):
        if digest(upload) not in held:
            held.append(digest(upload))
    return tuple(held)


def _layers_left(around: Surroundings, halves: tuple[_Half, _Half]) -> list[str]:
    """Name the layers of ours that the live versions have and the earlier ones do not."""
    mine = f":layer:{around.settings.layer_prefix}"
    left: list[str] = []
    for half in halves:
        if half.moves:
            new = set(half.live.configuration.layers) - set(half.target.configuration.layers)
            left += sorted(arn for arn in new if mine in arn and arn not in left)
    return left


def _package(halves: tuple[_Half, _Half]) -> str:
    """Name the package of the release: of its newer version, if the other was there before."""
    origins = [Origin.parse(half.target.description) for half in halves]
    known = [origin for origin in origins if origin is not None]
    return max(known, key=lambda origin: origin.at).package if known else "-"


def _answer(halves: tuple[_Half, _Half], name: str, package: str, by: str) -> Answer:
    moved = any(half.moves for half in halves)
    functions = tuple(
        FunctionAnswer(
            component=half.spec.component,
            name=half.spec.function_name,
            invoke=half.spec.invoke,
            status=Status.ROLLED_BACK if half.moves else Status.UNCHANGED,
            version=half.target.version,
            previous=half.alias.version,
            code_sha256=half.target.code_sha256,
            package=package,
            changes=(f"version: {half.alias.version} -> {half.target.version}",)
            if half.moves
            else (),
        )
        for half in halves
    )
    live = Release(name, package, halves[0].target.code_sha256, by=by, live=True)
    if moved:
        message = f"Release {name} of package {package} is live again."
        return Answer(Status.ROLLED_BACK, message, live, functions)
    message = f"Release {name} was live already; name another to go further back."
    return Answer(Status.UNCHANGED, message, live, functions)
