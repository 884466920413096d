"""Layers in the verbs: which ones a deployment gets, what `package` prints, and clear errors."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli import wukong
from wukong.cli.layers import (
    NEEDED,
    LayersTwiceError,
    deployed_references,
    names_of,
    references_of,
)
from wukong.config import Packages, load_config
from wukong.packaging.layers import LayerError

ARN = "arn:aws:lambda:eu-west-1:123456789012:layer:theirs:3"


@pytest.fixture(autouse=True)
def on_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


def references(
    said: tuple[str, ...] | None = None,
    given: dict[str, str] | None = None,
    stack: str | None = None,
    before: tuple[str, ...] | None = None,
    *,
    has_package: bool = False,
) -> tuple[str, ...]:
    parameters = [{"ParameterKey": "ExecutorLayers", "ParameterValue": stack or ""}]
    found: dict[str, Any] | None = {"Parameters": parameters} if stack is not None else None
    return deployed_references(said, given or {}, found, before, has_package=has_package)


def test_the_option_goes_before_the_configuration() -> None:
    packages = Packages(layers=("numpy",))
    assert references_of(["dask,scipy"], packages) == ("dask", "scipy")
    assert references_of(None, packages) == ("numpy",)
    assert references_of([""], packages) == ()
    assert references_of(None, Packages()) is None


def test_the_configuration_names_layers_in_a_list_or_by_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "wukong-config.yaml"
    file.write_text("packages:\n  runtime: python3.13\n  layers: [numpy, ml=r.txt]\n")
    assert load_config(file, {}).packages.layers == ("numpy", "ml=r.txt")
    variable = {"WUKONG_PACKAGES_LAYERS": "numpy,dask"}
    assert load_config(file, variable).packages.layers == ("numpy", "dask")
    assert load_config(file, variable).packages.runtime == "python3.13"


def test_without_a_word_executors_on_aws_get_what_they_cannot_do_without() -> None:
    assert references() == NEEDED == ("numpy", "dask")
    assert references(stack="") == NEEDED


def test_who_has_layers_or_wants_none_gets_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert references(()) == ()
    assert references(stack=ARN) == ()
    assert references(given={"ExecutorLayers": ARN}) == ()
    assert references(has_package=True) == ()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert references() == (), "the embedded AWS has what this machine has"
    assert references(("scipy",)) == ("scipy",)


def test_a_deployment_that_does_not_say_keeps_the_layers_of_the_one_before() -> None:
    assert references(stack="", before=("numpy", "scipy", "dask")) == ("numpy", "scipy", "dask")
    assert references(stack="", before=()) == ()
    assert references(("dask",), stack="", before=("numpy",)) == ("dask",)
    assert references(given={"ExecutorLayers": ARN}, stack="", before=("numpy",)) == ()


def test_taking_a_stacks_own_layers_away_gives_it_the_needed_ones() -> None:
    assert references(given={"ExecutorLayers": ""}, stack=ARN) == NEEDED


def test_layers_that_are_named_in_two_places_are_refused() -> None:
    with pytest.raises(LayersTwiceError, match="ExecutorLayers"):
        references(("numpy",), {"ExecutorLayers": ARN})
    with pytest.raises(LayersTwiceError, match="a package is given"):
        references(("numpy",), has_package=True)


def test_more_than_five_layers_are_refused_with_their_names() -> None:
    assert names_of(["ml=r.txt", ARN]) == ("ml", ARN)
    with pytest.raises(LayerError, match=r"6 layers are too many: .*theirs:3"):
        names_of(["numpy", "scipy", "dask", "dataframe", "dask-ml", ARN])


def test_package_builds_layers_and_names_them_in_the_packages_manifest(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("idna\n")
    words = ("package", "--layers", f"few=few.txt,{ARN}", "--json")
    done = wukong(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [one["name"] for one in told["layers"]] == ["few"]
    (part,) = told["layers"][0]["distributions"]
    assert part["name"] == "idna"
    assert told["layers"][0]["unzipped_bytes"] > part["unzipped_bytes"] > 0
    with zipfile.ZipFile(tmp_path / "dist" / "deployment.zip") as package:
        manifest = json.loads(package.read("wukong.json"))
    assert manifest == {"executor": {"layers": ["few", ARN]}}
    assert "python/idna/" in str(zipfile.ZipFile(tmp_path / "dist/layers/few.zip").namelist())
    assert json.loads((tmp_path / "dist/layers.json").read_text())["layers"][0]["name"] == "few"
    assert "are left" in done.stderr


def test_package_builds_bundles_and_leaves_none_of_an_earlier_time(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("idna\n")
    done = wukong("package", "--here", "--bundle", "few=few.txt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = [line.split() for line in done.stdout.splitlines() if line.split()[1:2] == ["idna"]]
    manifest = tmp_path / "dist" / "wukong.json"
    with zipfile.ZipFile(tmp_path / "dist" / "deployment.zip") as package:
        assert manifest.read_bytes() == package.read("wukong.json")
    (bundle,) = json.loads(manifest.read_text())["bundles"]
    assert (bundle["name"], bundle["versions"]) == ("few", {"idna": row[2]})
    assert float(row[3]) == pytest.approx(bundle["unpacked"] / 1e6, abs=0.06)
    for part in bundle["parts"]:
        assert (tmp_path / "dist" / part["key"]).stat().st_size == part["size"]
    assert wukong("package", cwd=tmp_path).returncode == 0
    assert not manifest.exists()


def test_a_package_without_layers_has_no_manifest(tmp_path: Path) -> None:
    assert wukong("package", cwd=tmp_path).returncode == 0
    with zipfile.ZipFile(tmp_path / "dist" / "deployment.zip") as package:
        assert "wukong.json" not in package.namelist()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("nmpy", "there is no layer 'nmpy'; did you mean numpy"),
        ("ml=none.txt", "none.txt: cannot be read"),
        ("numpy,numpy=r.txt", "'numpy' is asked for twice"),
    ],
)
def test_what_cannot_be_a_layer_is_one_message(layers: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("numpy\n")
    done = wukong("package", "--layers", layers, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "dist").exists()
