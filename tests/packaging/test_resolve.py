"""What is chosen for a target, with its markers and not this machine's; and why it cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from wukong.errors import WukongError
from wukong.packaging import pip
from wukong.packaging.complaint import explained
from wukong.packaging.pip import PipError, PipRefusedError
from wukong.packaging.requirements import Wanted, wanted
from wukong.packaging.resolve import Chosen, Resolution, ResolveError, resolve
from wukong.packaging.strip import left_out
from wukong.packaging.target import Target

ARM = Target.parse("python3.13", "arm64")
PINS = {"numpy": "2.4.6", "dask": "2026.8.0"}


def chosen(name: str, *requires: str, at: str = "1.0") -> Chosen:
    return Chosen(name, at, "0" * 64, tuple(map(Requirement, requires)))


def resolution(*every: Chosen, target: Target = ARM) -> Resolution:
    return Resolution(target, {one.name: one for one in every})


def need(*texts: str) -> list[Requirement]:
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize(
    ("runtime", "reached"),
    [("python3.11", {"a", "old"}), ("python3.13", {"a", "new"})],
)
def test_markers_are_the_targets_and_not_this_interpreters(runtime: str, reached: set[str]) -> None:
    every = (
        chosen("a", "old; python_version < '3.12'", "new; python_version >= '3.12'"),
        chosen("old"),
        chosen("new"),
    )
    found = resolution(*every, target=Target.parse(runtime, "arm64"))
    assert found.reached(need("a")) == reached


def test_a_targets_processor_and_system_count() -> None:
    every = (
        chosen("a", "b; platform_machine == 'aarch64'", "c; sys_platform == 'win32'"),
        chosen("b"),
        chosen("c"),
    )
    assert resolution(*every).reached(need("a")) == {"a", "b"}


def test_extras_bring_what_they_require_also_by_way_of_others() -> None:
    every = (
        chosen("a", "a[x]; extra == 'all'", "b; extra == 'x'", "c; extra == 'y'"),
        chosen("b", "a"),
        chosen("c"),
    )
    assert resolution(*every).reached(need("a")) == {"a"}
    assert resolution(*every).reached(need("a[all]")) == {"a", "b"}


def test_what_is_missing_on_the_target_is_told_without_its_marker() -> None:
    found = resolution(chosen("a", "b>=2; python_version >= '3.13'", "c<1"), chosen("c"))
    assert [str(one) for one in found.unmet(need("a"))] == ["c<1", "b>=2"]


def test_what_lambda_or_the_package_has_is_not_followed() -> None:
    found = resolution(chosen("a", "boto3", "cloudpickle", "python-dateutil"))
    assert found.reached(need("a")) == {"a"}
    assert found.unmet(need("a")) == []


def test_the_targets_requirements_are_asked_for_though_pip_looks_at_this_interpreter(
    tmp_path: Path,
) -> None:
    file = tmp_path / "r.txt"
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    other = "3.12" if here != "3.12" else "3.13"
    file.write_text(
        f"locket; python_version == '{other}'\ntoolz; python_version == '{here}'\n", "utf-8"
    )
    found = resolve(wanted([f"x={file}"]), Target.parse(f"python{other}", "arm64"))
    assert list(found.chosen) == ["locket"]


def refuse(said: str, *layers: Wanted, target: Target = ARM) -> str:
    message, hint = explained(PipRefusedError(target, 1, said), layers, PINS, target)
    assert hint
    return message


CONFLICT = """
ERROR: Cannot install a 1.0 and numpy==1.26.4 because these package versions have conflicts.

The conflict is caused by:
    The user requested numpy==1.26.4
    a[x] 1.0 depends on numpy>=2; extra == "x"
    The user requested (constraint) numpy==2.4.6

To fix this you could try to:
"""


def test_a_conflict_names_both_and_who_wants_what() -> None:
    layer = Wanted("ml", (Requirement("numpy==1.26.4"),), "r.txt")
    assert refuse(CONFLICT, layer) == (
        "requirements of the layers do not fit together: layer ml (r.txt) wants numpy==1.26.4; "
        "a[x] 1.0 wants numpy>=2; this machine has numpy 2.4.6"
    )


OLD_PIP = """
The conflict is caused by:
    dask[array] 2026.8.0 depends on numpy>=1.24; extra == "array"
    The user requested (constraint) numpy==2.4.6
"""
NEW_PIP = (
    f"{OLD_PIP}\nAdditionally, some packages in these conflicts have no matching distributions "
    "available for your environment:\n    numpy\n"
)


@pytest.mark.parametrize("said", [OLD_PIP, NEW_PIP])
def test_a_version_without_a_wheel_is_not_taken_for_a_conflict(said: str) -> None:
    old = Target.parse("python3.11", "arm64")
    assert refuse(said, target=old) == (
        "there is no wheel for python3.11 on arm64 of numpy 2.4.6 (as it is installed here)"
    )


def test_a_wheel_that_is_not_there_is_named_with_its_version_and_who_wants_it() -> None:
    said = "ERROR: Could not find a version that satisfies the requirement {}\n"
    plain = said.format("pyspark==3.5.0 (from versions: none)")
    assert refuse(plain) == "there is no wheel for python3.13 on arm64 of pyspark 3.5.0"
    inner = said.format("b>=2 (from a) (from versions: 1.0, 1.1)")
    assert refuse(inner) == "there is no wheel for python3.13 on arm64 of b >=2 (for a)"


def test_what_is_not_understood_is_repeated() -> None:
    assert "disk is full" in refuse("ERROR: disk is full")


def test_a_package_without_a_wheel_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "r.txt"
    file.write_text("numpy==1.0\n")
    with pytest.raises(WukongError) as caught:
        resolve(wanted([f"x={file}"]), ARM)
    assert isinstance(caught.value, ResolveError)
    assert "numpy" in caught.value.message


def test_without_pip_it_is_said_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{sys.executable}: No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(pip.sys, "executable", str(python))
    with pytest.raises(PipError, match="which .*python does not have") as caught:
        resolve(wanted(["numpy"]), ARM)
    assert "ensurepip" in caught.value.hint


def test_tests_are_known_by_what_is_in_them_and_not_by_the_folders_name_alone() -> None:
    omitted = left_out(
        [
            "a/tests/test_x.py",
            "a/tests/data/big.csv",
            "a/tests/__init__.py",
            "b/tests/runner.py",
            "b/testing.py",
            "b/conftest.py",
            "c/test_api.py",
        ]
    )
    assert omitted.keys() == {
        "a/tests/test_x.py",
        "a/tests/data/big.csv",
        "a/tests/__init__.py",
        "b/conftest.py",
    }


def test_stubs_stay_where_a_package_reads_them() -> None:
    names = ["a/__init__.pyi", "a/py.typed", "a/x.h"]
    assert left_out(names).keys() == set(names)
    assert left_out(names, reads_stubs=True).keys() == {"a/x.h"}
