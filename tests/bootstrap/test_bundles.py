"""Overflow bundles that a package's manifest names: looked at before anything is released."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bootstrap import bundles as own
from tests.bootstrap.account import BUCKET, FUNCTIONS, KEY, Account, manual, notification, resource
from tests.bootstrap.conftest import handler, package, zipped
from wukong.platform import overflow as theirs

PART = "bundles/dask-ml-0123456789abcdef.zip"
BODY = b"a part of a bundle"


def entry(**changes: Any) -> dict[str, Any]:
    """Give a manifest's entry of one bundle with 600 MB."""
    return {
        "name": "dask-ml",
        "python": "3.13",
        "architecture": "x86_64",
        "unpacked": 600 << 20,
        "modules": ["dask_ml"],
        "versions": {"dask-ml": "2025.1.0"},
        "parts": [{"key": PART, "digest": "0" * 64, "size": len(BODY)}],
        **changes,
    }


def bundled(marker: str, storage: int | None = 1024, **changes: Any) -> bytes:
    """Build a package with a bundle."""
    executor = {} if storage is None else {"ephemeral_storage": storage}
    manifest = {"executor": executor, "bundles": [entry(**changes)]}
    return zipped(
        {
            "executor/function.py": handler("executor", marker),
            "invoker/function.py": handler("invoker", marker),
            "wukong.json": json.dumps(manifest),
        }
    )


@pytest.fixture
def account() -> Account:
    """Give an account with a package live that has no bundle, and a part in the bucket."""
    given = Account()
    assert given.send(notification(given.upload("1")))["status"] == "CREATED"
    given.aws.s3.put(BUCKET, PART, BODY)
    return given


def settings(account: Account, name: str) -> dict[str, Any]:
    found = account.function(name, "live")
    assert found is not None
    configuration: dict[str, Any] = found["Configuration"]
    return configuration


def deployed(account: Account, body: bytes) -> dict[str, Any]:
    return account.send(notification(account.upload("", KEY, body)))


def test_a_release_with_bundles_tells_its_executor_where_they_are(account: Account) -> None:
    assert deployed(account, bundled("2"))["status"] == "CODE_CHANGED"
    executor, invoker = (settings(account, name) for name in FUNCTIONS)
    assert executor["Environment"]["Variables"]["WUKONG_BUNDLES"] == f"s3://{BUCKET}"
    assert executor["EphemeralStorage"] == {"Size": 1024}
    assert "WUKONG_BUNDLES" not in invoker["Environment"]["Variables"]


def test_the_same_release_again_changes_nothing(account: Account) -> None:
    deployed(account, bundled("2"))
    assert account.send(manual("deploy"))["status"] == "UNCHANGED"


def test_a_release_without_bundles_takes_the_variable_away_again(account: Account) -> None:
    deployed(account, bundled("2"))
    assert deployed(account, package("3"))["status"] == "CODE_CHANGED"
    assert "WUKONG_BUNDLES" not in settings(account, FUNCTIONS[0])["Environment"]["Variables"]


def refused(account: Account, body: bytes) -> dict[str, Any]:
    answer = deployed(account, body)
    assert answer["status"] == "FAILED"
    assert account.markers() == ("1", "1"), "what was live stays"
    error: dict[str, Any] = answer["error"]
    assert error["code"] == "INVALID_PACKAGE"
    return error


def test_a_part_that_is_not_in_the_bucket_is_named(account: Account) -> None:
    account.aws.s3.delete(BUCKET, PART)
    error = refused(account, bundled("2"))
    assert f"of its bundle dask-ml, s3://{BUCKET}/{PART} is not there" in error["message"]
    assert "bundles/" in error["hint"]


def test_a_part_of_another_size_is_named(account: Account) -> None:
    account.aws.s3.put(BUCKET, PART, BODY[:5])
    assert "has 5 bytes, not 18" in refused(account, bundled("2"))["message"]


@pytest.mark.parametrize("storage", [None, 855])
def test_too_little_disk_is_refused_with_the_figure(account: Account, storage: int | None) -> None:
    error = refused(account, bundled("2", storage))
    assert "600 MB unpacked, for which the Executor needs 856 MB" in error["message"]
    assert f"it would have {storage or 512}" in error["message"]
    assert "at least 856" in error["hint"]


def test_disk_that_an_event_takes_away_is_refused_too(account: Account) -> None:
    deployed(account, bundled("2"))
    answer = account.send(manual("deploy", executor={"ephemeral_storage": 512}))
    assert "needs 856 MB" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"python": "3.11"}, "python3.11 on x86_64"),
        ({"architecture": "arm64"}, "python3.13 on arm64"),
    ],
)
def test_a_bundle_for_another_python_or_processor_is_refused(
    account: Account, other: dict[str, str], told: str
) -> None:
    error = refused(account, bundled("2", **other))
    assert f"built for {told}, and the Executor runs python3.13 on x86_64" in error["message"]


@pytest.mark.parametrize(
    "changes",
    [
        {"parts": []},
        {"parts": [{"key": "deployment.zip", "digest": "0" * 64, "size": 1}]},
        {"parts": [{"key": "bundles/../x.zip", "digest": "0" * 64, "size": 1}]},
        {"parts": [{"key": PART, "digest": "abc", "size": 1}]},
        {"unpacked": 0},
        {"python": "2.7"},
        {"architecture": "sparc"},
        {"name": "a/b"},
        {"more": 1},
    ],
)
def test_an_entry_that_cannot_be_is_refused(account: Account, changes: dict[str, Any]) -> None:
    assert "wukong.json, field 'bundles" in refused(account, bundled("2", **changes))["message"]


def test_a_stack_update_keeps_the_place_of_the_bundles(account: Account) -> None:
    deployed(account, bundled("2"))
    account.send(resource("Update", Executor={"MemorySize": "4096"}))
    executor = settings(account, FUNCTIONS[0])
    assert executor["MemorySize"] == 4096
    assert executor["Environment"]["Variables"]["WUKONG_BUNDLES"] == f"s3://{BUCKET}"


def test_both_sides_count_the_same_headroom_and_read_the_same_entry() -> None:
    assert own.HEADROOM_MB == theirs.HEADROOM_MB
    manifest = json.dumps({"bundles": [entry()]}).encode()
    (bundle,) = theirs.bundles_in(manifest, "here")
    assert theirs.storage_mb([bundle]) == 856
    assert bundle.to_manifest() == entry()
