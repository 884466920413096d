"""The whole path on an embedded AWS that enforces IAM: real template, real zips, real events."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Stack, package

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def stack(new_stack: Callable[[str], Stack]) -> Stack:
    """A stack whose bucket is still empty."""
    return new_stack("Walk").create()


def test_a_stack_with_an_empty_bucket_waits_for_its_package(stack: Stack) -> None:
    assert stack.outputs["ExecutorFunctionName"] == "WalkExecutor:live"
    assert stack.outputs["InvokerFunctionName"] == "WalkInvoker:live"
    assert stack.live() == (None, None)
    assert stack.send({"action": "deploy"})["status"] == "AWAITING_PACKAGE"


def test_an_uploaded_zip_makes_both_functions_live(stack: Stack) -> None:
    version = stack.upload(package("1"))
    stack.until_live(version)
    assert (stack.marker(0), stack.marker(1)) == ("1", "1")
