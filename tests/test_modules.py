"""What travels with a run: which modules are the user's own, what they import, and the zip."""

from __future__ import annotations

import importlib
import io
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dask.delayed import delayed

from executor.modules import Carried
from wukong import modules
from wukong.graph.references import References
from wukong.graph.shared import Sharing
from wukong.messages import Bundle
from wukong.modules import ModulesError, is_own, needs_of, pack

FILES = {
    "own_one.py": (
        "import os\nimport numpy\nfrom own_two import value\n"
        "try:\n    import rare_thing\nexcept ImportError:\n    rare_thing = None\n"
        "class Kind:\n    pass\n"
        "def give():\n    import own_late\n    return value, own_late.value\n"
    ),
    "own_two.py": "value = 2\n",
    "own_late.py": "value = 3\n",
    "own_other.py": "value = 4\n",
    "own_package/__init__.py": "from .inner import f\n",
    "own_package/inner.py": "def f(x):\n    return x\n",
    "own_package/core.py": "from . import inner\nfrom .maths import pi\n",
    "own_package/maths.py": "import numpy as np\npi = 3\n",
    "own_package/plotting.py": "import pytest\nfrom yaml import safe_load\n",
    "own_package/data.csv": "1,2\n",
    "own_package/__pycache__/old.pyc": "x",
    "own_package/.hidden/secret.py": "x = 1\n",
    "own_package/venv/pyvenv.cfg": "",
    "own_package/venv/lib.py": "x = 1\n",
    "own_package/large.bin": "x" * ((1 << 20) + 1),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with own modules, on the path."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def references(*items: Any) -> References:
    sharing = Sharing()
    for item in items:
        sharing.dumps(item)
    return sharing.references


def names(data: bytes) -> set[str]:
    return set(zipfile.ZipFile(io.BytesIO(data)).namelist())


def test_own_is_what_is_neither_installed_nor_pythons_nor_ours(folder: Path) -> None:
    assert all(map(is_own, ["own_one", "own_package", "own_late"]))
    for name in ("os", "numpy", "dask", "wukong", "executor", "sys", "__main__", "no_such"):
        assert not is_own(name), name


def test_own_modules_are_followed_through_what_they_import(folder: Path) -> None:
    module = importlib.import_module("own_one")
    needs = needs_of(references(module.give))
    assert needs.own == {"own_one", "own_two", "own_late"}
    assert needs.packages == {"numpy"}


@pytest.mark.parametrize("what", ["instance", "class", "method", "module", "partial", "task"])
def test_whatever_refers_to_a_module_needs_it(folder: Path, what: str) -> None:
    import functools

    module = importlib.import_module("own_one")
    items = {
        "instance": module.Kind(),
        "class": module.Kind,
        "method": [module.Kind.__init__, module.Kind],
        "module": module,
        "partial": functools.partial(module.give),
        "task": delayed(module.give)(),
    }
    assert "own_one" in needs_of(references(items[what])).own


def test_a_function_of_the_script_needs_what_it_uses_and_imports(folder: Path) -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    inner = "    def g():\n        import own_late, numpy\n"
    exec(f"import own_two\ndef f():\n{inner}    return own_two\n", scope)
    needs = needs_of(references(scope["f"]))
    assert needs.own == {"own_two", "own_late"}
    assert "numpy" not in needs.packages, "an import that is tried when it runs may be missed"


def test_what_tasks_do_not_use_stays_here(folder: Path) -> None:
    importlib.import_module("own_other")
    assert needs_of(references(abs, {"a": 1}, sum)) == modules.Needs(frozenset(), frozenset())


def test_a_package_travels_with_small_files_and_without_what_is_no_code(folder: Path) -> None:
    packed = pack({"own_package"})
    assert names(packed.data) == {
        "own_package/__init__.py",
        "own_package/core.py",
        "own_package/data.csv",
        "own_package/inner.py",
        "own_package/maths.py",
        "own_package/plotting.py",
    }


def test_only_packages_of_the_modules_that_are_imported_must_be_there(folder: Path) -> None:
    importlib.import_module("own_package.plotting")
    core = importlib.import_module("own_package.core")
    needs = needs_of(references(core))
    assert needs.own == {"own_package"}
    # How a module is pickled at all is cloudpickle's.
    assert needs.packages - {"cloudpickle"} == {"numpy"}
    plotting = importlib.import_module("own_package.plotting")
    assert needs_of(references(plotting)).packages - {"cloudpickle"} == {"pytest", "yaml"}


def test_the_same_files_are_the_same_bytes_whenever_they_were_written(folder: Path) -> None:
    first = pack({"own_two", "own_late"})
    os.utime(folder / "own_two.py", (1, 1))
    assert pack({"own_late", "own_two"}) == first
    (folder / "own_two.py").write_text("value = 7\n")
    assert pack({"own_late", "own_two"}).digest != first.digest


def test_modules_that_are_too_large_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modules, "MOST_BYTES", 10)
    with pytest.raises(ModulesError, match="own_late, own_two have") as caught:
        pack({"own_two", "own_late"})
    assert "layer" in caught.value.hint


def unpack(carried: Carried, packed: modules.Packed) -> None:
    carried.use(Bundle(1, packed.digest), lambda refs: [packed.data for _ in refs])


@pytest.fixture
def elsewhere(folder: Path) -> Iterator[Carried]:
    """What an Executor has unpacked, which does not see the client's folder."""
    carried = Carried()
    yield carried
    carried.forget()


def test_an_executor_imports_what_came_with_the_run_and_forgets_it_for_the_next(
    folder: Path, elsewhere: Carried
) -> None:
    first = pack({"own_two", "own_package"})
    (folder / "own_two.py").write_text("value = 'new'\n")
    second = pack({"own_two"})
    unpack(elsewhere, first)
    place = Path(sys.path[0])
    assert place != folder
    assert str(importlib.import_module("own_two").__file__).startswith(str(place))
    assert importlib.import_module("own_package.inner").f(1) == 1
    unpack(elsewhere, second)
    assert importlib.import_module("own_two").value == "new"
    assert "own_package.inner" not in sys.modules
    assert not place.exists()


def test_an_executor_unpacks_the_same_bundle_once(folder: Path, elsewhere: Carried) -> None:
    unpack(elsewhere, pack({"own_two"}))
    first = importlib.import_module("own_two")

    def unread(refs: object) -> list[bytes | None]:
        raise AssertionError("it is there already")

    elsewhere.use(Bundle(5, elsewhere.digest or ""), unread)
    assert sys.modules["own_two"] is first


def test_a_bundle_that_has_gone_with_its_run_is_left_out(elsewhere: Carried) -> None:
    elsewhere.use(Bundle(1, "digest"), lambda refs: [None])
    assert elsewhere.digest is None
