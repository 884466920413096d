"""Layers: the same bytes, each distribution once, and all that an import needs and no more."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.packaging import layered
from wukong.errors import WukongError
from wukong.packaging.archive import Archive
from wukong.packaging.layers import Layer, LayerError, build, check_fit, share
from wukong.packaging.requirements import wanted
from wukong.packaging.resolve import Chosen, Resolution, resolve
from wukong.packaging.sizes import UNZIPPED_BYTES
from wukong.packaging.target import Target

ARM = Target.parse("python3.13", "arm64")
COMMON = ("numpy", "scipy", "dask")
EVERY = ("numpy", "scipy", "dask", "scikit-learn", "dataframe")
IMPORTS = {
    "numpy": "import numpy.linalg, numpy.fft, numpy.random, numpy.testing, numpy.f2py",
    "scipy": "import scipy.linalg, scipy.sparse, scipy.stats, scipy.optimize, scipy.signal",
    "dask": "import dask.array, dask.bag, dask.delayed, dask.array.linalg, dask.array.stats",
    "scikit-learn": "import sklearn.svm, sklearn.ensemble, sklearn.linear_model, sklearn.cluster",
    "dataframe": "import pandas, pyarrow, pyarrow.parquet, pyarrow.compute, dask.dataframe",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dist")


@pytest.fixture(scope="module")
def layers(folder: Path) -> dict[str, Layer]:
    """Every known layer but dask-ml, which does not fit, for this machine."""
    with pytest.MonkeyPatch.context() as patch:
        # What is in them counts here, and not how small they are.
        patch.setattr("wukong.packaging.layers.LEVEL", 1)
        built = build(wanted(EVERY), Target.this_machine(), folder).layers
    return {one.name: one for one in built}


@pytest.fixture(scope="module")
def places(
    layers: dict[str, Layer],
    deployment: Archive,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[str]:
    """What a function with all of them has on its path."""
    zips = [deployment, *(layer.archive for layer in layers.values())]
    return layered.unpacked(zips, tmp_path_factory.mktemp("function"))


def names(layer: Layer) -> list[str]:
    return zipfile.ZipFile(layer.archive.path).namelist()


def test_a_layer_has_the_same_bytes_whatever_clock_mask_settings_and_what_is_built_beside_it(
    tmp_path: Path,
) -> None:
    more = tmp_path / "more.txt"
    more.write_text("idna\n")
    first = build(wanted(COMMON), ARM, tmp_path / "first").layers
    code = (
        "import os, sys; os.umask(0o077)\n"
        "from pathlib import Path\n"
        "from wukong.packaging.layers import build\n"
        "from wukong.packaging.requirements import wanted\n"
        "from wukong.packaging.target import Target\n"
        "arm = Target.parse('python3.13', 'arm64')\n"
        f"more = wanted([*{COMMON!r}, f'more={{sys.argv[2]}}'])\n"
        "print(*(one.archive.sha256 for one in build(more, arm, Path(sys.argv[1])).layers[:-1]))"
    )
    settings = {"PYTHONHASHSEED": "7", "PYTHONOPTIMIZE": "2", "TZ": "Asia/Tokyo"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "second"), str(more)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | settings,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [one.archive.sha256 for one in first]
    shares = {layer.name: {one.name for one in layer.distributions} for layer in first}
    assert shares["numpy"] == {"numpy"}
    assert shares["dask"] >= {"dask", "pyyaml", "toolz"}
    inside = [name for layer in first for name in names(layer)]
    compiled = [name for name in inside if ".so" in name]
    assert any("aarch64" in name for name in compiled)
    assert not [name for name in compiled if "x86_64" in name]
    assert not [name for name in inside if name.endswith(".pyc")], "of another Python"


@pytest.mark.parametrize("runtime", ["python3.11", "python3.12", "python3.14"])
@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_every_runtime_and_processor_has_wheels_of_what_executors_need(
    runtime: str, architecture: str
) -> None:
    if runtime == "python3.11":
        # The newest NumPy for Lambda's older system is older than the one here.
        with pytest.raises(WukongError, match="numpy"):
            resolve(wanted(["numpy"]), Target.parse(runtime, architecture))
        return
    found = resolve(wanted(["numpy", "dask"]), Target.parse(runtime, architecture))
    assert found.chosen.keys() >= {"numpy", "dask"}


@pytest.mark.parametrize("name", EVERY)
def test_a_layer_holds_all_that_its_imports_need(name: str, places: list[str]) -> None:
    assert layered.run(places, IMPORTS[name] + layered.FOREIGN).strip() == "[]"


TOOLS = {
    "scipy.special._precompute.hyp2f1_data",
    "sklearn._build_utils.version",
}
"""Modules that build a distribution; they import what is left out."""

EVERY_MODULE = """
import importlib, io, pkgutil, sys, warnings
from contextlib import redirect_stderr, redirect_stdout
warnings.simplefilter("ignore")
lacking = set()
for package in ("numpy", "scipy", "dask", "sklearn", "pandas"):
    for one in pkgutil.walk_packages(importlib.import_module(package).__path__, package + ".",
                                     onerror=lambda name: None):
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                importlib.import_module(one.name)
        except ModuleNotFoundError as error:
            if error.name and error.name.partition(".")[0] == package:
                lacking.add(one.name)
        except (Exception, SystemExit):
            pass  # Of optional packages and other systems; it is not what was left out.
print(sorted(lacking))
"""


def test_no_module_lacks_what_was_left_out_of_its_own_package(places: list[str]) -> None:
    found = set(ast.literal_eval(layered.run(places, EVERY_MODULE).splitlines()[-1]))
    assert found <= TOOLS


def test_layers_calculate(places: list[str]) -> None:
    code = (
        "import dask.array as da, dask.bag as db, dask.dataframe as dd, numpy as np, pandas as pd\n"
        "from sklearn.svm import SVC\n"
        "dask = da.ones((8, 4), chunks=4)\n"
        "print(da.linalg.svd(da.ones((8, 4), chunks=(4, 4)))[1].compute(scheduler='sync')[0])\n"
        "print(db.from_sequence([1, 2]).sum().compute(scheduler='sync'))\n"
        "frame = dd.from_pandas(pd.DataFrame({'a': [1, 2, 3]}), npartitions=2)\n"
        "print(frame.a.sum().compute(scheduler='sync'))\n"
        "print(SVC().fit([[0.0], [1.0]], [0, 1]).predict([[1.0]])[0])\n"
    )
    printed = layered.run(places, code).split()
    assert float(printed[0]) == pytest.approx(32**0.5)
    assert printed[1:] == ["3", "6", "1"]


def test_what_is_registered_with_dask_is_found_by_its_entry_point(places: list[str]) -> None:
    code = (
        "from importlib.metadata import entry_points, version\n"
        "print([e.name for e in entry_points(group='dask.array.backends')])\n"
        "print(version('numpy'), version('scikit-learn'))\n"
    )
    printed = layered.run(places, code)
    assert printed.split("\n")[0] == "['cupy']"
    assert f"{version('numpy')} {version('scikit-learn')}" in printed


def test_no_distribution_is_in_two_layers_nor_where_the_function_has_it_anyway(
    layers: dict[str, Layer],
) -> None:
    every = [one.name for layer in layers.values() for one in layer.distributions]
    assert len(every) == len(set(every))
    assert not set(every) & {"boto3", "botocore", "urllib3", "six", "python-dateutil"}
    assert not set(every) & {"cloudpickle", "valkey"}
    files = [name for layer in layers.values() for name in names(layer) if name != "wukong.json"]
    assert len(files) == len(set(files))


def test_executors_get_the_versions_that_are_installed_here(layers: dict[str, Layer]) -> None:
    for layer in layers.values():
        for one in layer.distributions:
            assert one.version == version(one.name)


def test_what_no_run_needs_is_left_out_and_told(layers: dict[str, Layer]) -> None:
    for layer in layers.values():
        inside = names(layer)
        assert not [name for name in inside if name.endswith((".h", ".a", ".pyi", ".pyx"))]
        assert not [name for name in inside if name.endswith("/RECORD")]
        assert [name for name in inside if name.endswith("/METADATA")]
        assert [name for name in inside if ".dist-info/" in name and "LICEN" in name.upper()]
        assert layer.left_out["tests"] > 1_000_000
        assert [name for name in inside if name.endswith(".pyc")], "of this Python"
    assert not [name for name in names(layers["scipy"]) if "/tests/" in name]


def test_a_layer_says_what_it_fits_and_what_is_in_it(
    layers: dict[str, Layer], folder: Path
) -> None:
    here = Target.this_machine()
    archive = zipfile.ZipFile(layers["dask"].archive.path)
    fits = json.loads(archive.read("wukong.json"))
    assert fits == {
        "compatible_runtimes": [here.runtime],
        "compatible_architectures": [here.architecture],
    }
    record = json.loads(archive.read("python/wukong-layer-dask.json"))
    listed = {one["name"]: one for one in record["distributions"]}
    assert listed["dask"]["version"] == version("dask")
    lock = json.loads((folder / "layers.json").read_text())
    assert [one["name"] for one in lock["layers"]] == list(EVERY)
    locked = {one["name"]: one for one in lock["layers"]}["dask"]
    assert locked["sha256"] == layers["dask"].archive.sha256
    assert locked["distributions"] == record["distributions"]


def test_the_parts_of_a_layer_add_up(layers: dict[str, Layer]) -> None:
    for layer in layers.values():
        own = sum(
            entry.file_size
            for entry in zipfile.ZipFile(layer.archive.path).infolist()
            if entry.filename.rpartition("/")[2].startswith("wukong")
        )
        parts = sum(part.unzipped for part in layer.parts)
        assert parts + own == layer.archive.unzipped_size


def test_more_than_lambda_unzips_is_refused_with_what_is_largest(
    layers: dict[str, Layer], deployment: Archive
) -> None:
    few = [layers["numpy"], layers["dask"]]
    left = check_fit(deployment, few)
    used = sum(one.archive.unzipped_size for one in few) + deployment.unzipped_size
    assert left == UNZIPPED_BYTES - used
    with pytest.raises(LayerError, match=r"MB more than Lambda's 262\.1") as caught:
        check_fit(deployment, list(layers.values()))
    assert "pyarrow" in caught.value.hint
    assert caught.value.hint.index("pyarrow") < caught.value.hint.index("numpy")


def chosen(name: str, *requires: str) -> Chosen:
    return Chosen(name, "1.0", "0" * 64, tuple(map(Requirement, requires)))


@pytest.fixture
def resolution() -> Resolution:
    every = (
        chosen("numpy"),
        chosen("scipy", "numpy"),
        chosen("toolz"),
        chosen("dask", "toolz", "numpy; extra == 'array'"),
        chosen("scikit-learn", "scipy", "numpy"),
    )
    return Resolution(ARM, {one.name: one for one in every})


def owners(resolution: Resolution, *layers: str) -> Iterator[tuple[str, str]]:
    for name, mine in share(wanted(layers), resolution).items():
        for one in mine:
            yield one.name, name


def test_a_distribution_goes_into_the_layer_of_its_name_else_the_first_that_needs_it(
    resolution: Resolution,
) -> None:
    assert dict(owners(resolution, "dask", "numpy", "scikit-learn")) == {
        "dask": "dask",
        "toolz": "dask",
        "numpy": "numpy",
        "scipy": "scikit-learn",
        "scikit-learn": "scikit-learn",
    }


def test_a_layer_for_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "more.txt"
    file.write_text("numpy\nboto3\n")
    only = Resolution(ARM, {"numpy": chosen("numpy")})
    with pytest.raises(LayerError, match="nothing is left for more"):
        dict(owners(only, "numpy", f"more={file}"))
