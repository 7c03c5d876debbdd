"""What the access log says of requests that did not end well."""

from __future__ import annotations

import asyncio
import json

from cutting_engine import CuttingEngine, ask, gate_before

from polyfleet.gate.keys.open_door import OpenDoor
from polyfleet.gate.pool.refused import Refused

STREAM = {"model": "m", "messages": [{"role": "user", "content": "go on"}], "max_tokens": 8, "stream": True}


class FullDoor(OpenDoor):
    """Lets nobody in."""

    async def admit(self, *_):
        raise Refused(429, "rate_limit_exceeded", "at its limit", 1.0)


def _lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]


async def _ask_once(tmp_path, body, door=None, headers=None):
    engine = CuttingEngine()
    async with engine.serve() as url, gate_before(tmp_path, {"a": url}, door=door) as gate:
        return (await ask(gate.port, body, headers=headers))[0]


def test_a_refused_request_is_logged_with_its_model_and_the_code_that_the_client_got(tmp_path):
    assert asyncio.run(_ask_once(tmp_path, STREAM, FullDoor())) == 429
    (line,) = _lines(tmp_path)
    assert (line["model"], line["status"], line["error"]) == ("m", 429, "rate_limit_exceeded")


def test_a_body_that_is_too_large_is_logged_as_the_client_saw_it(tmp_path):
    async def play():
        engine = CuttingEngine()
        async with engine.serve() as url, gate_before(tmp_path, {"a": url}) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 999999999999\r\n\r\n")
            status = (await reader.readline()).split()[1]
            writer.close()
            return int(status)

    assert asyncio.run(play()) == 413
    (line,) = _lines(tmp_path)
    assert (line["status"], line["error"]) == (413, "body_too_large")


def test_a_client_that_went_away_is_logged_with_its_model_and_route(tmp_path):
    async def play():
        engine = CuttingEngine(cut=900, how="silence")
        async with engine.serve() as url, gate_before(tmp_path, {"a": url}) as gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
            body = json.dumps(STREAM).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await reader.readuntil(b"\r\n\r\n")
            writer.close()
            await asyncio.wait_for(engine.gone.wait(), 10)

    asyncio.run(play())
    (line,) = _lines(tmp_path)
    assert (line["model"], line["routes"], line["client_gone"]) == ("m", ["a"], True)


def test_a_stream_that_broke_off_is_logged_with_the_error_that_it_ended_with(tmp_path):
    async def play():
        engine = CuttingEngine(cut=900)
        asked = {**STREAM, "n": 2}
        async with engine.serve() as url, gate_before(tmp_path, {"a": url}) as gate:
            return (await ask(gate.port, asked))[2]

    assert b"replica_lost" in asyncio.run(play())
    (line,) = _lines(tmp_path)
    assert (line["status"], line["error"]) == (502, "replica_lost")
