"""The layers of the house: who may import whom (docs/architecture.md draws it)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"bootstrap", "executor", "invoker", "wukong"}

# Lowest first. A module may import its own layer and those below.
LAYERS = [
    {"wukong", "wukong.errors", "wukong.messages"},
    {"wukong.storage"},
    {"wukong.graph", "wukong.platform"},
    {"wukong.config", "wukong.packaging", "wukong.record", "wukong.stack"},
    {"wukong.history", "wukong.opening", "wukong.prices", "wukong.usage"},
    {"wukong.cost"},
    {"wukong.callbacks", "wukong.report"},
    {"wukong.compatibility", "wukong.modules"},
    {"wukong.progress", "wukong.submission", "wukong.view"},
    {"wukong.experience", "wukong.keeping"},
    {"wukong.estimate", "wukong.failing", "wukong.following"},
    {"wukong.connection", "wukong.ledger", "wukong.runs"},
    {"wukong.followers", "wukong.futures", "wukong.persisted"},
    {"wukong.client"},
    {"wukong.doctor"},
    {"wukong.cli", "wukong.__main__"},
]
KERNEL = {"wukong", "wukong.messages", "wukong.graph", "wukong.storage", "wukong.platform"}
ALLOWED = {
    "bootstrap": {"bootstrap"},
    "executor": {"executor"} | KERNEL,
    "invoker": {"invoker"} | KERNEL - {"wukong.graph"},
}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> set[str]:
    """Give what a file imports of ours, wherever in the file; not what only type checkers read."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute in this house"
            assert node.module is not None
            found |= {
                f"{node.module}.{alias.name}" if is_module(node.module, alias.name) else node.module
                for alias in node.names
            }
    return {one for one in found if one.split(".")[0] in OURS}


def is_module(package: str, name: str) -> bool:
    base = ROOT.joinpath(*package.split("."))
    return (base / f"{name}.py").exists() or (base / name / "__init__.py").exists()


def room(module: str) -> str:
    """Give the unit that layers speak of: a file or folder right under a package."""
    return ".".join(module.split(".")[:2])


def layer(module: str) -> int:
    for number, members in enumerate(LAYERS):
        if room(module) in members:
            return number
    pytest.fail(f"{module} has no layer; give it one in LAYERS and in docs/architecture.md")


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_function_imports_itself_and_the_kernel_only(package: str) -> None:
    for file in modules(package):
        for name in imports(file):
            allowed = ALLOWED[package]
            assert name.split(".")[0] in allowed or room(name) in allowed, f"{file} imports {name}"


def test_wukong_imports_no_function_code() -> None:
    for file in modules("wukong"):
        foreign = {name for name in imports(file) if name.split(".")[0] != "wukong"}
        assert not foreign, f"{file} imports {foreign}"


def test_arrows_run_downwards_only() -> None:
    for file in modules("wukong"):
        own = layer(name_of(file))
        for name in imports(file):
            assert layer(name) <= own, f"{name_of(file)} imports {name}, which is above it"


def test_only_the_graph_package_knows_dasks_private_interfaces() -> None:
    for package in sorted(OURS):
        for file in modules(package):
            if "dask._task_spec" in file.read_text(encoding="utf-8"):
                assert room(name_of(file)) == "wukong.graph", file


def test_every_file_says_its_purpose_and_stays_a_room() -> None:
    for package in sorted(OURS):
        for file in modules(package):
            text = file.read_text(encoding="utf-8")
            assert ast.get_docstring(ast.parse(text)), f"{file} has no docstring"
            assert len(text.splitlines()) <= 450, f"{file} is more than one room"
