"""`wukong history`: the releases that can be rolled back to."""

from __future__ import annotations

from wukong.cli.deploy import refuse_failure
from wukong.cli.output import Output
from wukong.cli.where import releases_of

COLUMNS = ("", "release", "at", "by", "package", "code")


def history(out: Output, stack: str | None, count: int) -> None:
    """List releases, the newest first."""
    answer = releases_of(stack).ask({"action": "history", "count": count})
    refuse_failure(answer)
    rows = [
        (
            "live" if one["live"] else "",
            one["name"],
            one["at"],
            one["by"],
            one["package"],
            one["code_sha256"][:12],
        )
        for one in answer.answer["releases"]
    ]
    out.table(str(answer.answer["message"]), COLUMNS, rows)
    out.give(answer.answer)
