"""Writes docs/reference.md from the docstrings of what `import wukong` gives: `make reference`.

griffe reads the sources; nothing is imported. Sections of a docstring become lists and paragraphs,
which read on GitHub as well as on the site.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference.md"
ENTRIES = (
    ("Client", "wukong.client.Client"),
    ("attach", "wukong.client.attach"),
    ("Future", "wukong.futures.Future"),
    ("Callback", "wukong.callbacks.Callback"),
    ("ProgressBar", "wukong.progress.ProgressBar"),
    ("Estimate", "wukong.estimate.Estimate"),
    ("Cost", "wukong.cost.Cost"),
    ("RunRecord", "wukong.record.RunRecord"),
    ("load_config", "wukong.config.load_config"),
    ("RunOptions", "wukong.config.RunOptions"),
    ("WukongError", "wukong.errors.WukongError"),
)
HEAD = """# Python

What `import wukong` gives, from its docstrings (`make reference` writes this page).
`wukong.as_completed` is the standard library's. Options of a run are those of
[`RunOptions`](#wukongrunoptions), which [config.md](config.md) explains.
"""


def reference() -> str:
    """Write the whole page."""
    package: Any = griffe.load("wukong", search_paths=[ROOT], docstring_parser="numpy")
    parts = [HEAD]
    for name, path in ENTRIES:
        parts += _entry(f"wukong.{name}", package[path.removeprefix("wukong.")], "##")
    return "\n".join(parts)


def _entry(title: str, thing: Any, level: str) -> Iterator[str]:
    yield f"{level} {title}\n"
    if thing.is_function:
        yield f"```python\n{_signature(title, thing)}\n```\n"
    yield from _docstring(thing)
    if thing.is_class:
        for name, member in sorted(thing.members.items(), key=lambda item: item[1].lineno or 0):
            if _is_shown(name, member):
                yield from _entry(f"{title.rsplit('.', maxsplit=1)[-1]}.{name}", member, "###")


def _is_shown(name: str, member: Any) -> bool:
    if name.startswith("_") or member.is_alias or not member.docstring:
        return False
    return bool(member.is_function or "property" in member.labels)


def _signature(title: str, function: Any) -> str:
    given, star = [], False
    for one in function.parameters:
        if one.name == "self":
            continue
        kind = one.kind.value
        if kind == "keyword-only" and not star:
            given.append("*")
        star = star or kind in {"keyword-only", "variadic positional"}
        prefix = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        default = f"={one.default}" if one.default is not None and not prefix else ""
        given.append(f"{prefix}{one.name}{default}")
    returns = f" -> {function.returns}" if function.returns is not None else ""
    return f"{title}({', '.join(given)}){returns}"


def _docstring(thing: Any) -> Iterator[str]:
    if not thing.docstring:
        return
    for section in thing.docstring.parse("numpy", warnings=False):
        match section.kind.value:
            case "text":
                yield f"{section.value}\n"
            case "parameters" | "attributes":
                yield from (f"- `{one.name}`: {_line(one.description)}" for one in section.value)
                yield ""
            case "raises":
                lines = (f"- `{one.annotation}`: {_line(one.description)}" for one in section.value)
                yield from ("Raises:\n", *lines, "")
            case "returns":
                # numpydoc has a type first; where there is none it is the text's first line.
                words = (f"{one.annotation or ''} {one.description}" for one in section.value)
                yield f"Returns: {_line(' '.join(words))}\n"


def _line(text: str) -> str:
    return " ".join(text.split())


def main() -> None:
    """Write the page in its place."""
    PAGE.write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main()
