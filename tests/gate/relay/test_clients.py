"""The official client reads through the gate as it reads from an engine, also over a cut."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from cutting_engine import CuttingEngine, ask, gate_before, told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

openai = pytest.importorskip("openai")
MESSAGES = [{"role": "user", "content": "go on"}]


def _read(port: int) -> list:
    """Everything that the sync client sees."""
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="pf-x", max_retries=0) as client:
        seen = [[model.id for model in client.models.list()]]
        whole = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=9, temperature=0)
        seen.append((whole.choices[0].message.content, whole.choices[0].finish_reason, whole.usage.completion_tokens))
        options = {"include_usage": True}
        chunks = list(
            client.chat.completions.create(
                model="m", messages=MESSAGES, max_tokens=9, temperature=0, stream=True, stream_options=options
            )
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        finish = next(c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason)
        seen.append((text, finish, chunks[-1].usage.completion_tokens))
        with pytest.raises(openai.NotFoundError, match="there are: m"):
            client.chat.completions.create(model="gone", messages=MESSAGES)
        seen.append(client.embeddings.create(model="m", input="x", encoding_format="float").data[0].embedding)
        return seen


@pytest.mark.parametrize("cut", [None, 900])
def test_the_official_client_sees_the_same_streamed_and_whole_cut_or_not(tmp_path, cut):
    async def test():
        engine = CuttingEngine(cut=cut)
        embedded = b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"m"}'
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(embedded)
        engine.answer = lambda path, _body: head + embedded if path == "/v1/embeddings" else None
        async with engine.serve() as one, engine.serve() as two, gate_before(tmp_path, {"a": one, "b": two}) as gate:
            models, whole, streamed, vector = await asyncio.to_thread(_read, gate.port)
        assert models == ["m"]
        assert whole == streamed
        assert whole[1:] == ("length", 9)
        assert vector == [0.5]

    asyncio.run(test())


def test_the_async_client_reads_many_streams_at_once(tmp_path):
    async def test():
        engine = CuttingEngine(cut=900)
        async with engine.serve() as one, engine.serve() as two, gate_before(tmp_path, {"a": one, "b": two}) as gate:
            _, _, raw = await ask(
                gate.port, {"model": "m", "messages": MESSAGES, "max_tokens": 9, "temperature": 0, "stream": True}
            )
            async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{gate.port}/v1", api_key="x") as client:

                async def read() -> str:
                    stream = await client.chat.completions.create(
                        model="m", messages=MESSAGES, max_tokens=9, temperature=0, stream=True
                    )
                    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

                texts = await asyncio.gather(*[read() for _ in range(20)])
        assert set(texts) == {told(raw).text}

    asyncio.run(test())


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_names = (
    "messages", "prompt", "input", "stream", "stop", "n", "max_tokens", "stream_options", "tools", "logprobs",
    "temperature", "seed", "response_format",
)  # fmt: skip
_bodies = st.fixed_dictionaries({"model": st.just("m")}, optional=dict.fromkeys(_names, _json))
_paths = st.sampled_from(["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"])


@pytest.fixture(scope="module")
def fuzzed_gate(tmp_path_factory):
    """A gate in a thread of its own, before an engine that answers everything."""
    loop, ready, stop, port = asyncio.new_event_loop(), threading.Event(), asyncio.Event(), []

    async def serve():
        engine = CuttingEngine()
        answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        engine.answer = lambda _path, _body: answer
        async with engine.serve() as url, gate_before(tmp_path_factory.mktemp("fuzz"), {"a": url}) as gate:
            port.append(gate.port)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    ready.wait(10)
    yield port[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_bodies, _paths)
def test_no_body_makes_the_gate_fail(fuzzed_gate, body, path):
    status, headers, _ = asyncio.run(ask(fuzzed_gate, json.dumps(body).encode(), path=path))
    assert status == 200 or 400 <= status < 500
    assert headers["x-request-id"]
