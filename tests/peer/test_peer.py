"""A quick part of Dask's own tests, and the runner's bookkeeping; `make peer` runs all of them."""

from __future__ import annotations

from tests.peer.suites import PACKAGES, Outcome, files, run
from tests.peer.verdict import Exceptions, judge

QUICK = [
    "dask/tests/test_delayed.py",
    "dask/bag/tests/test_text.py",
    "dask/array/tests/test_array_function.py",
    "dask/array/tests/test_atop.py",
    "dask/array/tests/test_stats.py",
]


def outcome(test: str, how: str = "passed", runs: int = 1, why: str = "") -> Outcome:
    return Outcome(test, how, 0.1, runs, why)


def test_no_quick_test_of_dask_fails_that_is_no_exception() -> None:
    verdict = judge(run(QUICK), Exceptions.load(), lambda _: set())
    assert not verdict.new
    assert verdict.computed > 150


def test_every_exception_is_a_test_of_the_installed_dask() -> None:
    for entry in Exceptions.load().tests:
        path, _, name = entry.partition("::")
        text = (PACKAGES / path).read_text(encoding="utf-8")
        assert f"def {name.partition('[')[0]}(" in text, entry


def test_every_suite_is_installed() -> None:
    assert all(files([suite]) for suite in ("array", "bag", "delayed", "dataframe"))


def test_only_tests_that_a_remote_scheduler_can_pass_count() -> None:
    known = Exceptions({"f::is": "impossible", "f::chosen": "chosen"}, {"disk": "impossible"})
    found = [
        *(outcome(f"f::fine[{i}]") for i in range(97)),
        outcome("f::skipped", "skipped"),
        outcome("f::is[a]", "failed"),
        outcome("f::other", "failed", why="there is no disk"),
        outcome("f::chosen", "failed"),
        outcome("f::dask", "failed"),
        outcome("f::new", "failed"),
    ]
    verdict = judge(found, known, lambda tests: {"f::dask"}.intersection(tests))
    assert [one.test for one in verdict.new] == ["f::new"]
    assert (verdict.passed, verdict.failed) == (97, 2)
    assert round(verdict.percent, 1) == 98.0


def test_tests_that_never_ran_because_pytest_ended_are_a_failure() -> None:
    (only,) = run(["dask/no/such/test_file.py"])
    assert only.outcome == "failed"
