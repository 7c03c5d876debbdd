"""What the gate does with requests and with engines that fail. Engines are scripted; every wait is for an event."""

from __future__ import annotations

import asyncio
import json
import logging

import orjson
import pytest
from cutting_engine import CuttingEngine, ask, gate_before, parse_answer, plain, routes_text, told
from mock_answer import Dialect

from polyfleet.gate.keys import Pass, Used
from polyfleet.gate.keys.open_door import OpenDoor
from polyfleet.gate.pool.refused import Refused
from polyfleet.gate.relay.shared import Rules

CHAT = {"model": "m", "messages": [{"role": "user", "content": "go on"}], "max_tokens": 8, "temperature": 0}
STREAM = CHAT | {"stream": True}
DEAD = "http://127.0.0.1:9"  # the discard port: nothing listens


class CountingDoor(OpenDoor):
    """Lets everybody in and keeps what was settled."""

    def __init__(self) -> None:
        super().__init__()
        self.presented: list[str | None] = []
        self.settled: list[Used] = []

    async def admit(self, presented, model, estimate):
        self.presented.append(presented)
        if presented == "Bearer wrong":
            raise Refused(401, "invalid_api_key", "there is no such key")
        return await super().admit(presented, model, estimate)

    def settle(self, pass_: Pass, used: Used) -> None:  # noqa: ARG002
        self.settled.append(used)


def run(test):
    asyncio.run(asyncio.wait_for(test, 30))


def code_of(body: bytes) -> str:
    return orjson.loads(body)["error"]["code"]


def scripted(engine: CuttingEngine, *answers: bytes | None) -> None:
    """These answers to the first requests, then its own."""
    left = list(answers)
    engine.answer = lambda _path, _body: left.pop(0) if left else None


def test_fields_pass_untouched_and_headers_are_sanitised_both_ways(tmp_path, monkeypatch):
    monkeypatch.setenv("UPSTREAM_KEY", "sk-upstream")
    body = b'{"model":"m","messages":[],"unknown":{"a":[1,2.50,9007199254740993]},"max_tokens":3}'

    async def test():
        engine = CuttingEngine()
        scripted(engine, plain(b'{"ok":1}', extra="x-secret: sk-upstream\r\nset-cookie: a=b\r\nserver: e\r\n"))
        async with engine.serve() as url, gate_before(tmp_path, {"a": url}, key_env="UPSTREAM_KEY") as gate:
            sent = {
                "authorization": "Bearer pf-client",
                "x-api-key": "pf-client",
                "cookie": "c=d",
                "x-request-id": "my-1",
            }
            status, headers, answer = await ask(gate.port, body, headers=sent)
        assert (status, answer) == (200, b'{"ok":1}')
        assert not {"x-secret", "set-cookie", "server"} & set(headers)
        assert headers["x-request-id"] == "my-1"
        _, seen, fields = engine.requests[0]
        assert seen["authorization"] == "Bearer sk-upstream"
        assert "pf-client" not in str(seen)
        assert "cookie" not in seen
        assert "x-api-key" not in seen
        assert fields == json.loads(body)

    run(test())


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[]", 400, "invalid_json"),
        (b"{}", 400, "missing_model"),
        (b'{"model":"m"}', 400, "invalid_type"),
        (b'{"model":"m","messages":"x"}', 400, "invalid_type"),
        (b'{"model":"m","messages":[],"stream":"yes"}', 400, "invalid_type"),
        (b'{"model":"m","messages":[],"max_tokens":-1}', 400, "invalid_type"),
        (b'{"model":"no","messages":[]}', 404, "model_not_found"),
        (b"\xff\xfe", 400, "invalid_json"),
    ],
)
def test_bad_requests_get_openai_errors_and_reach_no_engine(tmp_path, body, status, code):
    async def test():
        engine = CuttingEngine()
        async with engine.serve() as url, gate_before(tmp_path, {"a": url}) as gate:
            got, headers, answer = await ask(gate.port, body)
        assert (got, code_of(answer)) == (status, code)
        assert set(orjson.loads(answer)["error"]) == {"message", "type", "param", "code"}
        assert headers["content-type"] == "application/json"
        assert not engine.requests

    run(test())


def test_an_unknown_model_names_those_there_are(tmp_path):
    async def test():
        engine = CuttingEngine()
        async with engine.serve() as url, gate_before(tmp_path, {"a": url}) as gate:
            _, _, answer = await ask(gate.port, CHAT | {"model": "gone"})
        assert "there are: m" in orjson.loads(answer)["error"]["message"]

    run(test())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "failure",
    [plain(b"{}", "500 X"), plain(b"{}", "503 X"), plain(b"{}", "429 X"), plain(b"{}", "401 X"), b"junk\r\n\r\n"],
)
def test_before_the_first_byte_a_request_goes_elsewhere(tmp_path, failure, stream):
    async def test():
        engine = CuttingEngine()
        scripted(engine, failure)
        door = CountingDoor()
        async with (
            engine.serve() as one,
            engine.serve() as two,
            gate_before(tmp_path, {"a": one, "b": two}, door=door) as gate,
        ):
            status, _, _ = await ask(gate.port, CHAT | {"stream": stream})
        assert status == 200
        assert len(engine.requests) == 2
        assert [used.status for used in door.settled] == [200]

    run(test())


def test_a_dead_address_costs_no_request(tmp_path):
    async def test():
        engine = CuttingEngine()
        async with engine.serve() as url, gate_before(tmp_path, {"a": DEAD, "b": url}) as gate:
            for _ in range(12):
                status, _, body = await ask(gate.port, STREAM)
                assert status == 200
                assert told(body).done

    run(test())


def test_a_clients_own_fault_is_told_and_not_tried_again(tmp_path):
    async def test():
        engine = CuttingEngine()
        scripted(engine, plain(b'{"error":{"message":"too long","code":400}}', "400 Bad Request"))
        async with engine.serve() as one, engine.serve() as two, gate_before(tmp_path, {"a": one, "b": two}) as gate:
            status, _, body = await ask(gate.port, STREAM)
        assert (status, orjson.loads(body)["error"]["message"]) == (400, "too long")
        assert len(engine.requests) == 1

    run(test())


def test_with_no_replica_left_the_client_is_told_so(tmp_path):
    async def test():
        door = CountingDoor()
        rules = Rules(patience_s=0.2, pause_s=0.01)
        async with gate_before(tmp_path, {"a": DEAD}, rules=rules, door=door) as gate:
            status, _, body = await ask(gate.port, STREAM)
        assert status in {502, 503}
        assert code_of(body) in {"replicas_failed", "no_replica"}
        assert [used.output_tokens for used in door.settled] == [0]

    run(test())


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_kills_two_replicas_is_named_and_risks_no_third(tmp_path, stream):
    async def test():
        engine = CuttingEngine()
        engine.answer = lambda _path, _body: b"HTTP/1.1 200 OK\r\ncontent-length: no\r\n\r\n"
        names = ("a", "b", "c")
        async with engine.serve() as url, gate_before(tmp_path, dict.fromkeys(names, url)) as gate:
            status, _, body = await ask(gate.port, CHAT | {"stream": stream})
            assert (status, code_of(body)) == (422, "request_kills_replicas")
            assert len(engine.requests) == 2
            status, _, body = await ask(gate.port, CHAT | {"stream": stream})
            assert (status, code_of(body)) == (422, "request_kills_replicas")
            assert len(engine.requests) == 2, "the same request is refused at the door"

    run(test())


@pytest.mark.parametrize(
    "field",
    [
        {"n": 2},
        {"tools": [{"type": "function"}]},
        {"response_format": {"type": "json_object"}},
        {"seed": 1, "temperature": 0.7},
    ],
)
def test_what_cannot_be_resumed_ends_with_an_error_event(tmp_path, field):
    async def test():
        engine = CuttingEngine(cut=900)
        door = CountingDoor()
        async with (
            engine.serve() as one,
            engine.serve() as two,
            gate_before(tmp_path, {"a": one, "b": two}, door=door) as gate,
        ):
            status, _, body = await ask(gate.port, STREAM | {"max_tokens": 30} | field)
        read = told(body)
        assert status == 200
        assert read.text
        assert read.error["code"] == "replica_lost"
        assert next(iter(field)).split("_")[0] in read.error["message"]
        assert not read.done
        assert read.finish is None
        assert [(used.status, used.output_tokens > 0) for used in door.settled] == [(502, True)]

    run(test())


def test_an_error_event_within_the_stream_is_a_failure_and_resumed(tmp_path):
    async def test():
        engine = CuttingEngine()
        async with engine.serve() as one, engine.serve() as two, gate_before(tmp_path, {"a": one, "b": two}) as gate:
            _, _, whole = await ask(gate.port, STREAM)
            head, _, raw = (await _engine_answer(one)).partition(b"\r\n\r\n")
            events = parse_answer(head + b"\r\n\r\n" + raw)[2].split(b"\n\n")
            broken = b"\n\n".join(events[:4]) + b'\n\ndata: {"error":{"message":"EngineCore died","code":500}}\n\n'
            scripted(
                engine,
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%b"
                % (len(broken), broken),
            )
            _, _, read = await ask(gate.port, STREAM)
        assert told(read).same == told(whole).same
        assert told(read).resumed

    run(test())


async def _engine_answer(url: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    body = orjson.dumps(STREAM | {"return_token_ids": True})
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nx-request-id: direct\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    )
    read = await reader.readuntil(b"0\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return read


def test_a_stalled_stream_goes_on_elsewhere_and_the_engine_hears_of_it(tmp_path, monkeypatch):
    async def test():
        engine = CuttingEngine(cut=700, how="silence")
        async with engine.serve() as one, engine.serve() as two, gate_before(tmp_path, {"a": one, "b": two}) as gate:
            monkeypatch.setattr(gate.pool, "stalled", lambda flight: flight.silent_s > 0.3)
            _, _, read = await ask(gate.port, STREAM)
            engine.cut = None
            _, _, whole = await ask(gate.port, STREAM)
            await engine.gone.wait()
        assert told(read).same == told(whole).same
        assert told(read).resumed

    run(test())


def test_a_client_that_goes_away_cancels_the_engine_at_once(tmp_path):
    async def test():
        engine = CuttingEngine(cut=700, how="silence")
        door = CountingDoor()
        async with engine.serve() as url, gate_before(tmp_path, {"a": url}, door=door) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            body = orjson.dumps(STREAM)
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            )
            await reader.readuntil(b"\n\n")
            writer.transport.abort()
            await engine.gone.wait()
        assert len(door.settled) == 1

    run(test())


def test_no_key_goes_on_without_the_doors_leave(tmp_path):
    async def test():
        engine = CuttingEngine()
        door = CountingDoor()
        async with engine.serve() as url, gate_before(tmp_path, {"a": url}, door=door) as gate:
            status, _, body = await ask(gate.port, CHAT, headers={"authorization": "Bearer wrong"})
        assert (status, code_of(body)) == (401, "invalid_api_key")
        assert not engine.requests
        assert not door.settled

    run(test())


@pytest.mark.parametrize("stream", [False, True])
def test_usage_is_settled_once_as_the_engine_counted(tmp_path, stream):
    async def test():
        engine = CuttingEngine()
        door = CountingDoor()
        async with (
            engine.serve() as url,
            gate_before(tmp_path, {"a": url}, door=door, usd_per_m_input=1.0, usd_per_m_output=2.0) as gate,
        ):
            _, _, body = await ask(gate.port, CHAT | {"stream": stream, "max_tokens": 5})
            assert b'"usage"' not in body or not stream, "usage was not asked for"
        (used,) = door.settled
        prompt = len("<user>go on\n<assistant>")
        assert (used.input_tokens, used.output_tokens, used.route_id) == (prompt, 5, "a")
        assert used.usd == pytest.approx((prompt * 1.0 + 5 * 2.0) / 1e6)

    run(test())


def test_a_resumed_stream_is_settled_once_and_counted(tmp_path):
    async def test():
        engine = CuttingEngine(cut=900)
        door = CountingDoor()
        async with (
            engine.serve() as one,
            engine.serve() as two,
            gate_before(tmp_path, {"a": one, "b": two}, door=door) as gate,
        ):
            await ask(gate.port, STREAM)
            text = gate.metrics.render().decode()
            gate.log.flush()
        assert [(used.resumed, used.output_tokens, used.status) for used in door.settled] == [(1, 8, 200)]
        assert "polyfleet_resumes_total" in text
        line = json.loads((tmp_path / "access.log").read_text().splitlines()[-1])
        assert line["resumed"] == 1
        assert line["output_tokens"] == 8
        assert "go on" not in (tmp_path / "access.log").read_text()

    run(test())


def test_responses_pass_through_as_events(tmp_path):
    events = (
        b'event: response.created\ndata: {"type":"response.created","response":{"error":null}}\n\n'
        b'event: response.completed\ndata: {"type":"response.completed","response":'
        b'{"usage":{"input_tokens":3,"output_tokens":4}}}\n\n'
    )

    async def test():
        engine = CuttingEngine()
        door = CountingDoor()
        scripted(
            engine,
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%b"
            % (len(events), events),
        )
        async with engine.serve() as url, gate_before(tmp_path, {"a": url}, door=door) as gate:
            status, _, body = await ask(gate.port, {"model": "m", "input": "hi", "stream": True}, path="/v1/responses")
        assert (status, body) == (200, events)
        assert [(used.input_tokens, used.output_tokens) for used in door.settled] == [(3, 4)]

    run(test())


def test_other_engines_are_retried_but_never_pretended_to_resume(tmp_path):
    async def test():
        engine = CuttingEngine(cut=900)
        async with (
            engine.serve() as one,
            engine.serve() as two,
            gate_before(tmp_path, {"a": one, "b": two}, engine="openai") as gate,
        ):
            _, _, body = await ask(gate.port, STREAM)
        assert told(body).error["code"] == "replica_lost"

    run(test())


def test_routes_change_without_dropping_a_stream(tmp_path):
    async def test():
        engine = CuttingEngine(cut=700, how="silence")
        other = CuttingEngine()
        async with engine.serve() as one, other.serve() as two, gate_before(tmp_path, {"a": one}) as gate:
            running = asyncio.ensure_future(ask(gate.port, STREAM))
            while not gate.shared.flying:
                await asyncio.sleep(0)
            (tmp_path / "routes.json").write_text(routes_text({"b": two}))
            gate.reload()
            (tmp_path / "routes.json").write_text("{broken")
            gate.reload()
            assert gate.pool.models() == ["m"]
            while (leg := next(iter(gate.shared.flying))).flight.first_s is None:
                await asyncio.sleep(0.01)
            leg.stall()
            status, _, body = await running
        assert status == 200
        assert [(one["from"], one["to"]) for one in told(body).resumed] == [("a", "b")]

    run(test())


def test_a_gate_that_ends_lets_running_answers_end_first(tmp_path):
    async def test():
        engine = CuttingEngine(Dialect())
        async with engine.serve() as url, gate_before(tmp_path, {"a": url}) as gate:
            hold = asyncio.Event()

            async def slow(reader, writer):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n")
                await hold.wait()
                writer.write(b"{}")
                await writer.drain()
                writer.close()

            server = await asyncio.start_server(slow, "127.0.0.1", 0)
            url_b = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            (tmp_path / "routes.json").write_text(routes_text({"b": url_b}))
            gate.reload()
            running = asyncio.ensure_future(ask(gate.port, CHAT))
            while not gate.shared.flying:
                await asyncio.sleep(0)
            closing = asyncio.ensure_future(gate.close())
            while gate._listener.is_serving():
                await asyncio.sleep(0)
            hold.set()
            assert (await running)[0] == 200
            await closing
            server.close()

    run(test())


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"a" * 70_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999999\r\n\r\n",
        b"PUT /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET /nope HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ],
)
def test_unsound_http_is_answered_with_a_4xx_and_no_traceback(tmp_path, raw, caplog):
    async def test():
        engine = CuttingEngine()
        async with engine.serve() as url, gate_before(tmp_path, {"a": url}) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            writer.write(raw)
            answer = await reader.read()  # the connection ends with the answer
            writer.close()
            assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer
            assert (await ask(gate.port, CHAT))[0] == 200
        assert len(engine.requests) == 1

    with caplog.at_level(logging.WARNING):
        run(test())
    assert "Traceback" not in caplog.text


def test_http_1_0_clients_get_their_stream_too(tmp_path):
    async def test():
        engine = CuttingEngine()
        async with engine.serve() as url, gate_before(tmp_path, {"a": url}) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            body = orjson.dumps(STREAM)
            writer.write(b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            read = await reader.read()
            writer.close()
        assert b"transfer-encoding" not in read
        assert told(read.partition(b"\r\n\r\n")[2]).done

    run(test())


def test_a_head_that_never_ends_is_let_go(tmp_path):
    async def test():
        engine = CuttingEngine()
        async with engine.serve() as url, gate_before(tmp_path, {"a": url}) as gate:
            object.__setattr__(gate.settings.limits, "head_s", 0.2)
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            writer.write(b"GET /health HTTP/1.1\r\nx: ")
            assert await reader.read() == b""
            writer.close()

    run(test())


def test_the_gates_own_pages(tmp_path):
    async def test():
        engine = CuttingEngine()
        async with engine.serve() as url, gate_before(tmp_path, {"a": url}) as gate:
            for path, wanted in (
                ("/health", b'"ok"'),
                ("/ready", b'"ready"'),
                ("/v1/models", b'"id":"m"'),
                ("/v1/models/m", b'"id":"m"'),
                ("/metrics", b"polyfleet_"),
                ("/openapi.json", b'"/v1/chat/completions"'),
            ):
                reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
                writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
                status, _, body = parse_answer(await reader.read())
                writer.close()
                assert status == 200
                assert wanted in body

    run(test())
