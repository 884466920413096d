"""The zips: reproducible, complete, for the target they name, and nothing else in them."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import wukong
from wukong.packaging import archive, vendor
from wukong.packaging.archive import Archive
from wukong.packaging.build import build_bootstrap, build_deployment
from wukong.packaging.target import Target, TargetError
from wukong.packaging.vendor import VendorError

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
    assert sum(size for _, size in deployment.parts) == deployment.unzipped_size


def test_what_lambdas_runtime_has_is_not_in_the_zips(
    deployment: Archive, bootstrap: Archive
) -> None:
    for zipped in (deployment, bootstrap):
        for name in names(zipped):
            assert name.split("/")[0] not in {"boto3", "botocore", "urllib3", "jmespath"}


def test_bootstrap_zip_names_every_distribution_that_its_imports_need(tmp_path: Path) -> None:
    """The list in vendor.py is kept by hand; this follows the declared requirements instead."""
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    brought = {"boto3", "botocore", "urllib3", "jmespath", "python-dateutil", "s3transfer", "six"}
    needed, todo = set(), ["aws-lambda-powertools", "requests", "pydantic"]
    while todo:
        name = todo.pop()
        if name in needed | brought:
            continue
        needed.add(name)
        for text in requires(name) or []:
            one = Requirement(text)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                todo.append(one.name.lower().replace("_", "-"))
    assert needed == set(vendor.BOOTSTRAP)


def test_the_same_input_gives_the_same_bytes_whatever_clock_mask_and_checkout(
    deployment: Archive, tmp_path: Path
) -> None:
    checkout = tmp_path / "elsewhere"
    for package in ("executor", "invoker", "wukong"):
        shutil.copytree(ROOT / package, checkout / package)
    for file in checkout.rglob("*.py"):
        os.utime(file, (1_000_000_000, 1_000_000_000))
        file.chmod(0o600)
    code = (
        "import os, sys; os.umask(0o077); sys.path.insert(0, '.')\n"
        "from pathlib import Path\n"
        "from wukong.packaging.build import build_deployment\n"
        "from wukong.packaging.target import Target\n"
        "import wukong; assert wukong.__file__.startswith(os.getcwd()), wukong.__file__\n"
        "print(build_deployment(Target.this_machine(), Path('out/deployment.zip')).sha256)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == deployment.sha256
    assert hashlib.sha256(deployment.path.read_bytes()).hexdigest() == deployment.sha256


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


def test_wheels_are_asked_for_that_the_runtimes_c_library_can_load() -> None:
    assert Target.parse("python3.11", "x86_64").platforms[0] == "manylinux_2_26_x86_64"
    assert Target.parse("python3.12", "arm64").platforms[0] == "manylinux_2_34_aarch64"
    assert Target.parse("python3.12", "arm64").platforms[-1] == "manylinux2014_aarch64"


def test_a_distribution_that_is_not_installed_is_named() -> None:
    with pytest.raises(VendorError, match="distribution no-such-thing is not installed"):
        vendor.vendor(["no-such-thing"], Target.this_machine())
