"""Spans of a run, where this process has an OpenTelemetry provider; elsewhere nothing at all.

    run ─> invoke ─> Invoker ─> Executor ─┬─> segment
    client                                ├─> store.arrive_all
                                          └─> invoke ─> Executor ─> ...

Nothing is imported for it: whoever sets a provider (an application, `opentelemetry-instrument`, the
ADOT layer) has imported the API, and who has not wants no spans. The context travels in messages
as W3C's `traceparent`; `tracestate` does not.
https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from wukong import __version__
from wukong.messages import ExecutorEvent
from wukong.platform.context import inside_function

MOST = 200
"""So many spans of one name a span has below it; the rest is counted in its attributes. A run of
micro-tasks would otherwise make more spans than it has work to do."""

FLUSH_MILLISECONDS = 5_000

INVOKE = "wukong.invoke"

_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")

Attributes = Mapping[str, str | int | float | bool]


class Untraced:
    """What there is of a span where nobody has set a provider: nothing."""

    is_on = False
    parent = ""
    """What makes others its children: a `traceparent`."""

    @contextmanager
    def here(self) -> Iterator[None]:
        """Make it the span of this thread; what raises out of that ends it."""
        yield

    @contextmanager
    def invoking(self, events: Sequence[ExecutorEvent]) -> Iterator[Sequence[ExecutorEvent]]:
        """Give events that make the Executors' spans children of one that lasts as long as this."""
        yield events

    def add(
        self, name: str, begun: int, ended: int, attributes: Attributes, error: str = ""
    ) -> None:
        """Add a span below it, from one time to another, in nanoseconds since 1970."""

    def note(self, attributes: Attributes) -> None:
        """Set attributes."""

    def end(self, error: BaseException | None = None) -> None:
        """End it, if it has not ended."""


NOTHING = Untraced()


class Traced(Untraced):
    """One span, and what is below it."""

    is_on = True

    def __init__(
        self, api: Any, name: str, parent: str, attributes: Attributes, kind: str = "INTERNAL"
    ) -> None:
        self._api = api
        self._tracer = api.get_tracer("wukong", __version__)
        context, links = _place(api, parent)
        self._span = self._tracer.start_span(
            name, context, kind=api.SpanKind[kind], attributes=attributes, links=links
        )
        self._context = api.set_span_in_context(self._span)
        self.parent = _written(self._span)
        self._lock = threading.Lock()
        self._below: Counter[str] = Counter()
        self._is_over = False

    @contextmanager
    def here(self) -> Iterator[None]:
        """Make it the span of this thread; what raises out of that ends it."""
        token = _current.set(self)
        try:
            with self._api.use_span(
                self._span, record_exception=False, set_status_on_exception=False
            ):
                yield
        except BaseException as error:
            self.end(error)
            raise
        finally:
            _current.reset(token)

    @contextmanager
    def invoking(self, events: Sequence[ExecutorEvent]) -> Iterator[Sequence[ExecutorEvent]]:
        """Give events that make the Executors' spans children of one that lasts as long as this."""
        if not events or not self._has_room(INVOKE):
            yield [replace(event, trace=self.parent) for event in events]
            return
        attributes = {"wukong.executors": len(events), "wukong.reason": str(events[0].reason)}
        kind = self._api.SpanKind.PRODUCER
        with self._tracer.start_as_current_span(INVOKE, self._context, kind, attributes) as span:
            parent = _written(span)
            yield [replace(event, trace=parent) for event in events]

    def add(
        self, name: str, begun: int, ended: int, attributes: Attributes, error: str = ""
    ) -> None:
        """Add a span below it, from one time to another, in nanoseconds since 1970."""
        if not self._has_room(name):
            return
        span = self._tracer.start_span(name, self._context, attributes=attributes, start_time=begun)
        if error:
            span.set_status(self._api.StatusCode.ERROR, error)
        span.end(ended)

    def note(self, attributes: Attributes) -> None:
        """Set attributes."""
        self._span.set_attributes(attributes)

    def end(self, error: BaseException | None = None) -> None:
        """End it, if it has not ended."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            self._span.set_attributes(
                {f"{name}.left_out": n - MOST for name, n in self._below.items() if n > MOST}
            )
        if error is not None:
            self._span.set_status(self._api.StatusCode.ERROR, f"{type(error).__name__}: {error}")
        self._span.end()

    def _has_room(self, name: str) -> bool:
        with self._lock:
            self._below[name] += 1
            return self._below[name] <= MOST


_current: ContextVar[Untraced] = ContextVar("wukong_trace", default=NOTHING)


def current() -> Untraced:
    """Give the span of this thread."""
    return _current.get()


def begin(
    name: str, parent: str = "", attributes: Attributes | None = None, kind: str = "INTERNAL"
) -> Untraced:
    """Begin a span; nothing without a provider.

    Parameters
    ----------
    parent
        A `traceparent` from a message; empty, or not readable, for what is current in this thread.
    kind
        Of `opentelemetry.trace.SpanKind`.
    """
    api = _api()
    return NOTHING if api is None else Traced(api, name, parent, attributes or {}, kind)


@contextmanager
def serving(name: str, parent: str, attributes: Attributes) -> Iterator[Untraced]:
    """Have a span for one invocation of a function, and see that it is exported before its end.

    Lambda stops the process between invocations, and a worker process is ended with its client.
    """
    trace = begin(name, parent, attributes, "CONSUMER")
    try:
        with trace.here():
            yield trace
    finally:
        trace.end()
        if trace.is_on and not inside_function():
            flush()


def flush() -> None:
    """Have what has ended exported, if the provider can be asked to."""
    api = _api()
    force = getattr(api.get_tracer_provider(), "force_flush", None) if api is not None else None
    if force is not None:
        force(FLUSH_MILLISECONDS)


def is_on() -> bool:
    """Tell whether this process has a provider."""
    return _api() is not None


def _api() -> Any | None:
    """Give `opentelemetry.trace`, if somebody has imported it and set a provider."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    nothing = (api.ProxyTracerProvider, api.NoOpTracerProvider)
    return None if isinstance(api.get_tracer_provider(), nothing) else api


def _place(api: Any, parent: str) -> tuple[Any, Sequence[Any]]:
    """Say where a span belongs: below what the message names, with a link to what is around it.

    On Lambda, what is around it is the invocation's own span. Where both are of one trace, that one
    is the nearer parent.
    """
    found = _PARENT.fullmatch(parent)
    if found is None:
        return None, ()
    trace, span, flags = (int(part, 16) for part in found.groups())
    remote = api.SpanContext(trace, span, is_remote=True, trace_flags=api.TraceFlags(flags))
    around = api.get_current_span().get_span_context()
    if around.is_valid and around.trace_id == trace:
        return None, ()
    links = [api.Link(around)] if around.is_valid else []
    return api.set_span_in_context(api.NonRecordingSpan(remote)), links


def _written(span: Any) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
