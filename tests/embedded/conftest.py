"""The real template with the real packages live, on the embedded AWS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import wukong
from wukong.cli.deploy import template_file
from wukong.packaging.build import build_bootstrap, build_deployment
from wukong.packaging.target import Target
from wukong.stack.cloudformation import Stack
from wukong.stack.embedded import STACK, EmbeddedAws
from wukong.stack.releases import Releases


@pytest.fixture(scope="module")
def account(aws: EmbeddedAws) -> Iterator[EmbeddedAws]:
    """The embedded AWS, to which the process's environment leads."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name, value in aws.environment.items():
            patch.setenv(name, value)
        yield aws


@pytest.fixture(scope="module")
def empty_stack(account: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack without a package yet."""
    folder = tmp_path_factory.mktemp("bootstrap")
    here = Target.this_machine()
    stack = Stack(STACK)
    stack.deploy(
        template_file(),
        build_bootstrap(here, folder / "bootstrap.zip").path,
        {
            "Runtime": here.runtime,
            "Architecture": here.architecture,
            "StoreUrl": account.store_url,
            "Embedded": "true",
        },
    )
    yield stack
    stack.delete()


@pytest.fixture(scope="module")
def deployed(empty_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The stack with a live release."""
    folder = tmp_path_factory.mktemp("packages")
    releases = Releases(empty_stack)
    package = build_deployment(Target.this_machine(), folder / "deployment.zip").path
    releases.wait_until_live(releases.upload(package), 120.0)
    return empty_stack


@pytest.fixture(scope="module")
def client(deployed: Stack) -> Iterator[wukong.Client]:
    """A client of that stack."""
    with wukong.Client() as client:
        yield client
