"""What verbs print: tables and sentences for people; with `--json` one JSON value, no more.

In the second case what happens meanwhile goes to stderr, where it is still seen.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from wukong.errors import WukongError

if TYPE_CHECKING:
    from rich.console import Console

FAILED = 1
"""The exit status of an error that the message explains."""

FOUND_PROBLEMS = 3
"""The exit status of `wukong doctor` if something does not work."""

INTERRUPTED = 130

NUMBERS = frozenset({"tasks", "executors", "seconds", "MB", "zipped MB", "zipped kB", "files kB"})
"""Columns that are set to the right."""

Act = TypeVar("Act", bound=Callable[..., Any])


class Output:
    """Where a verb prints.

    Parameters
    ----------
    as_json
        Whether a program reads it.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    @functools.cached_property
    def console(self) -> Console:
        """Where people read; rich is loaded when something is printed there."""
        from rich.console import Console

        return Console(stderr=self.as_json, highlight=False)

    def say(self, text: str) -> None:
        """Tell what happens; the text is printed as it is."""
        self.console.print(text, markup=False, soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show rows to people; in JSON they are given as data."""
        if self.as_json:
            return
        from rich.table import Table

        table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
        for column in columns:
            numbers = column in NUMBERS
            table.add_column(
                column,
                overflow="fold",
                justify="right" if numbers else "left",
                header_style="bold",
            )
        for row in rows:
            table.add_row(*("" if cell is None else str(cell) for cell in row))
        self.console.print(table)

    def give(self, value: Any) -> None:
        """Print the JSON value; nothing for people, who have been told."""
        if self.as_json:
            json.dump(value, sys.stdout, indent=2, default=str)
            sys.stdout.write("\n")


def verb(act: Act) -> Act:
    """Turn what a verb raises on purpose into a message, and an exit status."""

    @functools.wraps(act)
    def guarded(*arguments: Any, **options: Any) -> Any:
        try:
            return act(*arguments, **options)
        except WukongError as error:
            tell(error, as_json=bool(options.get("as_json")))
            raise typer.Exit(FAILED) from error
        except KeyboardInterrupt as stop:
            raise typer.Exit(INTERRUPTED) from stop

    return guarded  # type: ignore[return-value]


def tell(error: WukongError, *, as_json: bool) -> None:
    """Print an error: for people on stderr, for programs also as the JSON value."""
    print(f"error: {error}", file=sys.stderr)  # noqa: T201 - where messages belong
    if as_json:
        told = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
        Output(as_json=True).give({"error": told})
