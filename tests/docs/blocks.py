"""Runs what a page shows, in order: its scripts, its commands, and whether they print what it says.

    ```python with a first line "# name.py"   is that file
    ```bash                                   is run, in one shell for the whole page
    ```text after it                          is what it printed; a line "..." stands for any lines

What differs from run to run does not count: numbers, ids and the blanks between columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cli.test_readme import Shell

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CHANGING = (
    # Before names, for which its digits may be taken.
    (re.compile(r"\d+\.\d+e-?\d+"), "0"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{6,32}\b"), "ID"),
    (re.compile(r"\d[\d,]*(\.\d+)?(e-?\d+)?"), "0"),
    (re.compile(r"\b[KMG]?(?=B\b)|(?<=0 )(ms|s|min)\b"), ""),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    kind: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """Give the blocks of a page in their order."""
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        yield Block(kind, text)


def as_it_is(command: str) -> str:
    """Change nothing in a command."""
    return command


def run_page(
    page: Path, shell: Shell, folder: Path, adapted: Callable[[str], str] = as_it_is
) -> int:
    """Run a page in a folder, and give how many blocks were run.

    Fails where something is shown that was not printed.
    """
    printed, count = "", 0
    for block in blocks(page):
        match block.kind:
            case "python":
                name = re.match(r"# (\w+\.py)\n", block.text)
                assert name is not None, f"{page.name}: a script without its name\n{block.text}"
                (folder / name[1]).write_text(block.text, encoding="utf-8")
            case "bash":
                # Variables that a block sets are there in the next.
                printed = shell.run("set -a\n" + adapted(block.text))
                count += 1
            case "text":
                missing = first_missing(block.text, printed)
                assert missing is None, f"{page.name} shows: {missing}\nprinted:\n{printed}"
    return count


def first_missing(shown: str, printed: str) -> str | None:
    """Give the first line of those shown that was not printed, in its place."""
    lines = iter([normal(line) for line in printed.splitlines()])
    for line in shown.splitlines():
        if line.strip() not in {"", "..."} and normal(line) not in lines:
            return line
    return None


def normal(line: str) -> str:
    """Take from a line what differs from run to run."""
    for pattern, replacement in CHANGING:
        line = pattern.sub(replacement, line)
    return line.strip()
