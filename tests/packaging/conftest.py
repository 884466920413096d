"""Both zips, built once for this machine."""

from __future__ import annotations

import pytest

from wukong.packaging.archive import Archive
from wukong.packaging.build import build_bootstrap, build_deployment
from wukong.packaging.target import Target


@pytest.fixture(scope="package")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    out = tmp_path_factory.mktemp("deployment") / "deployment.zip"
    return build_deployment(Target.this_machine(), out)


@pytest.fixture(scope="package")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    out = tmp_path_factory.mktemp("bootstrap") / "bootstrap.zip"
    return build_bootstrap(Target.this_machine(), out)
