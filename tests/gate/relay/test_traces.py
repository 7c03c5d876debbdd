"""Traces as a collector sees them: what was asked, who was tried, how it ended; nothing that is the client's own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest
from collector import Collector, facts
from cutting_engine import CuttingEngine, ask, gate_before, told
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from polyfleet.errors import InputError
from polyfleet.gate.seen.traces import Traces

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STREAM = {
    "model": "m", "messages": [{"role": "user", "content": "my-secret-words"}], "max_tokens": 12, "stream": True,
    "stream_options": {"include_usage": True},
}  # fmt: skip


async def _traced(tmp_path, bodies, *, headers=None, first=None, hangs=False):
    """What the clients read, the collector, and the engines, after everything has ended."""
    engines, collector = [first or CuttingEngine(), CuttingEngine()], Collector(hangs=hangs)
    async with collector.serve() as address, engines[0].serve() as one, engines[1].serve() as other:
        urls = {"a": one, "b": other} if first else {"a": one}
        async with gate_before(tmp_path, urls, traces=Traces(address), provider="here") as gate:
            answers = [await ask(gate.port, body, headers=headers) for body in bodies]
    return answers, collector, engines


def test_a_request_and_its_attempt_are_told_below_the_clients_own_span(tmp_path):
    sent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "their=1", "x-request-id": "r-1"}
    answers, collector, engines = asyncio.run(_traced(tmp_path, [STREAM], headers=sent))
    usage = told(answers[0][2]).usage
    (request,), (attempt,) = collector.requests(), collector.attempts()
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert (attempt.trace_id, attempt.parent_span_id) == (request.trace_id, request.span_id)
    assert request.name == "chat m"
    wanted = {
        "http.request.method": "POST", "http.route": "/v1/chat/completions", "http.response.status_code": 200,
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "polyfleet.request_id": "r-1",
        "gen_ai.usage.input_tokens": usage["prompt_tokens"], "gen_ai.usage.output_tokens": usage["completion_tokens"],
    }  # fmt: skip
    assert facts(request).items() >= wanted.items()
    seen = {"polyfleet.route": "a", "polyfleet.provider": "here", "polyfleet.outcome": "ok"}
    assert facts(attempt).items() >= seen.items()
    assert 0 < facts(attempt)["polyfleet.ttft_s"] < 5
    assert request.start_time_unix_nano <= attempt.start_time_unix_nano
    assert attempt.end_time_unix_nano <= request.end_time_unix_nano
    _, headers, _ = engines[0].requests[0]
    assert headers["traceparent"] == f"00-{TRACE}-{attempt.span_id.hex()}-01"
    assert headers["tracestate"] == "their=1"
    assert (collector.paths, collector.services) == ({"/v1/traces"}, {"polyfleet-gate"})


def test_a_stream_that_goes_on_elsewhere_has_two_attempts_and_the_token_between_them(tmp_path):
    whole = CuttingEngine()
    asyncio.run(_traced(tmp_path, [STREAM], first=whole))
    cuts, resumed = range(whole.length // 3, whole.length), []
    for cut in cuts:
        answers, collector, _ = asyncio.run(_traced(tmp_path, [STREAM], first=CuttingEngine(cut=cut)))
        if resumed := told(answers[0][2]).resumed:
            break
    (request,), (before, after) = collector.requests(), collector.attempts()
    assert [facts(one)["polyfleet.outcome"] for one in (before, after)] == ["failed", "ok"]
    assert [facts(one)["polyfleet.route"] for one in (before, after)] == [resumed[0]["from"], resumed[0]["to"]]
    assert resumed[0]["at_token"] > 0
    assert facts(after)["polyfleet.resumed_at_token"] == resumed[0]["at_token"]
    assert "polyfleet.resumed_at_token" not in facts(before)
    assert (before.status.code, after.status.code) == (Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET)
    assert (request.status.code, facts(request)["polyfleet.resumed"]) == (Status.STATUS_CODE_UNSET, 1)


def test_no_key_prompt_or_answer_is_sent(tmp_path):
    whole = {**STREAM, "stream": False}
    key = {"authorization": "Bearer pf-secret-key"}
    answers, collector, _ = asyncio.run(_traced(tmp_path, [STREAM, whole], headers=key))
    text = told(answers[0][2]).text
    assert len(collector.requests()) == 2
    assert len(text) > 8
    for private in ("pf-secret-key", "my-secret-words", text, text[:8]):
        assert private.encode() not in collector.raw


@pytest.mark.parametrize(
    ("body", "status", "code", "model"),
    [
        ({"model": "no-such-" * 99, "messages": []}, 404, "model_not_found", ("no-such-" * 99)[:200]),
        (b"{", 400, "invalid_json", None),
    ],
)
def test_a_request_that_is_refused_has_a_span_and_no_attempt(tmp_path, body, status, code, model):
    _, collector, _ = asyncio.run(_traced(tmp_path, [body]))
    ((request,), attempts) = collector.requests(), collector.attempts()
    assert not attempts
    assert request.name == "chat"  # the text of a client names no span
    told_of = facts(request)
    assert (told_of["http.response.status_code"], told_of["polyfleet.error"]) == (status, code)
    assert told_of.get("gen_ai.request.model") == model
    assert request.status.code == Status.STATUS_CODE_UNSET


def test_where_no_replica_answers_the_request_is_an_error(tmp_path):
    async def play():
        collector = Collector()
        async with collector.serve() as address:
            urls = {"a": "http://127.0.0.1:9"}
            async with gate_before(tmp_path, urls, traces=Traces(address)) as gate:
                return (await ask(gate.port, STREAM))[0], collector

    status, collector = asyncio.run(play())
    (request,) = collector.requests()
    assert request.status.code == Status.STATUS_CODE_ERROR
    assert facts(request)["http.response.status_code"] == status >= 500
    assert facts(request)["error.type"] == facts(request)["polyfleet.error"] != ""
    assert len(collector.attempts()) == facts(request)["polyfleet.retries"] + 1 > 1


def test_a_client_that_does_not_want_to_be_traced_is_not(tmp_path):
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    _, collector, engines = asyncio.run(_traced(tmp_path, [STREAM], headers=headers))
    assert not collector.spans
    version, trace, _, flags = engines[0].requests[0][1]["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "00")


def test_a_broken_traceparent_begins_a_trace_of_its_own(tmp_path):
    headers = {"traceparent": "00-zz-11-01", "tracestate": "their=1"}
    _, collector, engines = asyncio.run(_traced(tmp_path, [STREAM], headers=headers))
    (request,) = collector.requests()
    assert request.parent_span_id == b""
    assert engines[0].requests[0][1]["traceparent"].split("-")[1] == request.trace_id.hex()
    assert "tracestate" not in engines[0].requests[0][1]


def test_a_collector_that_hangs_holds_up_neither_requests_nor_the_end(tmp_path):
    began = time.monotonic()
    answers, collector, _ = asyncio.run(_traced(tmp_path, [STREAM] * 20, hangs=True))
    assert all(told(body).done for _, _, body in answers)
    assert not collector.spans
    assert time.monotonic() - began < 10


def test_a_gate_without_traces_imports_nothing_of_them():
    code = "import sys, polyfleet.gate.processes; print(any(name.startswith('opentelemetry') for name in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize("address", ["127.0.0.1:4318", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(InputError, match="collector"):
        Traces(address)
