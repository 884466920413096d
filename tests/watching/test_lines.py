"""What functions log and count: lines of JSON that name their run, and metrics by CloudWatch's
rules."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from jsonschema import ValidationError

from executor.driver import Driver
from executor.function import lambda_handler as execute
from executor.work import Work
from invoker import function as invoker_function
from tests.executor.test_driver import Recorder, event, fork, single
from tests.watching.emf import assert_valid
from wukong.messages import ExecutorEvent, InvokerEvent, InvokerReport, Start, Targets
from wukong.platform import metrics, surroundings
from wukong.platform.context import LocalContext, use
from wukong.platform.lines import Lines
from wukong.storage import RunState, StorageError, open_storage
from wukong.storage.memory import MemoryStorage
from wukong.storage.signing import SignatureError

SECONDS = 0.1
EVENT = ExecutorEvent("run", (Start(0),), Targets("E:1", "I:1"))


@pytest.fixture
def on_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables by which a process knows that it runs on Lambda."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "WukongExecutor")
    monkeypatch.setenv("WUKONG_STORE_URL", "memory://lines")
    monkeypatch.setenv("WUKONG_PLATFORM", "threads")
    monkeypatch.setattr(surroundings, "platform", Recorder)
    monkeypatch.delenv("WUKONG_METRICS", raising=False)
    # The tests' own process: neither its memory nor Dask's scheduler is a function's.
    monkeypatch.setattr("executor.memory.limit_memory", lambda _: None)
    monkeypatch.setattr("executor.function._compute_nested_in_place", lambda: None)


def run_here(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Run one Executor as on Lambda, and give the lines of its log."""
    store = open_storage("memory://lines")
    store.create(fork("run"))
    execute(EVENT.to_event(), LocalContext("request-1", started=time.monotonic()))
    store.drop("run")
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_line_names_its_run_its_invocation_and_its_function(
    on_lambda: None, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run_here(capsys)
    assert [line["wukong"] for line in lines] == ["begins", "hands off", "executed"]
    for line in lines:
        assert (line["run"], line["request"]) == ("run", "request-1")
        assert line["component"] == "executor"
        assert isinstance(line["cold"], bool)
        assert abs(line["at"] / 1000 - time.time()) < 60
    assert lines[0]["lineages"] == ["0.1"]
    assert (lines[1]["executors"], lines[1]["reason"]) == (1, "fan-out")


def test_the_last_line_has_metrics_as_cloudwatch_reads_them(
    on_lambda: None, capsys: pytest.CaptureFixture[str]
) -> None:
    last = run_here(capsys)[-1]
    assert_valid(last)
    (directive,) = last["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Wukong"
    assert (last["service"], last["FunctionName"]) == ("executor", "WukongExecutor")
    assert last["Segments"] == 2
    assert last["Lineages"] == last["Started"] == 1
    assert last["BytesStored"] > 5000
    assert last["TasksFailed"] == last["Fenced"] == last["Throttled"] == last["Stopped"] == 0


def test_a_run_is_no_dimension_as_each_would_be_billed(
    on_lambda: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (directive,) = run_here(capsys)[-1]["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["service", "FunctionName"]]


def test_metrics_can_be_switched_off_and_the_line_stays(
    on_lambda: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WUKONG_METRICS", "off")
    last = run_here(capsys)[-1]
    assert "_aws" not in last
    assert last["Segments"] == 2


def test_the_schema_refuses_what_cloudwatch_would_not_read() -> None:
    good = {"_aws": {"Timestamp": 1, "CloudWatchMetrics": []}}
    assert_valid(good)
    with pytest.raises(ValidationError):
        assert_valid({"_aws": {"Timestamp": 1.5, "CloudWatchMetrics": []}})
    named = {"Namespace": "W", "Dimensions": [["F"]], "Metrics": [{"Name": "N", "Unit": "Apples"}]}
    with pytest.raises(ValidationError):
        assert_valid({"_aws": {"Timestamp": 1, "CloudWatchMetrics": [named]}, "F": "f", "N": 1})


def test_a_failing_task_is_logged_with_its_segment_and_counted(
    on_lambda: None, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = MemoryStorage()
    new = fork("run")
    storage.create(new)
    driver = Driver(
        event(Start(0)),
        storage,
        Recorder,
        lines=Lines("executor", "run", "request", cold=False),
    )
    driver._walkers[0]._spec = _raising  # type: ignore[method-assign]
    driver.execute()
    assert storage.status("run").state is RunState.FAILED
    assert driver.tally.failed == 1
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (line["wukong"], line["segment"], line["lineage"]) == ("failed", 0, "0.1")
    assert line["error"] == "ValueError: no such module"


def test_the_seconds_of_a_task_that_fails_are_seconds_in_tasks() -> None:
    storage = MemoryStorage()
    storage.create(single("run", (_fail_late, SECONDS)))
    tally = Driver(event(Start(0)), storage, Recorder).execute()
    assert tally.failed == 1
    assert tally.busy >= SECONDS


def _fail_late(seconds: float) -> None:
    time.sleep(seconds)
    raise ValueError("too late")


def _raising(*_: object) -> Any:
    raise ValueError("no such module")


def test_what_comes_too_late_is_logged_and_counted(
    on_lambda: None, capsys: pytest.CaptureFixture[str]
) -> None:
    class Late(MemoryStorage):
        """Another one takes the lineage over before this one's first output arrives."""

        def arrive_all(self, run: str, arrivals: Sequence[Any]) -> list[Any]:
            self.expire(run, [0])
            self.reap(run)
            return super().arrive_all(run, arrivals)

    storage = Late()
    storage.create(fork("run"))
    lines = Lines("executor", "run", "request", cold=False)
    tally = Driver(event(Start(0)), storage, Recorder, lines=lines).execute()
    assert (tally.fenced, tally.segments) == (1, [])
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (line["wukong"], line["segment"], line["lineage"]) == ("fenced", 0, "0.1")


def test_starts_that_were_refused_for_want_of_concurrency_are_counted() -> None:
    class Refusing(Recorder):
        throttled = 5

        def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
            self.throttled += 2
            return super().start(events)

    storage = MemoryStorage()
    storage.create(fork("run"))
    platform = Refusing()
    assert Driver(event(Start(0)), storage, lambda: platform).execute().throttled == 2


def test_threads_that_start_executors_at_once_count_a_refused_start_once() -> None:
    class Refusing(Recorder):
        throttled = 5
        both = threading.Barrier(2)

        def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
            self.both.wait(60)
            with lock:
                self.throttled += 1
            self.both.wait(60)
            return super().start(events)

    lock, platform = threading.Lock(), Refusing()
    work = Work(EVENT, MemoryStorage(), "token", lambda: platform)
    # As a walker and the heartbeat do.
    threads = [threading.Thread(target=work.start_again, args=([Start(i)],)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert work.throttled == 2


def test_an_invoker_counts_what_it_started_and_what_was_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], on_lambda: None
) -> None:
    class Throttled:
        rate = 2_000.0

        def __init__(self) -> None:
            self.counts: Counter[str] = Counter()

        def start(self, events: Sequence[Any], seconds: float) -> InvokerReport:
            self.counts.update(Started=1, Refused=1, Unsure=1, Throttled=3)
            return InvokerReport.of([None, "TooManyRequestsException"], unsure=1)

    engine = Throttled()
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "WukongInvoker")
    monkeypatch.setattr(invoker_function, "_engine", lambda: engine)
    message = InvokerEvent("run", (EVENT, EVENT))
    for _ in range(2):
        invoker_function.lambda_handler(message.to_event(), LocalContext("request-2"))
    first, last, *again = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (first["wukong"], first["run"], first["request"]) == ("invokes", "run", "request-2")
    assert_valid(last)
    told = {name: last[name] for name in ("Started", "Refused", "Unsure", "Throttled")}
    assert told == {"Started": 1, "Refused": 1, "Unsure": 1, "Throttled": 3}
    assert again[1]["Throttled"] == 3, "of this invocation alone"


def test_what_is_refused_is_said_before_the_metrics_and_counted_in_them(
    on_lambda: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryStorage, "arrive_all", _forged)
    begun, *_, refused, last = run_here(capsys)
    assert (begun["wukong"], refused["wukong"]) == ("begins", "refused")
    assert refused["why"] == "the specification of segment 1 is not signed"
    assert_valid(last)
    assert (last["wukong"], last["TasksFailed"], last["Lineages"]) == ("executed", 1, 1)


def _forged(*_: object) -> Any:
    raise SignatureError("the specification of segment 1 is not signed")


def test_an_executor_that_loses_its_store_still_counts_what_it_did(
    on_lambda: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryStorage, "arrive_all", _lost)
    store = open_storage("memory://lines")
    store.create(fork("run"))
    with pytest.raises(StorageError):
        execute(EVENT.to_event(), LocalContext("request", started=time.monotonic()))
    store.drop("run")
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert_valid(last)
    assert (last["wukong"], last["Lineages"], last["Segments"]) == ("executed", 1, 0)


def _lost(*_: object) -> Any:
    raise StorageError("the store is gone")


def test_only_a_processs_first_invocation_is_a_cold_start() -> None:
    program = (
        "from wukong.platform.lines import is_first\n"
        "assert [is_first() for _ in range(3)] == [True, False, False]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_on_this_machine_nothing_is_logged_unless_a_file_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME", raising=False)
    monkeypatch.delenv("WUKONG_LOG", raising=False)
    Lines("executor", "run", "request", cold=True).say("begins")
    file = tmp_path / "wukong.log"
    monkeypatch.setenv("WUKONG_LOG", str(file))
    with use({"WUKONG_PLATFORM": "threads"}):
        Lines("executor", "run", "request", cold=True).measure("executed", {"Segments": 1})
    assert not capsys.readouterr().out
    (line,) = map(json.loads, file.read_text().splitlines())
    assert line["Segments"] == 1
    assert "_aws" not in line, "there is no CloudWatch here"
    monkeypatch.setenv("WUKONG_METRICS", "on")
    assert_valid(metrics.embedded("executor", {"Segments": 1}))


def test_a_log_that_cannot_be_written_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WUKONG_LOG", str(tmp_path / "nowhere" / "file"))
    Lines("executor", "run", "request", cold=True).say("begins")


def test_worker_processes_log_the_same_lines_and_the_verb_shows_a_run(tmp_path: Path) -> None:
    log = tmp_path / "wukong.log"
    environment = {
        "PATH": "/usr/bin:/bin",
        "WUKONG_HOME": str(tmp_path),
        "WUKONG_LOG": str(log),
        "COLUMNS": "200",
    }
    (tmp_path / "program.py").write_text(
        "import dask, wukong\n"
        "if __name__ == '__main__':\n"
        "    with wukong.Client(workers=1, progress=False) as client:\n"
        "        for value in (-1, -2):\n"
        "            dask.delayed(abs)(value).compute()\n"
        "            print(client.last_run.summary.run if client.last_run else '')\n"
    )

    def run(*words: str) -> str:
        return subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout

    run("program.py")
    runs = list(dict.fromkeys(json.loads(line)["run"] for line in log.read_text().splitlines()))
    assert len(runs) == 2
    told = json.loads(run("-m", "wukong", "logs", runs[0], "--json"))
    lines = [json.loads(one["text"]) for one in told["events"]]
    assert {line["run"] for line in lines} == {runs[0]}
    assert [line["wukong"] for line in lines] == ["begins", "executed"]
    assert runs[1] in run("-m", "wukong", "logs", runs[1])
