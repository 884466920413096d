"""What a deployment would do, from what is asked to the plan: everything before the first write.

    package facts ─> read both ─> which package ─> its manifest ─> layers ─> plan ─> checks

`deploy` applies the result, `plan` prints it, and `status` tells it as drift. The only write on the
way is that of layer versions, which nothing uses until a plan is applied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from bootstrap import bundles, layers
from bootstrap import package as packages
from bootstrap.answer import Answer, FunctionAnswer, Status
from bootstrap.contents import MANIFEST, Contents, check_handlers, check_size, read_contents
from bootstrap.errors import EventError, PackageError
from bootstrap.events import Request
from bootstrap.found import Found
from bootstrap.layers import Layer
from bootstrap.package import Package
from bootstrap.plan import FunctionPlan, Plan, check_owners, plan_deployment
from bootstrap.record import Record, digest, later
from bootstrap.spec import module_file
from bootstrap.surroundings import Surroundings
from bootstrap.variables import ENVIRONMENT_BYTES, environment_bytes
from bootstrap.wishes import MOST_LAYERS, Manifest

Pair = tuple[Found | None, Found | None]


@dataclass(frozen=True, slots=True)
class Outlook:
    """A deployment that can be made.

    Attributes
    ----------
    held
        Digests of rolled-back uploads that this deployment still leaves out.
    held_before
        Those that are left out until now.
    """

    plan: Plan
    held: tuple[str, ...]
    held_before: tuple[str, ...] = ()

    @property
    def holds_more(self) -> bool:
        """Whether this must be written down, even where nothing else changes."""
        return not set(self.held) <= set(self.held_before)


def look_ahead(
    request: Request, around: Surroundings, *, writes: bool, pair: Pair | None = None
) -> Outlook | Answer:
    """Plan a deployment, or answer why there is none to make; reads both unless given the `pair`.

    Raises
    ------
    BootstrapError
        If the deployment would be refused.
    """
    bucket, key = around.settings.bucket, around.settings.key
    newest = packages.resolve(around.s3, bucket, key)
    uploaded = {upload.layer for upload in request.uploads if upload.layer}
    zips = layers.find_uploads(around, sorted(uploaded))
    if request.uploads and not _is_fresh(request, newest, zips):
        return Answer(Status.STALE, "A later upload replaced this one; its own event deploys it.")
    pair = pair or read_pair(request, around)
    check_owners(request.spec, pair)
    _refuse_one_for_both(request)
    record = later(*(found.record if found else None for found in pair))
    held_back = _held_back(request, newest, uploaded, record)
    if held_back:
        return held_back
    holding = None if request.force else record
    package = _chosen(request, around, newest, record)
    if package is None:
        return _awaiting(request, f"s3://{bucket}/{key}")
    contents = read_contents(around.s3, package)
    manifest = _manifest(package, contents)
    spec = bundles.with_place(request.wanted(manifest), manifest.bundles, bucket)
    package = packages.hashed(around.s3, package)
    names = {name for function in spec.functions for name in function.layer_names}
    zips |= layers.find_uploads(around, sorted(names - zips.keys()))
    prefix = around.settings.layer_prefix
    attached = {name: layers.attached(_live_layers(pair), prefix, name) for name in names}
    if request.keeps_live:
        zips = {name: found for name, found in zips.items() if not attached[name]}
        is_newest = newest is not None and newest.id == package.id
        if is_newest and len(zips) == len(names):
            return _awaiting(request, "another package, or another layer,")
    absent = [name for name in sorted(names) if zips.get(name) is None and attached[name] is None]
    if absent:
        return _awaiting(request, ", ".join(f"s3://{bucket}/layers/{name}.zip" for name in absent))
    provided = {
        name: layers.provide(around, name, found, writes=writes)
        for name, found in zips.items()
        if found is not None
    }
    # A zip that is gone from the bucket, or was rolled back, leaves the layer that is live.
    arns = {name: arn for name, arn in attached.items() if arn}
    for name, layer in provided.items():
        if not (holding and holding.holds(layer.arn) and name in arns):
            arns[name] = layer.arn
    plan = plan_deployment(spec, package, pair, arns)
    _check(around, plan, contents, provided)
    if plan.functions[0].release:
        wanted = plan.functions[0].wanted
        bundles.check(around, manifest.bundles, wanted, package.where)
    held = _still_held(request, holding, package, newest, provided)
    waiting = _waiting_for_layers(request, uploaded, plan, provided)
    return waiting or Outlook(plan, held, record.held if record else ())


def read_pair(request: Request, around: Surroundings) -> Pair:
    """Read both functions."""
    executor, invoker = (
        around.api.read(spec.function_name, spec.component) for spec in request.spec.functions
    )
    return executor, invoker


def _refuse_one_for_both(request: Request) -> None:
    executor, invoker = (function.function_name for function in request.spec.functions)
    if executor == invoker:
        raise EventError(
            f"Field 'invoker.function_name': {invoker} is the Executor's name.",
            "The Executor and the Invoker are two functions.",
        )


def _is_fresh(request: Request, newest: Package | None, zips: Mapping[str, Package | None]) -> bool:
    """Tell whether one of the uploads is still what its key names."""
    return any(
        found is not None and found.is_one_of([upload])
        for upload in request.uploads
        for found in [zips.get(upload.layer) if upload.layer else newest]
    )


def _held_back(
    request: Request, newest: Package | None, uploaded: set[str], record: Record | None
) -> Answer | None:
    """Answer an upload that is not to be deployed by its event."""
    if not request.uploads or uploaded or newest is None:
        return None
    if request.pin and request.pin != newest.version_id:
        return Answer(
            Status.HELD,
            f"The stack pins package {request.pin}, so this upload is not deployed; "
            "change its parameter PackageVersion.",
        )
    if record and record.holds(newest.id):
        return Answer(
            Status.HELD,
            f"Package {newest.id} was rolled back, so its event does not deploy it again; "
            'upload another, or send {"action": "deploy", "force": true}.',
        )
    return None


def _chosen(
    request: Request, around: Surroundings, newest: Package | None, record: Record | None
) -> Package | None:
    """Give the package that is to be live: a certain one, or the newest, or the one that is.

    None if there is none, or if the one that is live was to stay and nobody knows which that is.
    """
    bucket, key = around.settings.bucket, around.settings.key
    if request.package_version:
        if newest is not None and newest.version_id == request.package_version:
            return newest
        return _version(around, request.package_version, "was asked for")
    live = record.package if record else ""
    if newest is None:
        return packages.resolve(around.s3, bucket, key, live) if live else None
    if request.keeps_live and live != newest.id:
        return packages.resolve(around.s3, bucket, key, live) if live else None
    if record is None or request.force or not record.holds(newest.id) or live == newest.id:
        return newest
    return _version(around, live, f"is live since s3://{bucket}/{key} was rolled back")


def _version(around: Surroundings, version_id: str, why: str) -> Package:
    bucket, key = around.settings.bucket, around.settings.key
    package = packages.resolve(around.s3, bucket, key, version_id)
    if package is None:
        raise PackageError(
            f"s3://{bucket}/{key} has no version {version_id}, which {why}.",
            "Name a version that the bucket has, or upload the package again.",
        )
    return package


def _manifest(package: Package, contents: Contents) -> Manifest:
    if contents.manifest is None:
        return Manifest()
    try:
        return Manifest.model_validate_json(contents.manifest)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise PackageError(
            f"{package.where}: {MANIFEST}, field '{field}': {first['msg']}.",
            "Names, roles, the store and the owner are the stack's; all else of a function may be "
            "in the manifest.",
        ) from None


def _awaiting(request: Request, what: str) -> Answer:
    functions = tuple(
        FunctionAnswer(spec.component, spec.function_name, spec.invoke, Status.AWAITING_PACKAGE)
        for spec in request.spec.functions
    )
    message = f"Upload {what} to deploy the functions."
    return Answer(Status.AWAITING_PACKAGE, message, functions=functions)


def _live_layers(pair: Pair) -> list[str]:
    lives = [found.live for found in pair if found is not None and found.live is not None]
    return [arn for live in lives for arn in live.configuration.layers]


def _still_held(
    request: Request,
    record: Record | None,
    package: Package,
    newest: Package | None,
    provided: Mapping[str, Layer],
) -> tuple[str, ...]:
    """Keep holding back what was left out this time too, and a newer package than was asked for."""
    if request.keeps_live:
        return record.held if record else ()
    candidates = [layer.arn for layer in provided.values()]
    is_newer = newest is not None and newest.id != package.id
    if newest is not None and (is_newer or (record and record.package == newest.id)):
        candidates.append(newest.id)
    held = tuple(digest(upload) for upload in candidates if record and record.holds(upload))
    if newest is not None and is_newer and request.asked.package_version:
        held = (*held, digest(newest.id)) if digest(newest.id) not in held else held
    return held


def _waiting_for_layers(
    request: Request, uploaded: set[str], plan: Plan, provided: Mapping[str, Layer]
) -> Answer | None:
    """Refuse layers that their functions cannot use; answer if others than these were uploaded.

    After a change of the runtime the layers come one after the other, and the last one deploys.
    """
    misfits = {
        layer.name: f"{layer.package.where} is for {misfit} ({function.spec.function_name})"
        for function in plan.functions
        for layer in provided.values()
        if layer.arn in function.wanted.layers
        and (misfit := layer.misfit(function.wanted.runtime, function.wanted.architecture))
    }
    if not misfits:
        return None
    if uploaded and not uploaded & misfits.keys():
        return _awaiting(request, f"{', '.join(sorted(misfits))} for the functions' runtime")
    raise PackageError(
        f"{'; '.join(misfits.values())}.",
        "Build the layer for the functions' runtime and architecture, and upload it again: "
        "`wukong deploy --layers ...` does both.",
    )


def _check(
    around: Surroundings, plan: Plan, contents: Contents, provided: Mapping[str, Layer]
) -> None:
    """Refuse a release that Lambda could not run."""
    releasing = [function for function in plan.functions if function.release]
    where = plan.package.where
    check_handlers(where, contents, [module_file(plan_.wanted.handler) for plan_ in releasing])
    if not releasing:
        return
    for function in releasing:
        _check_environment(function)
        _check_layers(function)
        size = layers.unzipped_size(around.api, function.wanted.layers, provided)
        if size:
            name = function.spec.function_name
            check_size(f"{where} with the layers of {name}", contents.unzipped + size, "")


def _check_environment(function: FunctionPlan) -> None:
    """Refuse variables that are too long together with our own; each list alone was checked."""
    size = environment_bytes(function.wanted.environment)
    if size > ENVIRONMENT_BYTES:
        raise EventError(
            f"Field '{function.spec.component}.environment': with Wukong's own variables it is "
            f"{size:,} bytes; Lambda allows {ENVIRONMENT_BYTES:,}.",
            "Shorten or drop variables.",
        )


def _check_layers(function: FunctionPlan) -> None:
    """Refuse more layers than Lambda takes with the one for tracing; each list was checked."""
    count = len(function.wanted.layers)
    if count > MOST_LAYERS:
        raise EventError(
            f"Field '{function.spec.component}.layers': with the layer for tracing there are "
            f"{count}; Lambda allows {MOST_LAYERS}.",
            "Put several layers into one (`wukong deploy --layers NAME=requirements.txt`), or "
            "leave the parameter TracingLayerArn empty.",
        )
