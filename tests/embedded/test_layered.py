"""Layers that `wukong deploy` builds, on the embedded AWS: functions have them, and no more."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import dask
import pytest

import wukong
from tests.embedded.looking import homes
from tests.examples.scripts import SMALL, load
from wukong.cli.deploy import Wishes, deploy
from wukong.cli.output import Output
from wukong.cli.plan import plan
from wukong.compatibility import SurroundingsError
from wukong.stack.cloudformation import Stack
from wukong.stack.embedded import EmbeddedAws

pytestmark = pytest.mark.embedded

LAYERS = ("numpy", "scipy", "dask", "scikit-learn")
WISHES = Wishes(
    stack="layered",
    parameters=("FunctionPrefix=Layered", "BucketPrefix=layered-packages"),
    layers=LAYERS,
)


def told(act: Callable[[Output, Wishes], None], wishes: Wishes) -> Any:
    """Do what a verb does; gives its JSON."""
    printed = io.StringIO()
    with redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        # What is in them counts here, and not how small they are.
        patch.setattr("wukong.packaging.layers.LEVEL", 1)
        act(Output(as_json=True), wishes)
    return json.loads(printed.getvalue())


@pytest.fixture(scope="module")
def deployed(aws: EmbeddedAws) -> Iterator[dict[str, Any]]:
    """What `wukong deploy` says, which has built the layers and attached them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        # Each environment unpacks the layers anew.
        patch.setenv("WUKONG_RUN_MAX_EXECUTORS", "2")
        yield told(deploy, WISHES)
        Stack("layered").delete()


@pytest.fixture(scope="module")
def client(deployed: dict[str, Any]) -> Iterator[wukong.Client]:
    with wukong.Client(stack="layered") as client:
        yield client


def attached() -> list[str]:
    functions: Any = boto3.client("lambda")
    live = functions.get_function_configuration(FunctionName="LayeredExecutor", Qualifier="live")
    return [layer["Arn"] for layer in live["Layers"]]


def test_the_layers_are_uploaded_published_and_attached_in_order(deployed: dict[str, Any]) -> None:
    assert deployed["layers"] == list(LAYERS)
    names = [arn.split(":")[6] for arn in attached()]
    assert names == [f"Layered-{name}" for name in LAYERS]


def test_functions_see_their_layers_and_nothing_that_is_installed_here(
    client: wukong.Client,
) -> None:
    found = client.submit(homes).result()
    assert not [file for file in found if "site-packages" in file]
    assert not [file for file in found if str(Path(wukong.__file__).parents[1]) in file]
    for name in ("numpy", "scipy", "dask", "sklearn", "yaml", "joblib"):
        loaded = [file for file in found if f"/python/{name}/" in file]
        assert loaded, name
        assert all("/layer_" in file for file in loaded)


@pytest.mark.parametrize("script", [one for one in SMALL if one != "svc_dask_ml.py"])
def test_an_example_prints_the_same_on_layers_as_under_dask(
    client: wukong.Client, script: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main = load(script).main
    with dask.config.set(scheduler="synchronous"):
        main(SMALL[script])
    under_dask = capsys.readouterr().out
    with dask.config.set(scheduler=client):
        main(SMALL[script])
    assert capsys.readouterr().out == under_dask
    assert under_dask.startswith(script.removesuffix(".py"))


def test_a_package_that_no_layer_has_is_missing_though_it_is_installed_here(
    client: wukong.Client,
) -> None:
    with pytest.raises(SurroundingsError, match="import .*pytest.*, which Executors do not have"):
        # A function of this module, which imports pytest.
        client.submit(attached).result()


def test_a_plan_names_the_layers_that_would_be_uploaded(
    deployed: dict[str, Any], tmp_path: Path
) -> None:
    few = tmp_path / "few.txt"
    few.write_text("idna\n")
    changes = told(plan, replace(WISHES, layers=(f"few={few}",)))["changes"]
    assert [line.split(":")[0] for line in changes] == ["package", "layer few"]


def test_who_does_not_say_keeps_the_layers_and_none_is_uploaded_again(
    client: wukong.Client, deployed: dict[str, Any]
) -> None:
    before = attached()
    s3: Any = boto3.client("s3")
    bucket = next(
        one["Name"]
        for one in s3.list_buckets()["Buckets"]
        if one["Name"].startswith("layered-packages")
    )

    def versions() -> list[tuple[str, str]]:
        found = s3.list_object_versions(Bucket=bucket, Prefix="layers/")["Versions"]
        return sorted((one["Key"], one["VersionId"]) for one in found)

    uploaded = versions()
    again = told(deploy, replace(WISHES, layers=None))
    assert again["layers"] == []
    assert again["release"] == {**deployed["release"], "package": again["release"]["package"]}
    assert versions() == uploaded
    assert attached() == before
