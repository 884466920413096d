"""The events that a person or a script sends by hand: one model for each action.

They are also the published JSON Schema (docs/manual-event.schema.json), so that an editor or a
pipeline can check an event before it is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from bootstrap.wishes import DeploymentWishes, Name, Wishes


class Action(StrEnum):
    """What is asked for."""

    DEPLOY = "deploy"
    PLAN = "plan"
    ROLLBACK = "rollback"
    STATUS = "status"
    HISTORY = "history"
    DELETE = "delete"


class _Asked(Wishes):
    by: Annotated[str, Field(max_length=24, description="Who asks, for the record.")] = ""


Force = Annotated[
    bool, Field(description="Whether to deploy the newest package even if it was rolled back.")
]


class ManualDeploy(_Asked, DeploymentWishes):
    """Make the newest package, configured as said, the live release."""

    action: Literal["deploy"] = Field(alias="action")
    force: Force = False


class ManualPlan(_Asked, DeploymentWishes):
    """Say what a deployment with the same fields would do, and change nothing."""

    action: Literal["plan"] = Field(alias="action")
    force: Force = False


class ManualRollback(_Asked):
    """Make an earlier release live again; without `to`, undo the last deployment."""

    action: Literal["rollback"] = Field(alias="action")
    to: Annotated[str, Field(pattern=r"^(\d+\.\d+)?$", description="A release, `8.7`.")] = ""
    force: Annotated[bool, Field(description="Whether to switch though a ping fails.")] = False


class ManualStatus(_Asked):
    """Say what is live, and how it differs from what is wanted."""

    action: Literal["status"] = Field(alias="action")


class ManualHistory(_Asked):
    """List the releases that can be rolled back to, the newest first."""

    action: Literal["history"] = Field(alias="action")
    count: Annotated[int, Field(ge=1, le=100)] = 10


class ManualDelete(_Asked):
    """Delete both functions."""

    action: Literal["delete"] = Field(alias="action")
    confirm: Annotated[Name, Field(description="The Executor's name, to be sure.")]


Manual = ManualDeploy | ManualPlan | ManualRollback | ManualStatus | ManualHistory | ManualDelete

MANUAL: Mapping[str, type[Manual]] = {
    Action.DEPLOY: ManualDeploy,
    Action.PLAN: ManualPlan,
    Action.ROLLBACK: ManualRollback,
    Action.STATUS: ManualStatus,
    Action.HISTORY: ManualHistory,
    Action.DELETE: ManualDelete,
}


def manual_schema() -> dict[str, Any]:
    """Give the JSON Schema of every event that is sent by hand."""
    adapter: TypeAdapter[Manual] = TypeAdapter(Annotated[Manual, Field(discriminator="action")])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event for Wukong's bootstrap function",
        **adapter.json_schema(by_alias=False),
    }
