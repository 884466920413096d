"""Writes the part of docs/cli.md that lists every verb, from the app itself.

python -m wukong.cli.reference docs/cli.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

from wukong.cli.helping import argument_name, examples_of, value_of
from wukong.cli.main import app

BEGIN, END = "<!-- verbs: make cli -->", "<!-- end of verbs -->"


def verbs() -> Iterator[tuple[str, str, Any]]:
    """Give the words of each verb, its group in help, and the command."""
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        panel = str(command.rich_help_panel)
        if not isinstance(command, TyperGroup) or command.invoke_without_command:
            yield name, panel, command
        for inner, leaf in getattr(command, "commands", {}).items():
            yield f"{name} {inner}", panel, leaf


def reference() -> str:
    """Write every verb with its example, its arguments and its options."""
    parts: list[str] = []
    last = ""
    for words, panel, command in verbs():
        if panel != last:
            parts.append(f"## {panel}\n")
            last = panel
        parts.append(_section(words, command))
    return "\n".join(parts)


def _section(words: str, command: Any) -> str:
    text = command.help or ""
    about = " ".join(text.split("Example: ")[0].split())
    examples = "\n".join(examples_of(text))
    lines = [f"### wukong {words}\n", about, "", "```bash", examples, "```", ""]
    rows = [_row(one) for one in command.params if one.name not in {"help", "context"}]
    if rows:
        lines += ["| argument or option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _row(parameter: Any) -> str:
    if isinstance(parameter, TyperArgument):
        given = argument_name(parameter)
    else:
        given = ", ".join(sorted(parameter.opts, key=len))
        if isinstance(parameter, TyperOption) and not parameter.is_flag:
            given += f" {value_of(parameter)}"
    return f"| `{given}` | {parameter.help or ''} |"


def renewed(page: str) -> str:
    """Give the page with its part between the marks written anew."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def main() -> None:
    """Renew a page in place."""
    page = Path(sys.argv[1])
    page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
