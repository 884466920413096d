"""The action "delete": both functions, if they are ours."""

from __future__ import annotations

from aws_lambda_powertools import Logger

from bootstrap import claim, stop
from bootstrap.answer import Answer, FunctionAnswer, Status
from bootstrap.errors import BootstrapError
from bootstrap.events import Request, Trigger
from bootstrap.spec import FunctionSpec
from bootstrap.surroundings import Surroundings

logger = Logger(service="bootstrap", child=True)


def delete(request: Request, around: Surroundings) -> Answer:
    """Delete both functions; what is gone already, or not ours, is left and not an error."""
    stop.leave(request, around)
    layers: set[str] = set()
    functions = tuple(
        _delete(request, around, spec, layers) for spec in reversed(request.spec.functions)
    )
    _delete_layers(around, layers)
    told = "; ".join(f"{function.name}: {function.changes[0]}" for function in functions)
    return Answer(Status.DELETED, f"{told}.", functions=functions)


def _delete(
    request: Request, around: Surroundings, spec: FunctionSpec, layers: set[str]
) -> FunctionAnswer:
    """Delete one, and add the layers that it had."""

    def answer(status: Status, change: str) -> FunctionAnswer:
        return FunctionAnswer(
            spec.component, spec.function_name, spec.invoke, status, changes=(change,)
        )

    found = around.api.read_holding(spec.function_name)
    if found is None:
        return answer(Status.ABSENT, "gone already")
    tags = found.marks
    if why := claim.why_not_ours(tags, request.owner, request.resource):
        return answer(Status.IGNORED, f"left: {why}")
    if claim.FORMER in tags and request.trigger is Trigger.CLOUDFORMATION:
        _hand_back(around, found.arn, tags[claim.FORMER])
        return answer(Status.IGNORED, f"left: handed back to {tags[claim.FORMER]}")
    around.api.delete(spec.function_name)
    layers.update(arn.split(":")[6] for arn in found.layers)
    around.progress.tick(f"delete {spec.function_name}")
    return answer(Status.DELETED, "deleted")


def _delete_layers(around: Surroundings, names: set[str]) -> None:
    """Delete what was published of our layers; what cannot be deleted is no reason to fail."""
    for name in sorted(names):
        if not name.startswith(around.settings.layer_prefix):
            continue
        try:
            for version in around.api.list_layer_versions(name):
                around.api.delete_layer_version(name, version.number)
        except BootstrapError as error:
            logger.warning("left a layer", layer=name, problem=error.message)


def _hand_back(around: Surroundings, arn: str, former: str) -> None:
    """Leave a function that a stack had only taken over to who had it before."""
    if former != claim.NOBODY:
        around.api.tag(arn, {claim.OWNER: former})
    gone = [claim.FORMER, claim.RESOURCE]
    around.api.untag(arn, gone if former != claim.NOBODY else [claim.OWNER, *gone])
