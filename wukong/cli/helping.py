"""How help looks: short lines in sections, one for each group of verbs, and examples.

Text is written here, and not by typer with rich: help must be there at once, and rich with its
Markdown takes longer to load than everything else together.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

EXAMPLE = "Example: "

MOST_COLUMNS = 100

GAP = 2


class Verb(TyperCommand):
    """A verb with our help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of a verb."""
        about, examples = _split(self.help or "")
        page = Page(formatter.write)
        page.text(_usage(self, ctx))
        page.text(about)
        parameters = self.get_params(ctx)
        page.section("Arguments", [_argument(one) for one in parameters if _is_argument(one)])
        page.section("Options", [_option(one) for one in parameters if not _is_argument(one)])
        page.section("Example", [(example, "") for example in examples], style=None)


class Verbs(TyperGroup):
    """A group of verbs with our help; they come in the order in which they are written."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Give the options before the verb; flags of the library's own are off, and not nothing.

        To check nothing, the library would load pydantic before the help of any verb.
        """
        parameters = super().get_params(ctx)
        for one in parameters:
            if getattr(one, "is_flag", False) and one.default is None:
                one.default = False
        return list(parameters)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature is the library's
        """Give the names of the verbs."""
        return list(self.commands)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of a group."""
        about, examples = _split(self.help or "")
        page = Page(formatter.write)
        page.text(_usage(self, ctx))
        page.text(about)
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None)
            panel = panel if isinstance(panel, str) else "Commands"
            sections.setdefault(panel, []).append((name, _first_line(command.help or "")))
        width = max(len(name) for rows in sections.values() for name, _ in rows)
        for panel, rows in sections.items():
            page.section(panel, rows, width=width)
        page.section("Options", [_option(one) for one in self.get_params(ctx)])
        page.section("Example", [(example, "") for example in examples], style=None)
        if ctx.parent is None:
            page.text(f"`{ctx.info_name} VERB --help` has an example of each.")


def _split(text: str) -> tuple[str, list[str]]:
    """Give what a docstring says, and its examples."""
    lines = textwrap.dedent(text).strip().splitlines()
    examples = [line[len(EXAMPLE) :].strip() for line in lines if line.startswith(EXAMPLE)]
    about = "\n".join(line for line in lines if not line.startswith(EXAMPLE)).strip()
    return about, examples


def examples_of(text: str) -> list[str]:
    """Give the examples of a verb's docstring."""
    return _split(text)[1]


def _first_line(text: str) -> str:
    return text.strip().split("\n\n")[0].replace("\n", " ").removesuffix(".")


def _usage(command: Any, ctx: Any) -> str:
    arguments = [one for one in command.get_params(ctx) if _is_argument(one)]
    pieces = "VERB ..." if isinstance(command, TyperGroup) else "[OPTIONS]"
    for one in arguments:
        name = _argument(one)[0]
        pieces += f" {name}" if one.required else f" [{name}]"
    return f"{typer.style('Usage:', bold=True)} {ctx.command_path} {pieces}"


def _is_argument(parameter: object) -> bool:
    return isinstance(parameter, TyperArgument)


def _argument(parameter: Any) -> tuple[str, str]:
    many = "..." if parameter.nargs != 1 else ""
    return f"{argument_name(parameter)}{many}", parameter.help or ""


def argument_name(parameter: Any) -> str:
    """Name an argument as usage lines do."""
    return str(parameter.metavar or parameter.name).upper()


def _option(parameter: Any) -> tuple[str, str]:
    given = ", ".join(sorted(parameter.opts, key=len))
    if isinstance(parameter, TyperOption) and not parameter.is_flag:
        given += f" {value_of(parameter)}"
    return given, parameter.help or ""


def value_of(parameter: Any) -> str:
    """Name the value that an option takes."""
    return str(parameter.metavar or parameter.name.split("_")[-1].upper())


class Page:
    """Writes help, as wide as the terminal but not so wide that lines are hard to read."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._columns = min(MOST_COLUMNS, shutil.get_terminal_size().columns)

    def text(self, text: str) -> None:
        """Write paragraphs."""
        if text:
            filled = (textwrap.fill(one, self._columns) for one in text.split("\n\n"))
            self._write("\n\n".join(filled) + "\n\n")

    def section(
        self,
        title: str,
        rows: Sequence[tuple[str, str]],
        *,
        width: int | None = None,
        style: str | None = "cyan",
    ) -> None:
        """Write a heading and rows of a name and what it means; nothing if there are none."""
        if not rows:
            return
        width = width or max(len(left) for left, _ in rows)
        lines = [line for row in rows for line in self._lines(row, width, style)]
        heading = typer.style(f"{title}:", bold=True)
        self._write("\n".join([heading, *lines]) + "\n\n")

    def _lines(self, row: tuple[str, str], width: int, style: str | None) -> Iterator[str]:
        left, right = row
        indent = width + 2 * GAP
        first, *more = textwrap.wrap(right, max(20, self._columns - indent)) or [""]
        shown = typer.style(left, fg=style) if style else left
        yield f"{'':{GAP}}{shown}{'':{width - len(left) + GAP}}{first}".rstrip()
        yield from (f"{'':{indent}}{line}" for line in more)
