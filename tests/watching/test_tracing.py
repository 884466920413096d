"""One connected trace for each run, whoever starts whom; and nothing where nobody traces."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import wukong
from executor.function import lambda_handler as execute
from invoker.engine import Engine
from invoker.function import lambda_handler as invoke
from tests.conftest import until
from tests.executor.test_driver import fork
from tests.watching.spans import assert_one_whole_trace, names, provider
from wukong.config import RunOptions
from wukong.graph.normalise import normalise
from wukong.messages import ExecutorEvent, InvokerEvent, InvokerReport, Start, Targets
from wukong.platform import batches, surroundings, tracing
from wukong.platform.context import LocalContext, use
from wukong.platform.interface import Platform
from wukong.platform.traced import traced
from wukong.storage import open_storage
from wukong.storage.memory import MemoryStorage
from wukong.submission import Manifest

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    with provider() as exporter:
        yield exporter


@dask.delayed(pure=True)
def one() -> int:
    return 1


@dask.delayed(pure=True)
def times(value: int, i: int) -> int:
    time.sleep(0.02)
    return value * i


def product(width: int) -> Any:
    first = one()
    return dask.delayed(sum)([times(first, i) for i in range(width)])


def of_run(exporter: InMemorySpanExporter, run: str) -> list[ReadableSpan]:
    """Wait for the Executors of a run, which may end after its client, and give its spans."""

    def whole() -> list[ReadableSpan] | None:
        found = list(exporter.get_finished_spans())
        roots = [span for span in found if (span.attributes or {}).get("wukong.run") == run]
        ids = {context.trace_id for span in roots if (context := span.get_span_context())}
        mine = [span for span in found if (c := span.get_span_context()) and c.trace_id in ids]
        known = {c.span_id for span in mine if (c := span.get_span_context())}
        is_whole = all(span.parent is None or span.parent.span_id in known for span in mine)
        return mine if is_whole and names(mine)["wukong.executor"] else None

    return until(whole, "the spans of the run", 20.0)


def test_a_run_is_one_trace_from_the_client_to_its_last_executor(
    spans: InMemorySpanExporter,
) -> None:
    with wukong.Client(platform="threads", workers=3, progress=False) as client:
        assert product(8).compute() == sum(range(8))
        assert client.last_run is None or client.last_run.summary.outcome == "done"
    (run,) = [s for s in spans.get_finished_spans() if s.name == "wukong.run"]
    found = of_run(spans, str((run.attributes or {})["wukong.run"]))
    assert assert_one_whole_trace(found).name == "wukong.run"
    count = names(found)
    assert count["wukong.segment"] >= 3
    assert count["wukong.invoke"] >= 1
    assert {"wukong.store.create", "wukong.store.begin", "wukong.store.arrive_all"} <= count.keys()
    assert "wukong.store.news" not in count, "the client listens on purpose"
    segments = {
        span.attributes["wukong.segment"] for span in found if span.name == "wukong.segment"
    }
    assert len(segments) == run.attributes["wukong.segments"]


def test_what_the_application_does_around_a_run_is_its_parent(spans: InMemorySpanExporter) -> None:
    tracer = trace.get_tracer("application")
    with wukong.Client(platform="threads", workers=1, progress=False) as client:
        with tracer.start_as_current_span("job"):
            assert client.compute(product(2)).result() == 1
    found = list(spans.get_finished_spans())
    assert assert_one_whole_trace(found).name == "job"


def test_a_run_that_fails_says_so_in_its_spans(spans: InMemorySpanExporter) -> None:
    def broken() -> None:
        raise ValueError("no")

    with wukong.Client(platform="threads", workers=1, progress=False):
        with pytest.raises(ValueError, match="no"):
            dask.delayed(broken)().compute()
    until(lambda: names(spans.get_finished_spans())["wukong.executor"], "the Executor's end")
    found = {span.name: span for span in spans.get_finished_spans()}
    assert_one_whole_trace(spans.get_finished_spans())
    assert not found["wukong.run"].status.is_ok
    assert "ValueError: no" in str(found["wukong.run"].status.description)
    assert not found["wukong.segment"].status.is_ok
    assert "broken" in str(found["wukong.segment"].attributes["wukong.task"])


class Here:
    """Stands for Lambda: runs what is started as invocations of this process, one after another."""

    def __init__(self, store_url: str) -> None:
        self.settings = {"WUKONG_STORE_URL": store_url, "WUKONG_PLATFORM": "threads"}
        self.waiting: list[bytes] = []

    def run(self, handler: Any, payload: bytes) -> Any:
        context = LocalContext("request", started=time.monotonic())
        with use(self.settings):
            return handler(json.loads(payload), context)

    def run_all(self) -> None:
        while self.waiting:
            self.run(execute, self.waiting.pop(0))


class HereEngine(Engine):
    """The Invoker's engine without its connections: what it would send is put into a list."""

    def __init__(self, here: Here) -> None:
        self._here = here
        self.rate, self.counts = 2_000.0, Counter()

    def start(self, events: Sequence[Any], seconds: float) -> InvokerReport:
        self._here.waiting += [event.to_bytes() for event in events]
        return InvokerReport(len(events))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """A run of one leaf with two children in a store; hand-offs go through the Invoker."""
    url = "memory://traced"
    store = open_storage(url)
    store.create(fork("run"))
    here = Here(url)

    class Through(Platform):
        """Hands off through an Invoker, in batches that are in storage."""

        def targets(self) -> Targets:
            return Targets("E:1", "I:1")

        def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
            payload = batches.invoker_payload(events, lambda: store)
            return InvokerReport.from_event(here.run(invoke, payload))

    monkeypatch.setattr(surroundings, "platform", Through)
    monkeypatch.setattr(batches, "INLINE_LIMIT", 10)
    monkeypatch.setattr("invoker.function._engine", lambda: HereEngine(here))
    yield here
    store.drop("run")


def test_what_is_handed_off_through_the_invoker_stays_in_the_trace(
    spans: InMemorySpanExporter, here: Here
) -> None:
    begun = tracing.begin("client")
    event = ExecutorEvent("run", (Start(0),), Targets("E:1", "I:1"))
    with begun.invoking([event]) as events:
        here.waiting += [one.to_bytes() for one in events]
    here.run_all()
    begun.end()
    found = list(spans.get_finished_spans())
    assert assert_one_whole_trace(found).name == "client"
    count = names(found)
    assert count["wukong.executor"] == 2
    assert count["wukong.invoker"] == 1
    assert count["wukong.segment"] == 3
    assert count["wukong.store.get_batch"] == 1, "the batch was too large for a payload"
    by_id = {c.span_id: span for span in found if (c := span.get_span_context())}
    (second,) = [s for s in found if s.name == "wukong.executor" and s.attributes["wukong.hop"]]
    assert second.parent is not None
    above = by_id[second.parent.span_id]
    assert above.name == "wukong.invoke"
    assert above.parent is not None
    assert by_id[above.parent.span_id].name == "wukong.invoker"


def test_what_an_executor_starts_again_for_a_lost_one_stays_in_the_trace(
    spans: InMemorySpanExporter,
) -> None:
    from executor.work import Work

    started: list[ExecutorEvent] = []

    class Noting(wukong.platform.interface.Platform):  # type: ignore[misc]
        def targets(self) -> Targets:
            raise AssertionError("only clients begin runs")

        def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
            started.extend(events)
            return InvokerReport(len(events))

    event = ExecutorEvent("run", (Start(0),), Targets("E:1", "I:1"), trace=PARENT)
    with tracing.serving("wukong.executor", PARENT, {}):
        work = Work(event, MemoryStorage(), "token", Noting)
    # As the heartbeat does, in a thread of its own.
    thread = threading.Thread(target=work.start_again, args=([Start(4, 2)],))
    thread.start()
    thread.join()
    assert started[0].trace[3:35] == PARENT[3:35]
    assert started[0].trace != PARENT


def test_an_executor_that_does_not_trace_passes_the_context_on(here: Here) -> None:
    event = ExecutorEvent("run", (Start(0),), Targets("E:1", "I:1"), trace=PARENT)
    here.run(execute, event.to_bytes())
    assert [json.loads(payload)["trace"] for payload in here.waiting] == [PARENT]


def test_a_client_that_comes_back_goes_on_in_the_trace(spans: InMemorySpanExporter) -> None:
    wanted = product(4)
    with wukong.Client(platform="threads", workers=1, progress=False) as client:
        begin = client._begin(client._following)
        lost = begin(normalise(wanted.dask, wanted.__dask_keys__()), wanted.__dask_keys__())
        assert client.attach(lost.id).result() == 6
    (attached,) = [s for s in spans.get_finished_spans() if s.name == "wukong.attach"]
    assert attached.parent is not None
    above = attached.parent
    assert lost._trace.parent.startswith(f"00-{above.trace_id:032x}-{above.span_id:016x}-")


def test_spans_of_one_executor_are_bounded_and_the_rest_is_counted(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "MOST", 5)
    with wukong.Client(platform="threads", workers=1, progress=False):
        x = [dask.delayed(abs)(-i) for i in range(200)]
        assert dask.compute(*x)[3] == 3
    until(lambda: names(spans.get_finished_spans())["wukong.executor"], "an Executor's end")
    found = spans.get_finished_spans()
    executors = [span for span in found if span.name == "wukong.executor"]
    assert names(found)["wukong.segment"] <= 5 * len(executors)
    shown = names(found)["wukong.segment"]
    left_out = sum(span.attributes.get("wukong.segment.left_out", 0) for span in executors)
    (run,) = [span for span in found if span.name == "wukong.run"]
    assert shown + left_out == run.attributes["wukong.segments"]


def test_a_context_that_cannot_be_read_begins_a_trace_of_its_own(
    spans: InMemorySpanExporter,
) -> None:
    for parent in ("", "00-xyz", "01-" + PARENT[3:]):
        tracing.begin("alone", parent).end()
    assert all(span.parent is None for span in spans.get_finished_spans())


def test_the_invocations_own_span_is_linked_if_it_is_of_another_trace(
    spans: InMemorySpanExporter,
) -> None:
    tracer = trace.get_tracer("lambda")
    with tracer.start_as_current_span("invocation") as around:
        with tracing.serving("wukong.executor", PARENT, {}):
            pass
        own = f"00-{around.get_span_context().trace_id:032x}-b7ad6b7169203331-01"
        with tracing.serving("same", own, {}):
            pass
    found = {span.name: span for span in spans.get_finished_spans()}
    executor = found["wukong.executor"]
    assert executor.parent is not None
    assert f"{executor.parent.span_id:016x}" == PARENT[36:52]
    assert executor.links[0].context == around.get_span_context()
    assert found["same"].parent == around.get_span_context()


def test_without_a_provider_nothing_is_imported_and_nothing_is_wrapped() -> None:
    """In a process of its own: this one has imported the SDK."""
    program = (
        "import sys, dask, wukong\n"
        "from wukong.platform import tracing, traced\n"
        "with wukong.Client(platform='threads', workers=1, progress=False) as client:\n"
        "    assert dask.delayed(abs)(-1).compute() == 1\n"
        "    assert type(client._storage).__name__ == 'MemoryStorage'\n"
        "assert tracing.begin('x') is tracing.NOTHING\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_message_without_a_trace_is_as_it_was_and_one_with_it_is_read() -> None:
    plain = ExecutorEvent("run", (Start(3),), Targets("E:1", "I:2"))
    assert "trace" not in plain.to_event()
    told = replace(plain, trace=PARENT)
    assert ExecutorEvent.from_event(json.loads(told.to_bytes())) == told
    batch = InvokerEvent("run", (told, replace(told, starts=(Start(4),))), trace=PARENT)
    assert len(batch.to_event()["events"]) == 1, "one trace for a batch, so it is one group"
    assert InvokerEvent.from_event(json.loads(batch.to_bytes())) == batch


def test_a_manifest_of_an_earlier_release_is_read() -> None:
    from wukong.storage.serialisation import dumps, loads

    manifest = Manifest({}, {}, None, Targets("E:1", "I:1"), RunOptions(), trace=PARENT)
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    *earliest, trace, _, _ = loads(manifest.to_bytes())
    assert Manifest.from_bytes(dumps((*earliest, trace))) == manifest
    earlier = dumps(tuple(earliest))
    assert Manifest.from_bytes(earlier) == replace(manifest, trace="")


def test_a_store_is_wrapped_once_and_does_what_it_did(spans: InMemorySpanExporter) -> None:
    store = MemoryStorage()
    around = traced(store)
    assert around is traced(store)
    around.ping()
    assert not spans.get_finished_spans(), "there is no run in this thread"
    with tracing.begin("run").here():
        around.create(fork("run"))
        assert around.status("run").state is not None
        assert around.begin("run", [Start(0)], "token")[0] is not None
    count = names(spans.get_finished_spans())
    assert count == {"wukong.store.create": 1, "wukong.store.status": 1, "wukong.store.begin": 1}


EXPORTING = """
import json, os
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

file = open(os.path.join({folder!r}, str(os.getpid())), "a")
line = lambda span: span.to_json(indent=None) + "\\n"
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(out=file, formatter=line)))
trace.set_tracer_provider(provider)
"""


def test_worker_processes_are_in_the_trace(tmp_path: Path) -> None:
    """Each process has a provider as `opentelemetry-instrument` gives it one: at its very start."""
    (tmp_path / "spans").mkdir()
    (tmp_path / "sitecustomize.py").write_text(EXPORTING.format(folder=str(tmp_path / "spans")))
    program = (
        "import time, dask, wukong\n"
        "@dask.delayed\n"
        "def one(i):\n"
        "    time.sleep(0.05)\n"
        "    return i\n"
        "if __name__ == '__main__':\n"
        "    with wukong.Client(workers=2, progress=False):\n"
        "        assert dask.delayed(sum)([one(i) for i in range(12)]).compute() == 66\n"
    )
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "WUKONG_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    files = list((tmp_path / "spans").iterdir())
    found = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert len(files) == 3, "the client and two workers"
    assert len({span["context"]["trace_id"] for span in found}) == 1
    known = {span["context"]["span_id"] for span in found}
    assert [s["name"] for s in found if s["parent_id"] is None] == ["wukong.run"]
    assert {s["parent_id"] for s in found} - {None} <= known
    assert sum(span["name"] == "wukong.segment" for span in found) > 3
