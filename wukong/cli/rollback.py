"""`wukong rollback`: an earlier release becomes live again."""

from __future__ import annotations

from typing import Any

from wukong.cli.deploy import refuse_failure, show
from wukong.cli.output import Output
from wukong.cli.where import releases_of


def rollback(out: Output, stack: str | None, to: str, *, force: bool) -> None:
    """Have the bootstrap switch `live` back; what was rolled back is held until a new package."""
    event: dict[str, Any] = {"action": "rollback", "to": to, "force": force, "by": "wukong"}
    release = releases_of(stack).ask(event)
    refuse_failure(release)
    show(out, release)
    out.give(release.answer)
