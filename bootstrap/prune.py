"""Old versions are deleted, as each holds its code for ever: never one that something needs.

Kept are the newest releases, whatever an alias points at (anybody's alias), what was published less
than a day ago (a run invokes versions by number), and every version that we did not publish.
"""

from __future__ import annotations

from datetime import timedelta

from aws_lambda_powertools import Logger

from bootstrap import layers
from bootstrap.found import Deployed
from bootstrap.inspection import list_releases
from bootstrap.plan import Plan
from bootstrap.record import Origin, timestamp
from bootstrap.surroundings import Surroundings

logger = Logger(service="bootstrap", child=True)

YOUNG = timedelta(days=1)
"""A run may still be using the versions that it began with; none lasts that long."""

SECONDS = 60.0
"""How much time must be left to begin with it; the next release prunes as well."""


def prune(plan: Plan, around: Surroundings) -> None:
    """Delete the versions that nobody needs; a failure is logged, as the release stands without."""
    try:
        if not _can_be_many(plan, around) or around.deadline.remaining() < SECONDS:
            return
        names = [function.spec.function_name for function in plan.functions]
        versions = [around.api.list_versions(name) for name in names]
        releases = list_releases(versions[0], versions[1], "-")[: around.settings.keep_releases]
        names_kept = {release.name for release in releases} | _just_left(plan)
        kept = [{name.split(".")[place] for name in names_kept} for place in (0, -1)]
        left = [
            version
            for name, found, needed in zip(names, versions, kept, strict=True)
            for version in _prune_one(around, name, found, needed)
        ]
        attached = {arn for version in left for arn in version.configuration.layers}
        had = {arn for found in versions for v in found for arn in v.configuration.layers}
        layers.prune(around, had, attached)
    except Exception:
        # Also a fault of ours: the release is live, and saying that it failed would be wrong. What
        # is left goes after the next deployment.
        logger.exception("not pruned")


def _just_left(plan: Plan) -> set[str]:
    """Name the releases that were live until now: a rollback may want them, and runs use them."""
    records = [f.found.record for f in plan.functions if f.found and f.found.record]
    return {name for record in records for name in (record.release, record.previous)}


def _can_be_many(plan: Plan, around: Surroundings) -> bool:
    """Versions count up, so a small number means that there are few: that saves a look."""
    newest = (f.found.alias.version for f in plan.functions if f.found and f.found.alias)
    keep = around.settings.keep_releases
    return any(version.isdecimal() and int(version) >= keep for version in newest)


def _prune_one(
    around: Surroundings, name: str, versions: list[Deployed], needed: set[str]
) -> list[Deployed]:
    """Delete what is neither needed nor young, and give what is left."""
    needed = needed | around.api.list_needed_versions(name)
    young = timestamp(around.now() - YOUNG)
    left = []
    for version in versions:
        origin = Origin.parse(version.description)
        if version.version in needed or origin is None or origin.at >= young:
            left.append(version)
            continue
        around.api.delete_version(name, version.version)
        logger.info("pruned", function=name, version=version.version)
    return left
