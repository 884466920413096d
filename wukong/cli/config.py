"""`wukong config`: what holds and where it comes from; a file to begin with; and a check of one."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from wukong.cli.output import Output
from wukong.config import FILE, Config, ConfigError, load_config, sources

COLUMNS = ("key", "value", "from")

HIDDEN = "store.url"
"""Its value may hold a password."""


def show(out: Output, file: Path | None) -> None:
    """Show each key with its value and where that comes from."""
    config = load_config(file)
    origin = sources(file)
    values = {key: _hidden(key, value) for key, value in _flat(config)}
    rows = [(key, _written(value), origin[key]) for key, value in values.items()]
    out.table("", COLUMNS, rows)
    told = {key: {"value": value, "from": origin[key]} for key, value in values.items()}
    out.give({"config": told})


def init(out: Output, file: Path, *, is_replaced: bool) -> None:
    """Write a file with every key as a comment; raises `ConfigError` if it is there already."""
    if file.exists() and not is_replaced:
        raise ConfigError(f"{file} is there already", "Give another name, or --force.")
    file.write_text(commented(), encoding="utf-8")
    out.say(f"{file} has every key with its default; remove the # of those that you change.")
    out.give({"file": str(file)})


def check(out: Output, file: Path | None) -> None:
    """Check a file with the environment; raises `ConfigError` that names the key."""
    if file is None and not Path(FILE).exists():
        out.say(f"There is no {FILE} here; defaults and the environment hold, and are right.")
    config = load_config(file)
    out.say(f"The configuration is right; platform {config.platform}.")
    out.give({"file": str(file or FILE), "valid": True, "platform": config.platform})


def commented() -> str:
    """Write the configuration file that `init` gives, from the models and their docstrings."""
    about = _docstrings()
    lines = [
        "# Configuration of Wukong; docs/config.md says more. What stands here is the default:",
        "# remove the # of a key, and of its section, to change it. The environment goes before",
        "# the file: WUKONG_<SECTION>_<KEY>, such as WUKONG_STORE_URL.",
        "",
    ]
    for name, field in Config.model_fields.items():
        section = field.annotation
        if not _is_section(section):
            lines += [f"# {name}: {_written(field.get_default())}", ""]
            continue
        lines.append(f"# {name}:")
        for key, inner in section.model_fields.items():  # type: ignore[union-attr]
            comment = about.get(f"{section.__name__}.{key}", "")  # type: ignore[union-attr]
            value = _written(inner.get_default(call_default_factory=True))
            lines.append(f"#   {key}: {value}" + (f"  # {comment}" if comment else ""))
        lines.append("")
    return "\n".join(lines)


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _flat(config: Config) -> Iterator[tuple[str, Any]]:
    for name, value in config.model_dump(mode="json").items():
        if _is_section(Config.model_fields[name].annotation):
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def _hidden(key: str, value: Any) -> Any:
    """Give a value without the password in it."""
    if key != HIDDEN or value is None or "@" not in value:
        return value
    scheme, _, rest = value.partition("://")
    return f"{scheme}://***@{rest.rpartition('@')[2]}"


def _written(value: Any) -> str:
    """Write a value as YAML does; its JSON is YAML, too."""
    return value if isinstance(value, str) and value.isidentifier() else json.dumps(value)


def _docstrings() -> dict[str, str]:
    """Give the text under each key of the models, which only their source has."""
    spec = find_spec("wukong.config")
    assert spec is not None  # noqa: S101 -- it is imported above
    assert spec.origin is not None  # noqa: S101
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    found = {}
    for model in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for field, after in zip(model.body, model.body[1:], strict=False):
            match field, after:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[f"{model.name}.{name}"] = " ".join(text.split())
    return found
