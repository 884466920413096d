"""Overflow bundles on this machine: worker processes unpack them from a folder, as on Lambda."""

from __future__ import annotations

from pathlib import Path

import dask
import pytest

import wukong
from tests.executor.overflow import tiny_bundle
from wukong.config import Config
from wukong.packaging.build import manifest_of
from wukong.platform.overflow import BundleError, OverflowBundle


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OverflowBundle:
    """A folder as `wukong package` writes it; workers unpack into one of their own."""
    built = tiny_bundle(tmp_path / "dist")
    (tmp_path / "dist" / "wukong.json").write_bytes(manifest_of([], [built]))
    (tmp_path / "unpacked").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "unpacked"))
    return built


@pytest.fixture
def config(bundle: OverflowBundle, tmp_path: Path) -> Config:
    return Config().changed("local", workers=2, bundles=str(tmp_path / "dist"))


def places(_: int) -> tuple[str, int]:
    import tinypack  # type: ignore[import-not-found]

    return tinypack.__file__, tinypack.answer()


def test_workers_import_from_the_bundle_of_a_folder(
    config: Config, bundle: OverflowBundle, tmp_path: Path
) -> None:
    with wukong.Client(config) as client:
        assert dask.delayed(abs)(-1).compute() == 1
        assert client.last_run is not None
        assert (client.last_run.unpacking, client.last_run.unpacked) == (0, 0)
        found = dask.compute(*[dask.delayed(places)(number) for number in range(8)])
        assert client.last_run.unpacked in {0, bundle.size}
        assert client.last_run.unpacking > 0
        assert "Executors waited" in client.explain(client.last_run.summary.run)
    assert {answer for _, answer in found} == {42}
    assert all(Path(file).is_relative_to(tmp_path / "unpacked") for file, _ in found)
    assert all(bundle.digest in file for file, _ in found)


def test_a_damaged_bundle_ends_the_run_with_its_name_and_what_to_do(
    config: Config, bundle: OverflowBundle, tmp_path: Path
) -> None:
    part = tmp_path / "dist" / bundle.parts[0].key
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with wukong.Client(config):
        with pytest.raises(BundleError, match="bundle tiny: .* damaged or another file") as caught:
            dask.delayed(places)(0).compute()
    assert bundle.parts[0].digest in str(caught.value)


def test_a_worker_without_a_bundle_knows_nothing_of_it(bundle: OverflowBundle) -> None:
    with wukong.Client(platform="local", workers=1):
        with pytest.raises(ModuleNotFoundError, match="tinypack"):
            dask.delayed(places)(0).compute()
