"""Overflow bundles on the deployed functions: fetched from the bucket by the role, and imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import boto3
import dask
import pytest

import wukong
from tests.executor.overflow import forget_tiny, tiny_bundle
from tests.packaging.installed import installed_bundle, linked, needed
from wukong.packaging.build import build_deployment
from wukong.packaging.target import Target
from wukong.packaging.vendor import BROUGHT, DEPLOYMENT
from wukong.platform.overflow import BundleError, OverflowBundle
from wukong.stack.cloudformation import Stack
from wukong.stack.releases import Releases

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundled")


@pytest.fixture(scope="module")
def bundles(folder: Path) -> list[OverflowBundle]:
    """A tiny one, and Dask-ML with all that Executors would not have for NumPy, SciPy and Dask.

    The second only if it is installed: `make bundles` does that.
    """
    tiny = tiny_bundle(folder)
    if find_spec("dask_ml") is None:
        return [tiny]
    # PyArrow is left to this machine, as it would take a third of the time.
    names = needed("dask-ml") - needed("dask[array]", "scipy", "pyarrow")
    return [tiny, installed_bundle("dask-ml", names, folder)]


@pytest.fixture
def dask_ml(bundles: list[OverflowBundle]) -> OverflowBundle:
    if len(bundles) == 1:
        pytest.skip("Dask-ML is not installed: make bundles")
    return bundles[1]


@pytest.fixture(scope="module")
def package(folder: Path, bundles: list[OverflowBundle]) -> Path:
    return build_deployment(Target.this_machine(), folder / "deployment.zip", bundles=bundles).path


@pytest.fixture(scope="module")
def releases(empty_stack: Stack, package: Path) -> Releases:
    releases = Releases(empty_stack)
    releases.wait_until_live(releases.upload(package), 120.0)
    return releases


@pytest.fixture(scope="module")
def client(releases: Releases) -> Iterator[wukong.Client]:
    with wukong.Client() as client:
        yield client


def where(names: list[str]) -> list[str]:
    import importlib

    return [str(importlib.import_module(name).__file__) for name in names]


def function(name: str) -> dict[str, Any]:
    found: dict[str, Any] = boto3.client("lambda").get_function_configuration(
        FunctionName=name, Qualifier="live"
    )
    return found


IMPORT = """
import importlib, json, sys
bundle, allowed, modules = json.loads(sys.argv[1])
sys.path += [*allowed, bundle]
for name in modules:
    importlib.import_module(name)
homes = {m.__file__ for m in sys.modules.values() if getattr(m, "__file__", None)}
standard = sys.base_prefix
print([h for h in sorted(homes) if not h.startswith((bundle, *allowed, standard))
       or "site-packages" in h.removeprefix(bundle)])
"""


def test_the_bundle_holds_all_that_its_packages_import(
    dask_ml: OverflowBundle, folder: Path, tmp_path: Path
) -> None:
    """Nothing else is seen but it, the layers that were assumed, and what Lambda's runtime has."""
    for part in dask_ml.parts:
        with zipfile.ZipFile(folder / part.key) as archive:
            archive.extractall(tmp_path / "bundle")
    layers = linked({*needed("dask[array]", "scipy", "pyarrow"), *DEPLOYMENT}, tmp_path / "layers")
    runtime = linked(set(BROUGHT), tmp_path / "runtime")
    modules = sorted(dask_ml.modules)
    assert {"dask_ml", "sklearn", "numba", "pandas", "distributed"} <= set(modules)
    more = ["dask_ml.wrappers", "dask_ml.datasets", "sklearn.svm", "dask.dataframe"]
    told = json.dumps([str(tmp_path / "bundle"), [layers, runtime], modules + more])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", IMPORT, told],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.stdout == "[]\n", done.stderr


def test_the_release_has_the_disk_that_its_bundles_need(
    releases: Releases, bundles: list[OverflowBundle]
) -> None:
    executor = function("WukongExecutor")
    unpacked = sum(bundle.unpacked for bundle in bundles) >> 20
    assert executor["EphemeralStorage"]["Size"] >= max(512, unpacked + 256)
    assert executor["Environment"]["Variables"]["WUKONG_BUNDLES"] == f"s3://{releases.bucket}"
    assert "WUKONG_BUNDLES" not in function("WukongInvoker")["Environment"]["Variables"]


def test_a_run_that_imports_nothing_of_a_bundle_reads_none(client: wukong.Client) -> None:
    import dask.array as da

    assert da.ones((20, 20), chunks=10).sum().compute(scheduler=client) == 400
    assert client.last_run is not None
    assert client.last_run.unpacked == 0


def test_a_package_of_a_bundle_is_imported_from_it_and_the_record_tells_what_it_cost(
    client: wukong.Client, bundles: list[OverflowBundle]
) -> None:
    (place,) = dask.delayed(where)(["tinypack"]).compute(scheduler=client)
    assert bundles[0].digest in place
    record = client.last_run
    assert record is not None
    assert record.unpacked == bundles[0].size
    assert record.unpacking > 0
    assert "1 Executors waited" in client.explain(record.summary.run)
    dask.delayed(where)(["tinypack"]).compute(scheduler=client)
    assert client.last_run is not None
    assert client.last_run.unpacked == 0, "a process on the same disk had it already"


def test_the_example_with_dask_ml_runs_from_its_bundle(
    client: wukong.Client, dask_ml: OverflowBundle
) -> None:
    from tests.examples.scripts import load

    task = load("svc_dask_ml.py").build(600, 200)
    with dask.config.set(scheduler="sync"):
        here = task.compute()
    assert task.compute(scheduler=client) == here
    places = dask.delayed(where)(["dask_ml", "sklearn", "numba"]).compute(scheduler=client)
    assert all(dask_ml.digest in place for place in places)


def test_what_a_bundle_has_is_known_before_a_run_starts(
    client: wukong.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages"
    (installed / "tinypack").mkdir(parents=True)
    (installed / "tinypack" / "__init__.py").write_text("def answer():\n    return 'here'\n")
    monkeypatch.syspath_prepend(str(installed))
    import tinypack  # type: ignore[import-not-found]

    assert dask.delayed(tinypack.answer)().compute(scheduler=client) == 42
    forget_tiny()


def test_a_bundle_that_was_damaged_in_the_bucket_ends_the_run_with_what_to_do(
    client: wukong.Client, releases: Releases, package: Path, bundles: list[OverflowBundle]
) -> None:
    part = bundles[0].parts[0]
    s3 = boto3.client("s3")
    good = s3.get_object(Bucket=releases.bucket, Key=part.key)["Body"].read()
    bad = good[:-1] + bytes([good[-1] ^ 1])
    s3.put_object(Bucket=releases.bucket, Key=part.key, Body=bad)
    try:
        with pytest.raises(BundleError, match="bundle tiny: .* damaged or another file") as caught:
            dask.delayed(import_anew)(bundles[0].digest).compute(scheduler=client)
    finally:
        # What the error says to do.
        releases.upload(package)
    found = s3.get_object(Bucket=releases.bucket, Key=part.key)["Body"].read()
    assert found == good
    assert part.digest in str(caught.value)
    assert "wukong deploy" in str(caught.value)
    s3.delete_object(Bucket=releases.bucket, Key=part.key)
    with pytest.raises(BundleError, match=f"{part.key} (is|may) not"):
        dask.delayed(import_anew)(bundles[0].digest).compute(scheduler=client)


def import_anew(digest: str) -> None:
    """Import from a bundle as a process does that has none of it on its disk yet."""
    import shutil
    import sys

    from executor.overflow import Overflow

    found = next(one for one in sys.meta_path if type(one) is Overflow)
    shutil.rmtree(found._base / digest, ignore_errors=True)
    found._ready.clear()
    sys.modules.pop("tinysingle", None)
    import tinysingle  # type: ignore[import-not-found]  # noqa: F401


def test_the_executor_may_read_bundles_and_nothing_else_of_the_bucket(
    client: wukong.Client, releases: Releases
) -> None:
    read = dask.delayed(denied)(releases.bucket, releases.key).compute(scheduler=client)
    assert read == "AccessDenied"


def denied(bucket: str, key: str) -> str:
    from botocore.exceptions import ClientError

    try:
        boto3.client("s3").get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "it was read"


def test_a_package_whose_bundle_is_not_in_the_bucket_is_refused_and_named(
    releases: Releases, bundles: list[OverflowBundle], tmp_path: Path
) -> None:
    key = bundles[0].parts[0].key
    s3 = boto3.client("s3")
    s3.delete_object(Bucket=releases.bucket, Key=key)
    # By another name, as the same package again would change nothing.
    gone = replace(bundles[0], name="gone")
    package = build_deployment(
        Target.this_machine(), tmp_path / "deployment.zip", bundles=[gone]
    ).path
    s3.put_object(Bucket=releases.bucket, Key=releases.key, Body=package.read_bytes())
    failure = releases.ask({"action": "deploy"}).failure or ""
    assert key in failure
    assert "is not there" in failure
    assert releases.status().status == "LIVE", "what was live stays"
