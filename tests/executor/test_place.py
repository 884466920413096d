"""Where an Executor says that it runs."""

from __future__ import annotations

import os

from executor.place import place_of
from wukong.platform.context import use


def test_on_lambda_it_is_a_version_of_a_function_in_an_environment() -> None:
    here = {
        "AWS_LAMBDA_FUNCTION_NAME": "WukongExecutor",
        "AWS_LAMBDA_FUNCTION_VERSION": "7",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3008",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[7]abc",
    }
    with use(here):
        place = place_of("request")
    assert (place.function, place.memory_mb) == ("WukongExecutor:7", 3008)
    assert (place.process, place.request) == ("2026/01/01/[7]abc", "request")


def test_elsewhere_it_is_a_process_which_counts_its_executors_and_gets_older() -> None:
    with use({}):
        first, second = place_of("a"), place_of("b")
    assert first.process == str(os.getpid())
    assert second.earlier == first.earlier + 1
    assert 0 < first.born <= second.born
