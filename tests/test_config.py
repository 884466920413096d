"""wukong-config.yaml: known keys, defaults, overrides, and clear errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from wukong.config import Config, ConfigError, load_config


def written(folder: Path, text: str) -> Path:
    file = folder / "wukong-config.yaml"
    file.write_text(text)
    return file


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(environment={}) == Config()


def test_the_keys_that_wukongs_users_know_are_read(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "aws_lambda:\n"
        "  executor_function_name: MyExecutor\n"
        "  invoker_function_name: MyInvoker\n"
        "  retrieve_function_names_from_cloudformation: true\n"
        "  aws_sam_app_name: my-app\n",
    )
    names = load_config(file, environment={}).aws_lambda
    assert names.executor_function_name == "MyExecutor"
    assert names.invoker_function_name == "MyInvoker"
    assert names.retrieve_function_names_from_cloudformation is True
    assert names.aws_sam_app_name == "my-app"


def test_the_environment_overrides_the_file_key_by_key(tmp_path: Path) -> None:
    file = written(tmp_path, "store:\n  url: valkey://file\nrun:\n  max_executors: 3\n")
    environment = {
        "WUKONG_STORE_URL": "valkey://environment",
        "WUKONG_PLATFORM": "aws",
        "WUKONG_AWS_LAMBDA_AWS_SAM_APP_NAME": "other",
    }
    config = load_config(file, environment)
    assert config.store.url == "valkey://environment"
    assert config.platform == "aws"
    assert config.aws_lambda.aws_sam_app_name == "other"
    assert config.run.max_executors == 3


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("aws_lamda: {}", "aws_lamda"),
        ("run:\n  max_executors: many", "run.max_executors"),
        ("run:\n  lease_seconds: 0", "run.lease_seconds"),
        ("platform: gcp", "platform"),
        ("store: nowhere", "store"),
        ("- a list", "expected sections"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, text: str, named: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError, match=named) as caught:
        load_config(file, environment={})
    assert str(file) in str(caught.value)


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(ConfigError, match="WUKONG_RUN_MAX_EXECUTORS"):
        load_config(environment={"WUKONG_RUN_MAX_EXECUTORS": "-1"})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_the_sample_file_and_the_document_name_every_key_with_its_default() -> None:
    import yaml

    root = Path(__file__).parents[1]
    sample = root / "examples" / "wukong-config.yaml"
    assert load_config(sample, environment={}) == Config()
    assert yaml.safe_load(sample.read_text()) == Config().model_dump()
    table = (root / "docs" / "config.md").read_text()
    for section, keys in Config().model_dump().items():
        for key in keys if isinstance(keys, dict) else [None]:
            dotted = section if key is None else f"{section}.{key}"
            variable = f"WUKONG_{dotted.replace('.', '_')}".upper()
            assert f"| `{dotted}` |" in table, dotted
            assert f"`{variable}`" in table, variable
