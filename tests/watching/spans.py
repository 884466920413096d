"""What tests share that look at spans: a provider of this process, and whether a trace is whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@contextmanager
def provider() -> Iterator[InMemorySpanExporter]:
    """Set a provider for this process, and take it away again; the API itself sets it only once."""
    exporter = InMemorySpanExporter()
    own = TracerProvider(shutdown_on_exit=False)
    own.add_span_processor(SimpleSpanProcessor(exporter))
    before = trace._TRACER_PROVIDER
    trace._TRACER_PROVIDER = own
    try:
        yield exporter
    finally:
        trace._TRACER_PROVIDER = before
        own.shutdown()


def names(spans: Sequence[ReadableSpan]) -> Counter[str]:
    return Counter(span.name for span in spans)


def assert_one_whole_trace(spans: Sequence[ReadableSpan]) -> ReadableSpan:
    """See that all spans are of one trace and that each one's parent is there; gives the root."""
    contexts = [span.get_span_context() for span in spans]
    assert all(context is not None for context in contexts)
    assert len({context.trace_id for context in contexts if context}) == 1, names(spans)
    known = {context.span_id for context in contexts if context}
    roots = [span for span in spans if span.parent is None]
    orphans = [span.name for span in spans if span.parent and span.parent.span_id not in known]
    assert not orphans
    assert len(roots) == 1, [root.name for root in roots]
    return roots[0]
