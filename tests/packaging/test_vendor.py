"""Third-party distributions: all that are needed, in wheels that the target can load."""

from __future__ import annotations

from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.markers import Environment, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from wukong.packaging import vendor
from wukong.packaging.target import NEWEST, OLDEST, Target
from wukong.packaging.vendor import VendorError

FOREIGN = Target.parse("python3.13", "arm64")
BROUGHT = {"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"}
RUNTIMES = [f"3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]


def lambdas(python: str) -> Environment:
    """Give the environment that markers see on Lambda; its Pythons are late patch releases."""
    return default_environment() | {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "platform_system": "Linux",
    }


def closure(names: list[str], python: str) -> set[str]:
    """Follow declared requirements, but not into what Lambda's runtime has."""
    needed: set[str] = set()
    todo = names
    while todo:
        name = todo.pop()
        if name in needed | BROUGHT:
            continue
        needed.add(name)
        for text in requires(name) or []:
            one = Requirement(text)
            if one.marker is None or one.marker.evaluate({**lambdas(python), "extra": ""}):
                todo.append(canonicalize_name(one.name))
    return needed


def install(folder: Path, *, tag: str = "py3-none-any", record: str = "fake/__init__.py") -> None:
    """Put a distribution named fake into a folder, as an installer would."""
    (folder / "fake").mkdir()
    (folder / "fake" / "__init__.py").write_text("")
    metadata = folder / "fake-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fake\nVersion: 1.0\n")
    (metadata / "WHEEL").write_text(f"Wheel-Version: 1.0\nTag: {tag}\n")
    (metadata / "RECORD").write_text(f"{record},,\nfake-1.0.dist-info/METADATA,,\n")


@pytest.mark.parametrize("python", RUNTIMES)
def test_the_lists_name_every_distribution_that_is_required(python: str) -> None:
    assert closure(["cloudpickle", "valkey"], python) == set(vendor.DEPLOYMENT)
    wanted = ["aws-lambda-powertools", "requests", "pydantic"]
    assert closure(wanted, python) == set(vendor.BOOTSTRAP)


def test_wheels_are_asked_for_that_the_runtimes_c_library_can_load() -> None:
    assert Target.parse("python3.11", "x86_64").platforms[0] == "manylinux_2_26_x86_64"
    assert Target.parse("python3.12", "arm64").platforms[0] == "manylinux_2_34_aarch64"
    assert Target.parse("python3.12", "arm64").platforms[-1] == "manylinux2014_aarch64"


def test_a_distribution_that_is_not_installed_is_named() -> None:
    with pytest.raises(VendorError, match="distribution no-such-thing is not installed"):
        vendor.vendor(["no-such-thing"], Target.this_machine())


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("fake/gone.py", r"fake 1\.0 is not complete: fake/gone\.py is missing"),
        ("__editable__.fake.pth", r"fake 1\.0 is not complete: it lists no code"),
    ],
)
def test_an_installation_that_is_not_complete_is_refused(
    record: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, record=record)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(VendorError, match=reason):
        vendor.vendor(["fake"], Target.this_machine())


@pytest.mark.parametrize("glibc", ["linux", "manylinux_2_99", "musllinux_1_2"])
def test_an_installed_wheel_that_lambda_cannot_load_is_not_taken(
    glibc: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Target.this_machine().for_lambda
    install(tmp_path, tag=f"cp3-cp3-{glibc}_{here.architecture}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(VendorError, match=r"no wheels for python3\.\d+ on"):
        vendor.vendor(["fake"], here)


def test_what_pip_said_is_in_the_error_and_nothing_is_left_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(VendorError, match=r"(?s)on arm64: pip ended with 1.*cloudpickle") as failed:
        vendor.vendor(["cloudpickle"], FOREIGN)
    assert "Wanted were cloudpickle==" in failed.value.hint
    assert list((tmp_path / "wukong" / "wheels").iterdir()) == []


def test_fetched_wheels_come_from_the_cache_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_PREFIX", str(tmp_path / "never"))
    first = vendor.vendor(["cloudpickle"], FOREIGN)
    assert all(file.is_relative_to(tmp_path / "wukong") for file in first.values())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert vendor.vendor(["cloudpickle"], FOREIGN) == first
    assert "cloudpickle/cloudpickle.py" in first
