"""Which function does which action."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bootstrap.answer import Answer
from bootstrap.deploy import deploy
from bootstrap.events import Request
from bootstrap.inspection import history, plan, status
from bootstrap.manual import Action
from bootstrap.rollback import rollback
from bootstrap.surroundings import Surroundings
from bootstrap.teardown import delete

_ACTIONS: Mapping[Action, Callable[[Request, Surroundings], Answer]] = {
    Action.DEPLOY: deploy,
    Action.PLAN: plan,
    Action.ROLLBACK: rollback,
    Action.STATUS: status,
    Action.HISTORY: history,
    Action.DELETE: delete,
}


def perform(request: Request, around: Surroundings) -> Answer:
    """Do what is asked; raises `BootstrapError` if it cannot be done."""
    return _ACTIONS[request.action](request, around)
