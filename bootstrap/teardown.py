"""The action "delete": both functions, if they are ours."""

from __future__ import annotations

from bootstrap import stop
from bootstrap.answer import Answer, FunctionAnswer, Status
from bootstrap.events import Request
from bootstrap.surroundings import Surroundings


def delete(request: Request, around: Surroundings) -> Answer:
    """Delete both functions; what is gone already, or not ours, is left and not an error."""
    stop.leave(request, around)
    functions = []
    for spec in reversed(request.spec.functions):
        found, owner = around.api.read_owner(spec.function_name)
        status, change = Status.ABSENT, "gone already"
        if found and owner == request.owner:
            around.api.delete(spec.function_name)
            around.progress.tick(f"delete {spec.function_name}")
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
