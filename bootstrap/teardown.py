"""The action "delete": both functions, if they are ours."""

from __future__ import annotations

from bootstrap import claim, layers, stop
from bootstrap.answer import Answer, FunctionAnswer, Status
from bootstrap.events import Request, Trigger
from bootstrap.spec import FunctionSpec
from bootstrap.surroundings import Surroundings


def delete(request: Request, around: Surroundings) -> Answer:
    """Delete both functions; what is gone already, or not ours, is left and not an error."""
    stop.leave(request, around)
    functions = tuple(_delete(request, around, spec) for spec in reversed(request.spec.functions))
    told = "; ".join(f"{function.name}: {function.changes[0]}" for function in functions)
    return Answer(Status.DELETED, f"{told}.", functions=functions)


def _delete(request: Request, around: Surroundings, spec: FunctionSpec) -> FunctionAnswer:
    """Delete one, and first the layers that it has: without it nobody would know of them."""

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
    former = claim.former(tags, request.owner)
    if former and request.trigger is Trigger.CLOUDFORMATION:
        _hand_back(around, found.arn, former)
        return answer(Status.IGNORED, f"left: handed back to {former}")
    layers.delete(around, found.layers)
    around.api.delete(spec.function_name)
    around.progress.tick(f"delete {spec.function_name}")
    return answer(Status.DELETED, "deleted")


def _hand_back(around: Surroundings, arn: str, former: str) -> None:
    """Leave a function that a stack had only taken over to who had it before."""
    if former != claim.NOBODY:
        around.api.tag(arn, {claim.OWNER: former})
    gone = [claim.FORMER, claim.RESOURCE]
    around.api.untag(arn, gone if former != claim.NOBODY else [claim.OWNER, *gone])
