"""Overflow bundles as they are built: what layers leave, the same bytes, and the package's word."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.executor.overflow import SOURCES, tiny_bundle
from wukong.cli.layers import parted
from wukong.packaging import overflow
from wukong.packaging.build import build_deployment, manifest_of
from wukong.packaging.layers import LayerError, build, share_with_bundles
from wukong.packaging.overflow import build_bundle, check_storage, modules_in
from wukong.packaging.requirements import Wanted, wanted
from wukong.packaging.resolve import Chosen, Resolution
from wukong.packaging.target import Target
from wukong.platform.overflow import BundleError, bundles_in
from wukong.stack.releases import bundles_of

HERE = Target.this_machine()


def chosen(name: str, *requires: str) -> Chosen:
    return Chosen(name, "1.0", "0" * 64, tuple(map(Requirement, requires)))


RESOLUTION = Resolution(
    HERE,
    {
        one.name: one
        for one in (
            chosen("dask", "toolz", "pandas; extra == 'dataframe'"),
            chosen("learn", "numpy", "dask[dataframe]", "joblib"),
            chosen("joblib"),
            chosen("pandas", "numpy"),
            chosen("numpy"),
            chosen("toolz"),
        )
    },
)


def asked(name: str, *requirements: str) -> Wanted:
    return Wanted(name, tuple(map(Requirement, requirements or (name,))))


def test_layers_get_all_that_they_need_and_bundles_the_rest() -> None:
    layers, bundles = [asked("dask"), asked("numpy")], [asked("learn", "learn", "toolz", "numpy")]
    shares = share_with_bundles(layers, bundles, RESOLUTION)
    assert names_of(shares.layers) == {"dask": ["dask", "toolz"], "numpy": ["numpy"]}
    # Though the bundle names toolz itself: what a layer needs is there without it.
    assert names_of(shares.bundles) == {"learn": ["joblib", "learn", "pandas"]}


def names_of(shares: Mapping[str, Sequence[Chosen]]) -> dict[str, list[str]]:
    return {name: [one.name for one in mine] for name, mine in shares.items()}


def test_what_is_assumed_is_in_no_bundle_and_in_the_layers_all_the_same() -> None:
    layers, assumed = [asked("all", "dask", "numpy")], [asked("numpy"), asked("dask")]
    shares = share_with_bundles(layers, [asked("learn")], RESOLUTION, assumed)
    assert names_of(shares.layers) == {"all": ["dask", "numpy", "toolz"]}
    assert names_of(shares.bundles) == {"learn": ["joblib", "learn", "pandas"]}
    alone = share_with_bundles([asked("dask")], [asked("learn")], RESOLUTION, assumed)
    assert names_of(alone.layers) == {"dask": ["dask", "toolz"]}
    assert "numpy" not in names_of(alone.bundles)["learn"]


def test_a_layer_and_a_bundle_of_one_name_are_two() -> None:
    shares = share_with_bundles([asked("ml", "dask")], [asked("ml", "learn")], RESOLUTION)
    assert names_of(shares.layers) == {"ml": ["dask", "toolz"]}
    assert names_of(shares.bundles) == {"ml": ["joblib", "learn", "numpy", "pandas"]}


def test_a_bundle_for_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(LayerError, match="nothing is left for learn"):
        share_with_bundles([asked("all", "learn")], [asked("learn")], RESOLUTION)


def test_what_fits_in_no_layer_becomes_a_bundle() -> None:
    assert parted(("numpy", "dask-ml"), None) == (("numpy",), ("dask-ml",))
    assert parted(("numpy",), ("scipy,dask-ml",)) == (("numpy",), ("scipy", "dask-ml"))
    assert parted(("numpy", "scipy"), ("scipy",)) == (("numpy",), ("scipy",))


def test_a_bundle_is_built_of_wheels_beside_the_layers(tmp_path: Path) -> None:
    small = tmp_path / "small.txt"
    small.write_text("joblib\n")
    assumed = wanted([f"base={small}"])
    more = tmp_path / "more.txt"
    more.write_text("joblib\nthreadpoolctl\n")
    built = build((), HERE, tmp_path, wanted([f"over={more}"]), assumed)
    (bundle,) = built.bundles
    assert bundle.modules == {"threadpoolctl"}
    assert set(bundle.versions) == {"threadpoolctl"}
    assert bundle.python == HERE.python
    assert all((tmp_path / part.key).stat().st_size == part.size for part in bundle.parts)


def test_the_same_files_give_the_same_bytes_and_names(tmp_path: Path) -> None:
    assert tiny_bundle(tmp_path / "one") == tiny_bundle(tmp_path / "two")


def test_a_bundle_is_cut_into_parts_that_hold_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overflow, "PART_BYTES", 60)
    bundle = tiny_bundle(tmp_path)
    names = []
    for part in bundle.parts:
        with zipfile.ZipFile(tmp_path / part.key) as archive:
            names += archive.namelist()
    assert len(bundle.parts) > 2
    assert sorted(names) == sorted(SOURCES)
    assert not list(tmp_path.rglob("*.unnamed"))


def test_modules_are_those_that_one_imports() -> None:
    files = dict.fromkeys(
        (
            "pack/__init__.pyc",
            "space/inner/code.py",
            "single.py",
            "_compiled.cpython-311-x86_64-linux-gnu.so",
            "pack.libs/libother.so",
            "pack-1.0.dist-info/METADATA",
            "data/table.csv",
        ),
        Path(),
    )
    assert modules_in(files) == {"pack", "space", "single", "_compiled"}


def test_a_bundle_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="bundle empty would hold nothing"):
        build_bundle("empty", {}, {}, HERE, tmp_path)


def test_bundles_that_no_function_has_the_disk_for_together_are_refused(tmp_path: Path) -> None:
    large = replace(tiny_bundle(tmp_path), unpacked=6 << 30)
    check_storage([large])
    with pytest.raises(BundleError, match="more than the 10,240 MB that a function may") as caught:
        check_storage([large, replace(large, name="other")])
    assert "tiny 6,144 MB, other 6,144 MB" in caught.value.message


def test_bundles_that_are_too_large_are_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overflow, "MOST_STORAGE_MB", 200)
    (tmp_path / "few.txt").write_text("idna\n")
    with pytest.raises(BundleError, match="more than the 200 MB that a function may have"):
        build((), HERE, tmp_path, wanted([f"few={tmp_path / 'few.txt'}"]))


def test_the_package_names_its_bundles_and_asks_for_the_disk(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path)
    package = build_deployment(HERE, tmp_path / "deployment.zip", ["numpy"], [bundle])
    assert bundles_of(package.path) == (bundle,)
    with zipfile.ZipFile(package.path) as archive:
        manifest = archive.read("wukong.json")
    assert json.loads(manifest)["executor"] == {"layers": ["numpy"], "ephemeral_storage": 512}
    assert manifest == manifest_of(["numpy"], [bundle])
    assert bundles_in(manifest, "here") == (bundle,)


def test_a_package_without_bundles_names_none(tmp_path: Path) -> None:
    assert bundles_of(build_deployment(HERE, tmp_path / "deployment.zip").path) == ()
