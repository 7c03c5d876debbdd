"""OpenTelemetry traces: a span for each request, one below it for each attempt; never a key, a prompt or an answer.

Spans wait in a bounded queue and leave in a thread beside the event loop: a collector that is slow or down costs spans,
never an answer. Names follow OpenTelemetry's semantic conventions for HTTP servers and generative AI.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from multidict import CIMultiDict

from polyfleet.errors import InputError, MissingExtraError
from polyfleet.gate.pool.ask import Outcome
from polyfleet.gate.pool.flight import Flight
from polyfleet.gate.relay.asked import Kind
from polyfleet.gate.seen.access_log import AccessLine
from polyfleet.terms.route import Route

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_OPERATIONS = {Kind.CHAT: "chat", Kind.COMPLETIONS: "text_completion", Kind.EMBEDDINGS: "embeddings",
               Kind.RESPONSES: "chat"}  # fmt: skip
_CONTEXT = ("traceparent", "tracestate")
_QUEUE = 8_192
_CLOSE_S = 3.0
_COMPLAIN_EVERY_S = 60.0
_LONGEST = 200


def check_collector(endpoint: str) -> None:
    """Whether traces can be sent to an OTLP/HTTP collector at this address, such as `http://127.0.0.1:4318`.

    Raises InputError where it is no address, MissingExtraError where OpenTelemetry is not installed.
    """
    place = urlsplit(endpoint)
    if place.scheme not in {"http", "https"} or not place.hostname:
        hint = "such as http://127.0.0.1:4318"
        raise InputError("--otlp: this is no address of a collector", value=endpoint, hint=hint)
    if any(_absent(module) for module in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")):
        raise MissingExtraError("traces", "otel")


def _absent(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is None
    except ModuleNotFoundError:
        return True


class Traces:
    """Makes spans and sends them. All calls from one event loop."""

    def __init__(self, endpoint: str) -> None:
        """The sampler, the service's name and headers for the collector come from OpenTelemetry's environment
        variables. Raises as `check_collector`."""
        check_collector(endpoint)
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        logging.getLogger(OTLPSpanExporter.__module__).addFilter(_Seldom())
        named = "OTEL_SERVICE_NAME" in os.environ
        resource = Resource.create({} if named else {"service.name": "polyfleet-gate"})
        self._provider: TracerProvider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=_QUEUE))
        self.tracer = self._provider.get_tracer("polyfleet.gate")
        self.propagator = TraceContextTextMapPropagator()

    def begin(self, kind: Kind, headers: Mapping[str, str]) -> Trace:
        """A request came; its span goes below the one that its `traceparent` names."""
        return Trace(self, kind, headers)

    async def close(self) -> None:
        """Sends what waits; gives up after 3 s."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut_down, name="polyfleet-traces", daemon=True).start()
        try:
            await asyncio.wait_for(done.wait(), _CLOSE_S)
        except TimeoutError:
            logging.getLogger(__name__).warning("the collector of traces does not answer: the last spans are lost")


class _Seldom(logging.Filter):
    """Once a minute is enough to hear that the collector does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self._next_at = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        is_due = record.created >= self._next_at
        if is_due:
            self._next_at = record.created + _COMPLAIN_EVERY_S
        return is_due


class Trace:
    """The spans of one request."""

    __slots__ = ("_attempt", "_operation", "_span", "_traces")

    def __init__(self, traces: Traces, kind: Kind, headers: Mapping[str, str]) -> None:
        from opentelemetry.trace import SpanKind

        self._traces, self._operation = traces, _OPERATIONS[kind]
        parent = traces.propagator.extract({name: headers[name] for name in _CONTEXT if name in headers})
        self._span = traces.tracer.start_span(self._operation, parent, SpanKind.SERVER)
        self._attempt: Span | None = None

    def attempt(self, route: Route, headers: Mapping[str, str]) -> Mapping[str, str]:
        """An attempt begins: the headers for its engine, which name its span."""
        from opentelemetry.trace import SpanKind, set_span_in_context

        below = set_span_in_context(self._span)
        facts = {
            "polyfleet.route": route.id, "polyfleet.provider": route.provider, "polyfleet.engine": route.engine,
            "gen_ai.operation.name": self._operation, "server.address": urlsplit(route.url).hostname or "",
        }  # fmt: skip
        span = self._traces.tracer.start_span(f"attempt {route.id}", below, SpanKind.CLIENT, attributes=facts)
        self._attempt = span
        passed: CIMultiDict[str] = CIMultiDict(headers)
        for name in _CONTEXT:
            passed.popall(name, None)
        self._traces.propagator.inject(passed, set_span_in_context(span))
        return passed

    def attempted(self, outcome: Outcome, flight: Flight, status: int, at_token: int) -> None:
        """The attempt ended. `at_token`: how many tokens the client had when it began."""
        span, self._attempt = self._attempt, None
        if span is None:
            return
        facts: dict[str, Any] = {"polyfleet.outcome": outcome.value, "gen_ai.usage.output_tokens": flight.output_tokens}
        if flight.first_s is not None:
            facts["polyfleet.ttft_s"] = flight.first_s
        if status:
            facts["http.response.status_code"] = status
        if at_token:
            facts["polyfleet.resumed_at_token"] = at_token
        span.set_attributes(facts)
        if outcome not in {Outcome.OK, Outcome.CANCELLED}:
            _is_error(span, outcome.value)
        span.end()

    def end(self, line: AccessLine) -> None:
        """The request is over; `line` is what the access log says of it."""
        span = self._span
        if line.routes:  # else the model may be any text of the client's
            span.update_name(f"{self._operation} {line.model}")
        span.set_attributes(_facts(self._operation, line))
        if line.status >= 500:
            _is_error(span, line.error or str(line.status))
        span.end()


def _facts(operation: str, line: AccessLine) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "http.request.method": line.method, "http.route": line.path.split("?", 1)[0],
        "http.response.status_code": line.status, "gen_ai.operation.name": operation,
        "gen_ai.usage.input_tokens": line.input_tokens, "gen_ai.usage.output_tokens": line.output_tokens,
        "polyfleet.request_id": line.request_id, "polyfleet.retries": line.retries, "polyfleet.resumed": line.resumed,
        "polyfleet.usd": line.usd,
    }  # fmt: skip
    more = {
        "gen_ai.request.model": line.model[:_LONGEST], "polyfleet.key": line.key, "polyfleet.error": line.error,
        "polyfleet.ttft_s": line.ttft_s, "polyfleet.client_gone": line.client_gone or None,
    }  # fmt: skip
    return facts | {name: value for name, value in more.items() if value not in {None, ""}}


def _is_error(span: Span, kind: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)
