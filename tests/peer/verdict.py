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
    """Known failures: for each entry of the list its kind."""

    kinds: dict[str, str]

    @classmethod
    def load(cls) -> Exceptions:
        listed = tomllib.loads((HERE / "exceptions.toml").read_text(encoding="utf-8"))
        return cls(
            {t: kind for kind in KINDS for one in listed.get(kind, []) for t in one["tests"]}
        )

    def entry(self, test: str) -> str | None:
        """Give the entry that names a test."""
        for entry in (test, test.partition("[")[0]):
            if entry in self.kinds:
                return entry
        wide = (one for one in self.kinds if one.endswith("*") and test.startswith(one[:-1]))
        return next(wide, None)


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
        entry = exceptions.entry(one.test)
        if entry is None:
            unknown.append(one)
        else:
            verdict.used.add(entry)
            verdict.outcomes[exceptions.kinds[entry]] += 1
    plain = fails_plain([one.test for one in unknown]) if unknown else set()
    verdict.outcomes["plain"] = sum(one.test in plain for one in unknown)
    verdict.new = [one for one in unknown if one.test not in plain]
    return verdict
