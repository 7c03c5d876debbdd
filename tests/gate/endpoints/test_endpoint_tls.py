"""The way to a host: TLS that is verified, its path, its key, the right Host. The oracle is what the host saw."""

from __future__ import annotations

import asyncio
import time

import openai
import orjson
import pytest
import uvloop
from cutting_engine import ask, told
from mock_host import CHAT, STREAM, WORDS, MockHost, gate_of, refusal, route, run

from polyfleet.gate.relay.engine_request import host_of, upstream_path


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_host_with_tls_a_path_and_a_key_answers_the_openai_client(tmp_path, monkeypatch, authority, loop):
    ca, certificates = authority
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    monkeypatch.setenv("HOST_KEY", "sk-host")

    async def test():
        host = MockHost(key="sk-host", path="/inference/v1", tls=certificates["right"])
        async with host.serve() as url:
            one = route("hosted", url, path="/inference/v1", key_env="HOST_KEY", upstream_model="host-model")
            async with (
                gate_of(tmp_path, one) as gate,
                openai.AsyncOpenAI(
                    base_url=f"http://127.0.0.1:{gate.port}/v1", api_key="pf-x", max_retries=0
                ) as client,
            ):
                whole = await client.chat.completions.create(**CHAT)
                chunks = [piece async for piece in await client.chat.completions.create(**STREAM)]
        assert whole.choices[0].message.content == "".join(WORDS)
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "".join(WORDS)
        assert {whole.model, *(c.model for c in chunks)} == {"chat"}
        paths, headers, fields = zip(*host.seen, strict=True)
        assert set(paths) == {"/inference/v1/chat/completions"}
        assert {seen["authorization"] for seen in headers} == {"Bearer sk-host"}
        assert {seen["host"] for seen in headers} == {url.partition("://")[2]}
        assert {asked["model"] for asked in fields} == {"host-model"}
        assert host.names == ["localhost"], "one handshake for both requests, with the name of the host in it"

    loop(asyncio.wait_for(test(), 30))


@pytest.mark.parametrize("wrong", ["wrong-name", "unknown"])
def test_a_wrong_certificate_is_a_fault_of_its_route_and_no_key_is_told(tmp_path, monkeypatch, authority, wrong):
    ca, certificates = authority
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    monkeypatch.setenv("HOST_KEY", "sk-host")

    async def test():
        bad, good = MockHost(tls=certificates[wrong]), MockHost(tls=certificates["right"])
        async with bad.serve() as bad_url, good.serve() as good_url:
            both = [route("bad", bad_url, key_env="HOST_KEY"), route("good", good_url, key_env="HOST_KEY")]
            async with gate_of(tmp_path, *both) as gate:
                answers = [await ask(gate.port, CHAT) for _ in range(4)]
            assert [(status, headers["x-polyfleet-route"]) for status, headers, _ in answers] == [(200, "good")] * 4
            async with gate_of(tmp_path, both[0], patience_s=0.3) as gate:
                began = time.monotonic()
                status, _, body = await ask(gate.port, CHAT)
                assert time.monotonic() - began < 5
        assert status == 502
        assert "its certificate is refused" in orjson.loads(body)["error"]["message"]
        assert bad.seen == []

    run(test())


def test_a_host_that_speaks_no_tls_fails_at_once(tmp_path):
    async def test():
        async def in_the_clear(reader, writer):
            await reader.read(1)
            writer.write(refusal(400, "this is HTTP"))
            writer.close()

        server = await asyncio.start_server(in_the_clear, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with gate_of(tmp_path, route("plain", url), patience_s=0.3) as gate:
            status, _, body = await ask(gate.port, CHAT)
        server.close()
        assert status == 502
        assert "no TLS" in orjson.loads(body)["error"]["message"]

    run(test())


def test_requests_go_elsewhere_from_a_host_that_hangs_in_the_handshake(tmp_path):
    async def test():
        async def silent(reader, writer):
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        good = MockHost()
        async with good.serve() as url:
            port = server.sockets[0].getsockname()[1]
            both = [route("hangs", f"https://127.0.0.1:{port}"), route("good", url)]
            async with gate_of(tmp_path, *both) as gate:
                gate.shared.upstream._connect_s = 0.2
                answers = [await ask(gate.port, STREAM) for _ in range(2)]
        server.close()
        assert [told(body).text for _, _, body in answers] == ["".join(WORDS)] * 2

    run(test())


@pytest.mark.parametrize(
    ("base", "path", "asked"),
    [
        ("/v1", "/v1/chat/completions", "/v1/chat/completions"),
        ("/openai/v1", "/v1/responses", "/openai/v1/responses"),
        ("/v1beta/openai", "/v1/embeddings", "/v1beta/openai/embeddings"),
        ("/serving-endpoints", "/v1/chat/completions", "/serving-endpoints/chat/completions"),
        ("/llm/v1", "/tokenize", "/llm/tokenize"),
        ("/v1", "/health", "/health"),
        ("/api/paas/v4", "/health", "/health"),
    ],
)
def test_paths_lie_where_the_route_says(base, path, asked):
    assert upstream_path(base, path) == asked


def test_the_host_header_leaves_out_the_schemes_own_port():
    urls = ("https://a.test:443", "http://a.test:80", "https://a.test:80", "http://[::1]:8000", "https://a.test")
    assert [host_of(url) for url in urls] == ["a.test", "a.test", "a.test:80", "[::1]:8000", "a.test"]
