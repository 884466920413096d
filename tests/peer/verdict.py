"""What the outcomes of Dask's tests say about Wukong: the known exceptions, and the figures."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.peer.suites import HERE, Outcome

KINDS = ("impossible", "chosen", "bug")


@dataclass(frozen=True)
class Exceptions:
    """Known failures: their kinds by test, or by a text in what the failure says."""

    tests: dict[str, str]
    texts: dict[str, str]

    @classmethod
    def load(cls) -> Exceptions:
        listed = tomllib.loads((HERE / "exceptions.toml").read_text(encoding="utf-8"))
        groups = [(kind, group) for kind in KINDS for group in listed.get(kind, [])]
        return cls(
            {test: kind for kind, group in groups for test in group.get("tests", [])},
            {group["text"]: kind for kind, group in groups if "text" in group},
        )

    def kind(self, failure: Outcome) -> str | None:
        entry = self.entry(failure.test)
        if entry is not None:
            return self.tests[entry]
        return next((kind for text, kind in self.texts.items() if text in failure.why), None)

    def entry(self, test: str) -> str | None:
        """Give the entry that names a test, with its parameters or without."""
        return next((one for one in (test, test.partition("[")[0]) if one in self.tests), None)


@dataclass
class Verdict:
    """The figures of a suite."""

    outcomes: Counter[str] = field(default_factory=Counter)
    computed: int = 0
    runs: int = 0
    new: list[Outcome] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    @property
    def passed(self) -> int:
        return self.outcomes["passed"]

    @property
    def failed(self) -> int:
        return self.outcomes["chosen"] + self.outcomes["bug"] + len(self.new)

    @property
    def percent(self) -> float:
        """Of the tests that a remote scheduler can pass, and Dask itself does."""
        counted = self.passed + self.failed
        return 100.0 * self.passed / counted if counted else 100.0

    def __str__(self) -> str:
        count = self.outcomes
        return (
            f"{self.passed} passed ({self.computed} of them computed, {self.runs} runs), "
            f"{self.failed} failed ({count['chosen']} on purpose, {count['bug']} known, "
            f"{len(self.new)} new), {count['impossible']} excepted, "
            f"{count['plain']} fail without Wukong, {count['xfailed']} expected to fail, "
            f"{count['skipped']} skipped: {self.percent:.2f} %"
        )


def judge(
    outcomes: Iterable[Outcome],
    exceptions: Exceptions,
    fails_plain: Callable[[Sequence[str]], set[str]],
) -> Verdict:
    """Sort outcomes; `fails_plain` tells which of the tests given to it fail without Wukong."""
    verdict = Verdict()
    unknown: list[Outcome] = []
    for one in outcomes:
        verdict.runs += one.runs
        if one.outcome != "failed":
            verdict.outcomes[one.outcome] += 1
            verdict.computed += one.outcome == "passed" and one.runs > 0
            continue
        kind = exceptions.kind(one)
        if kind is None:
            unknown.append(one)
        else:
            verdict.outcomes[kind] += 1
            verdict.used.add(exceptions.entry(one.test) or "")
    plain = fails_plain([one.test for one in unknown]) if unknown else set()
    verdict.outcomes["plain"] = sum(one.test in plain for one in unknown)
    verdict.new = [one for one in unknown if one.test not in plain]
    return verdict
