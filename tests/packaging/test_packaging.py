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
from wukong.packaging.sizes import sizes_of
from wukong.packaging.target import Target, TargetError

ROOT = Path(wukong.__file__).parent.parent

# What Lambda's Python runtime has beside the standard library: boto3 and what it needs.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    out = tmp_path_factory.mktemp("deployment") / "deployment.zip"
    return build_deployment(Target.this_machine(), out)


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return build_bootstrap(
        Target.this_machine(), tmp_path_factory.mktemp("bootstrap") / "bootstrap.zip"
    )


def names(zipped: Archive) -> list[str]:
    return zipfile.ZipFile(zipped.path).namelist()


def isolated(zipped: Archive, folder: Path, code: str) -> str:
    """Run code in an interpreter that sees the zip and what Lambda's runtime has, nothing else."""
    task, runtime = folder / "task", folder / "runtime"
    zipfile.ZipFile(zipped.path).extractall(task)
    runtime.mkdir()
    for name in RUNTIME:
        source = Path(sys.modules["boto3"].__file__ or "").parent.parent / name
        (runtime / name).symlink_to(source)
    path = f"import sys; sys.path[:0] = [{str(task)!r}]; sys.path.append({str(runtime)!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", path + code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"AWS_DEFAULT_REGION": "us-east-1", "PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FOREIGN = """
task, runtime = sys.path[0], sys.path[-1]
homes = {m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)}
standard = sys.base_prefix
print([h for h in sorted(homes) if not h.startswith((task, runtime, standard))
       or 'site-packages' in h])
"""


def test_deployment_zip_holds_all_that_its_handlers_need(
    deployment: Archive, tmp_path: Path
) -> None:
    import boto3  # noqa: F401 - its folder stands in for Lambda's runtime

    code = (
        "import executor.function, invoker.function, invoker.fanout, wukong.storage.valkey\n"
        "import wukong.platform.aws, cloudpickle\n"
        "for f in (executor.function, invoker.function):\n"
        "    print(f.lambda_handler({'wukong': 'ping'}, None)['component'])\n" + FOREIGN
    )
    assert isolated(deployment, tmp_path, code).split("\n")[:3] == ["executor", "invoker", "[]"]


IMPORT_ALL = """
import importlib, pathlib
task = pathlib.Path(sys.path[0])
for top in ("executor", "invoker", "wukong"):
    for file in sorted((task / top).rglob("*.py")):
        name = ".".join(file.relative_to(task).with_suffix("").parts).removesuffix(".__init__")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            print(error.name)
"""


def test_the_only_module_that_deployment_zip_leaves_to_a_layer_is_dask(
    deployment: Archive, tmp_path: Path
) -> None:
    import boto3  # noqa: F401

    assert set(isolated(deployment, tmp_path, IMPORT_ALL).split()) == {"dask"}


def test_bootstrap_zip_holds_all_that_its_handler_needs(bootstrap: Archive, tmp_path: Path) -> None:
    import boto3  # noqa: F401

    code = "import bootstrap.function; print(bootstrap.function.lambda_handler.__name__)" + FOREIGN
    assert isolated(bootstrap, tmp_path, code).split("\n")[:2] == ["lambda_handler", "[]"]


def test_deployment_zip_is_small_and_holds_our_code_and_two_distributions(
    deployment: Archive,
) -> None:
    assert deployment.size < 3_000_000
    tops = {name.split("/")[0].split("-")[0] for name in names(deployment)}
    assert tops == {"executor", "invoker", "wukong", "cloudpickle", "valkey"}
    assert "wukong/storage/protocol.lua" in names(deployment)
    ours = {name.split("/")[1] for name in names(deployment) if name.startswith("wukong/")}
    kernel = {"__init__.py", "errors.py", "messages.py", "graph", "platform", "storage"}
    assert ours - {"__pycache__"} == kernel


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
    for package in ("bootstrap", "executor", "invoker", "wukong"):
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


def test_this_python_on_another_processor_gets_bytecode_too(tmp_path: Path) -> None:
    here = Target.this_machine()
    other = {"x86_64": "arm64", "arm64": "x86_64"}[here.architecture]
    zipped = build_deployment(Target.parse(here.runtime, other), tmp_path / "deployment.zip")
    sources = [name for name in names(zipped) if name.endswith(".py")]
    compiled = [name for name in names(zipped) if name.endswith(".pyc")]
    assert len(sources) == len(compiled)


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
