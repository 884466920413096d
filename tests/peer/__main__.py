"""Runs Dask's own tests on Wukong: `python -m tests.peer [array|bag|delayed|dataframe] [-k ...]`.

All suites if none is named; everything else is for pytest, except --only=TEXT (files whose path
has that text), --plain (without Wukong) and --report=FILE (each outcome as a line of JSON). Ends
with 1 if a test fails that is no exception.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.peer.suites import PACKAGES, SUITES, Outcome, files, run
from tests.peer.verdict import Exceptions, judge


@dataclass
class Asked:
    """What the command line asks for."""

    suites: list[str] = field(default_factory=list)
    only: list[str] = field(default_factory=list)
    report: Path | None = None
    plain: bool = False
    rest: list[str] = field(default_factory=list)


def main(arguments: Sequence[str]) -> int:
    asked = _asked(arguments)
    verdicts = {}
    for suite in asked.suites or SUITES:
        verdicts[suite] = verdict = judge(_followed(suite, asked), Exceptions.load(), _fails_plain)
        for one in verdict.new:
            print(f"FAILED {one.test}\n    {one.why.splitlines()[0] if one.why else ''}")
        print(f"{suite}: {verdict}", flush=True)
    if not asked.rest and not asked.only and not asked.plain:
        unused = Exceptions.load().tests.keys() - {e for v in verdicts.values() for e in v.used}
        folders = tuple(one.rpartition("/")[0] for suite in verdicts for one in SUITES[suite])
        for entry in sorted(one for one in unused if one.startswith(folders)):
            print(f"no longer an exception: {entry}")
    return 1 if any(verdict.new for verdict in verdicts.values()) else 0


def _asked(arguments: Sequence[str]) -> Asked:
    asked = Asked()
    for one in arguments:
        option, _, value = one.partition("=")
        match option:
            case "--plain":
                asked.plain = True
            case "--only":
                asked.only.append(value)
            case "--report":
                asked.report = Path(value)
            case suite if suite in SUITES:
                asked.suites.append(suite)
            case _:
                asked.rest.append(one)
    return asked


def _followed(suite: str, asked: Asked) -> list[Outcome]:
    """Run a suite's files and tell of each as it ends."""
    outcomes: list[Outcome] = []
    for path in files([suite]):
        name = str(path.relative_to(PACKAGES))
        if asked.only and not any(text in name for text in asked.only):
            continue
        began = time.monotonic()
        found = list(run([name], asked.rest, plain=asked.plain))
        failed = sum(one.outcome == "failed" for one in found)
        seconds = time.monotonic() - began
        print(f"  {name}: {len(found)} tests, {failed} failed, {seconds:.0f} s", flush=True)
        if asked.report:
            with asked.report.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(asdict(one)) + "\n" for one in found)
        outcomes += found
    return outcomes


def _fails_plain(tests: Sequence[str]) -> set[str]:
    return {one.test for one in run(tests, plain=True) if one.outcome == "failed"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
