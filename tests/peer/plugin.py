"""A pytest plugin that puts Wukong where Dask's schedulers were, under all of their names.

Dask's own tests ask for a scheduler in every way there is: not at all, by configuration, by name
(`assert_eq` says "sync"), as a function, or by calling the function. All of these lead to one
client with worker processes. Loaded with `-p tests.peer.plugin`, before anything of Dask that
remembers a scheduler at import; with WUKONG_PEER_PLAIN set, Dask keeps its own schedulers.

For each test, a line of JSON is appended to the file that WUKONG_PEER_REPORT names. With
WUKONG_PEER_PART=2/4, every fourth test of each file is run, from the second one on.
"""

from __future__ import annotations

import json
import os
from typing import Any

import dask
import dask.base
import dask.local
import dask.multiprocessing
import dask.threaded
import pytest

import wukong

DEADLINE_SECONDS = 60.0

LOCAL_OPTIONS = {"num_workers", "pool", "chunksize", "callbacks", "cache", "initializer"}
"""What concerns a pool in the caller's process; Wukong refuses any option that is not its own."""


class Peer:
    """Runs what Dask's schedulers would have run, and counts how often it was asked."""

    def __init__(self) -> None:
        self._client = wukong.Client(
            wukong.Config(), platform="local", workers=2, deadline=DEADLINE_SECONDS
        )
        self.runs = 0

    def get(self, dsk: Any, keys: Any, **options: Any) -> Any:
        self.runs += 1
        wanted = {name: options[name] for name in options.keys() - LOCAL_OPTIONS}
        return self._client.get(dsk, keys, **wanted)

    def take_over(self) -> None:
        self._client.__enter__()
        for name in dask.base.named_schedulers:
            dask.base.named_schedulers[name] = self.get
        dask.get = dask.local.get_sync = dask.threaded.get = self.get
        # Dask takes a manager's lock for its own pool of processes, and knows that by identity.
        dask.multiprocessing.get = lambda *graph, **options: self.get(*graph, **options)
        dask.config.set(scheduler=self.get)

    def close(self) -> None:
        self._client.close()


class Reporter:
    """Notes how each test ended."""

    def __init__(self, path: str, peer: Peer | None) -> None:
        self._path = path
        self._peer = peer
        self._runs = 0
        self._story: dict[str, Any] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._runs = self._peer.runs if self._peer else 0
        self._story = {"test": nodeid, "outcome": "passed", "seconds": 0.0}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._story["seconds"] += report.duration
        if report.failed:
            self._story["outcome"] = "failed"
            self._story["why"] = _why(report)
        elif report.skipped and self._story["outcome"] == "passed":
            self._story["outcome"] = "xfailed" if hasattr(report, "wasxfail") else "skipped"

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._story["runs"] = (self._peer.runs if self._peer else 0) - self._runs
        self._write(self._story)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            story = {"test": report.nodeid, "outcome": "failed", "seconds": 0.0, "runs": 0}
            self._write({**story, "why": _why(report)})

    def _write(self, story: dict[str, Any]) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(story) + "\n")


def _why(report: pytest.TestReport | pytest.CollectReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr)[:2000]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="run what Dask marks as slow")


def pytest_configure(config: pytest.Config) -> None:
    peer = None
    # Without a disk in common, as for Wukong: what fails so with Dask alone says nothing of Wukong.
    dask.config.set({"dataframe.shuffle.method": "tasks"})
    if not os.environ.get("WUKONG_PEER_PLAIN"):
        peer = Peer()
        peer.take_over()
        config.add_cleanup(peer.close)
    if path := os.environ.get("WUKONG_PEER_REPORT"):
        config.pluginmanager.register(Reporter(path, peer))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    part, _, parts = os.environ.get("WUKONG_PEER_PART", "1/1").partition("/")
    items[:] = items[int(part) - 1 :: int(parts)]
    unwanted = {"network", "gpu"} | (set() if config.getoption("--runslow") else {"slow"})
    for item in items:
        if marks := unwanted.intersection(item.keywords):
            item.add_marker(pytest.mark.skip(reason=f"marked {', '.join(sorted(marks))}"))
