"""The zips: reproducible, complete, for the target they name, and nothing else in them."""

from __future__ import annotations

import hashlib
import marshal
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import wukong
from wukong.packaging import archive, build
from wukong.packaging.archive import Archive
from wukong.packaging.build import BuildError, build_all, build_bootstrap, build_deployment
from wukong.packaging.bytecode import beside
from wukong.packaging.sizes import sizes_of
from wukong.packaging.target import Target, TargetError

ROOT = Path(wukong.__file__).parent.parent
OURS = ("bootstrap/", "executor/", "invoker/", "wukong/")


def names(zipped: Archive) -> list[str]:
    return zipfile.ZipFile(zipped.path).namelist()


def test_deployment_zip_is_small_and_holds_our_code_and_two_distributions(
    deployment: Archive,
) -> None:
    assert deployment.size < 1_500_000
    tops = {name.split("/")[0].split("-")[0] for name in names(deployment)}
    assert tops == {"executor", "invoker", "wukong", "cloudpickle", "valkey"}
    assert "wukong/storage/protocol.lua" in names(deployment)
    ours = {name.split("/")[1] for name in names(deployment) if name.startswith("wukong/")}
    kernel = {"__init__.py", "errors.py", "messages.py", "graph", "platform", "storage"}
    assert ours - {"__pycache__"} == kernel


def test_bootstrap_zip_is_under_four_megabytes(bootstrap: Archive) -> None:
    assert bootstrap.size < 4_000_000


def test_what_lambdas_runtime_has_is_not_in_the_zips(
    deployment: Archive, bootstrap: Archive
) -> None:
    for zipped in (deployment, bootstrap):
        for name in names(zipped):
            assert name.split("/")[0] not in {"boto3", "botocore", "urllib3", "jmespath"}


def test_the_same_input_gives_the_same_bytes_whatever_clock_mask_settings_and_checkout(
    deployment: Archive, bootstrap: Archive, tmp_path: Path
) -> None:
    checkout = tmp_path / "elsewhere"
    for package in OURS:
        shutil.copytree(ROOT / package, checkout / package)
    for file in checkout.rglob("*.py"):
        os.utime(file, (1_000_000_000, 1_000_000_000))
        file.chmod(0o600)
    code = (
        "import os, sys; os.umask(0o077); sys.path.insert(0, '.')\n"
        "from pathlib import Path\n"
        "from wukong.packaging.build import build_all\n"
        "from wukong.packaging.target import Target\n"
        "import wukong\n"
        "if not wukong.__file__.startswith(os.getcwd()): sys.exit(wukong.__file__)\n"
        "for one in build_all(Target.this_machine(), Path('out')): print(one.sha256)"
    )
    settings = {"PYTHONHASHSEED": "7", "PYTHONOPTIMIZE": "2", "TZ": "Asia/Tokyo"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | settings,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [deployment.sha256, bootstrap.sha256]
    assert hashlib.sha256(deployment.path.read_bytes()).hexdigest() == deployment.sha256


def test_the_order_of_files_changes_nothing(tmp_path: Path) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("1")
    two.write_text("2")
    there = archive.write({"a.py": one, "b.py": two}, tmp_path / "there.zip")
    back = archive.write({"b.py": two, "a.py": one}, tmp_path / "back.zip")
    assert there.sha256 == back.sha256
    assert (there.size, there.unzipped_size) == (there.path.stat().st_size, 2)


def test_an_archive_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "out.zip"
    out.write_bytes(b"before")
    with pytest.raises(FileNotFoundError):
        archive.write({"a.py": tmp_path / "missing.py"}, out)
    assert out.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["out.zip"]


def test_a_zip_for_another_python_and_processor_holds_its_wheels(tmp_path: Path) -> None:
    other = "python3.12" if sys.version_info[:2] == (3, 13) else "python3.13"
    zipped = build_bootstrap(Target.parse(other, "arm64"), tmp_path / "bootstrap.zip")
    compiled = [name for name in names(zipped) if name.endswith(".so")]
    assert any(name.startswith("pydantic_core/") for name in compiled)
    for name in compiled:
        head = zipfile.ZipFile(zipped.path).read(name)[:20]
        assert head[:4] == b"\x7fELF"
        assert struct.unpack_from("<H", head, 18)[0] == 183, f"{name} is not for aarch64"
    assert not [name for name in names(zipped) if name.endswith(".pyc")]
    assert "Without bytecode" in sizes_of(zipped).note
    assert {"requests/api.py", "typing_extensions.py"} <= set(names(zipped))
    assert zipped.size < 4_000_000


def test_this_python_on_another_processor_gets_bytecode_too(tmp_path: Path) -> None:
    here = Target.this_machine()
    other = {"x86_64": "arm64", "arm64": "x86_64"}[here.architecture]
    zipped = build_deployment(Target.parse(here.runtime, other), tmp_path / "deployment.zip")
    assert "valkey/client.pyc" in names(zipped)
    assert f"executor/__pycache__/core.{sys.implementation.cache_tag}.pyc" in names(zipped)


def test_of_our_code_the_zips_hold_source_and_bytecode_of_others_only_bytecode(
    deployment: Archive, bootstrap: Archive
) -> None:
    for zipped in (deployment, bootstrap):
        found = names(zipped)
        sources = {name for name in found if name.endswith(".py")}
        compiled = {name for name in found if name.endswith(".pyc")}
        ours = {name for name in sources | compiled if name.startswith(OURS)}
        assert sources <= ours
        assert compiled & ours == {beside(name) for name in sources}
        assert not [name for name in compiled - ours if "__pycache__" in name]


def test_bytecode_names_its_source_by_its_place_in_the_zip(deployment: Archive) -> None:
    name = f"executor/__pycache__/function.{sys.implementation.cache_tag}.pyc"
    code = marshal.loads(zipfile.ZipFile(deployment.path).read(name)[16:])
    assert code.co_filename == "executor/function.py"


def test_code_of_ours_that_does_not_compile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "__init__.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    own = build._package("broken")
    with pytest.raises(BuildError, match=r"broken/__init__\.py does not compile"):
        build._build(own, (), Target.this_machine(), tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_a_package_of_ours_that_is_missing_is_named() -> None:
    with pytest.raises(BuildError, match="package 'no_such_package' is not installed"):
        build._package("no_such_package")
    with pytest.raises(BuildError, match=r"package 'executor' lacks .*no_such_part"):
        build._package("executor", ("no_such_part",))


def test_the_table_of_sizes_names_every_part_and_adds_up(bootstrap: Archive) -> None:
    sizes = sizes_of(bootstrap)
    rows = {row.part: row for row in sizes.rows}
    assert rows.keys() == {
        "annotated_types",
        "aws_lambda_powertools",
        "bootstrap",
        "certifi",
        "charset_normalizer",
        "idna",
        "pydantic",
        "pydantic_core",
        "requests",
        "typing_extensions",
        "typing_inspection",
    }
    assert rows["pydantic"].version == version("pydantic")
    assert rows["bootstrap"].version == ""
    assert rows["typing_extensions"].bytecode > 0, "of a module right at the top"
    assert sum(row.files + row.bytecode for row in sizes.rows) == bootstrap.unzipped_size
    assert sizes.note == ""


def test_both_zips_are_built_into_a_folder(tmp_path: Path) -> None:
    deployment, bootstrap = build_all(Target.this_machine(), tmp_path / "dist")
    assert [one.path.name for one in (deployment, bootstrap)] == ["deployment.zip", "bootstrap.zip"]


def test_bytecode_is_there_for_this_python_and_used_unchecked(deployment: Archive) -> None:
    tag = sys.implementation.cache_tag
    name = f"executor/__pycache__/function.{tag}.pyc"
    data = zipfile.ZipFile(deployment.path).read(name)
    assert struct.unpack_from("<I", data, 4)[0] == 1, "hash-based and unchecked (PEP 552)"


@pytest.mark.parametrize(
    ("runtime", "architecture", "named"),
    [
        ("python3.9", "x86_64", r"runtime: 'python3\.9'"),
        ("python4", "x86_64", "runtime: 'python4'"),
        ("nodejs22.x", "arm64", "runtime"),
        ("python3.13", "riscv", "architecture: 'riscv'"),
    ],
)
def test_a_target_that_lambda_has_not_is_refused(
    runtime: str, architecture: str, named: str
) -> None:
    with pytest.raises(TargetError, match=named):
        Target.parse(runtime, architecture)
