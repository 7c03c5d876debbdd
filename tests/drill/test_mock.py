"""The mock engine is itself right: it goes on exactly where another one stopped, and speaks HTTP whatever the cuts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mock_answer import Dialect
from mock_language import END, continuation, raw_of
from mock_upstream import Mock

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 80}
STREAM = {"stream": True, "return_token_ids": True, "stream_options": {"include_usage": True}}


def http(path: str, body: dict[str, Any], *, chunked: bool = False) -> bytes:
    raw = json.dumps(body).encode()
    if chunked:
        parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (raw[:7], raw[7:]))
        return b"POST %b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % (path.encode(), parts)
    return b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(raw), raw)


def exchanged(mock: Mock, sent: bytes, cuts: list[int], answers: int) -> list[bytes]:
    """Bodies of the answers to what is sent in pieces."""

    async def run() -> list[bytes]:
        server, port = await mock.serve()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        places = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
        for start, end in zip(places, places[1:], strict=False):  # noqa: RUF007
            writer.write(sent[start:end])
            await writer.drain()
        bodies = [await read_body(reader) for _ in range(answers)]
        writer.close()
        server.close()
        return bodies

    return asyncio.run(run())


async def read_body(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"content-length: " in head:
        return await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return body


def events(body: bytes) -> list[dict[str, Any]]:
    datas = [block.removeprefix(b"data: ") for block in body.split(b"\n\n") if block]
    assert datas[-1] == b"[DONE]"
    return [json.loads(data) for data in datas[:-1]]


def said(told: list[dict[str, Any]]) -> list[tuple[str, list[int]]]:
    choices = [choice for event in told for choice in event["choices"] if "token_ids" in choice]
    return [(choice.get("text", choice.get("delta", {}).get("content")), choice["token_ids"]) for choice in choices]


@pytest.mark.parametrize("merge", [1, 3])
@pytest.mark.parametrize("end_one_in", [0, 60])
def test_it_goes_on_exactly_from_every_cut(merge: int, end_one_in: int) -> None:
    mock = Mock(Dialect(merge=merge, end_one_in=end_one_in))
    whole = events(exchanged(mock, http("/v1/chat/completions", {**CHAT, **STREAM}), [], 1)[0])
    prompt, pieces = whole[0]["prompt_token_ids"], said(whole)
    text, ids = "".join(piece for piece, _ in pieces), [token for _, tokens in pieces for token in tokens]
    assert whole[-1]["usage"]["completion_tokens"] == len(ids) <= 80
    tried = 0
    for cut in range(1, len(ids)):
        before = b"".join(map(raw_of, ids[:cut]))
        try:
            told_before = before.decode()
        except UnicodeDecodeError:
            continue
        tried += 1
        body = {"model": "m", "prompt": prompt + ids[:cut], "max_tokens": 80 - cut, **STREAM}
        rest = said(events(exchanged(mock, http("/v1/completions", body), [], 1)[0]))
        assert told_before + "".join(piece for piece, _ in rest) == text
        assert ids[:cut] + [token for _, tokens in rest for token in tokens] == ids
    assert tried > len(ids) / 2


@given(st.integers(1, 40), st.integers(0, 300))
def test_a_token_more_or_less_changes_what_follows(at: int, extra: int) -> None:
    prompt = list(range(50))
    right = [step.id for step, _ in zip(continuation(prompt), range(30), strict=False)]
    for wrong in (prompt[:at] + prompt[at + 1 :], [*prompt[:at], extra, *prompt[at:]]):
        assert [step.id for step, _ in zip(continuation(wrong), range(30), strict=False)] != right


def test_stop_strings_end_the_text_before_them_and_ids_run_ahead() -> None:
    mock = Mock(Dialect())
    free = said(events(exchanged(mock, http("/v1/chat/completions", {**CHAT, **STREAM}), [], 1)[0]))
    text = "".join(piece for piece, _ in free)
    stop = text[40:52]
    told = events(exchanged(mock, http("/v1/chat/completions", {**CHAT, **STREAM, "stop": [stop]}), [], 1)[0])
    assert "".join(piece for piece, _ in said(told)) == text[: text.index(stop)]
    assert told[-2]["choices"][0]["finish_reason"] == "stop"
    assert said(told)[0][0] == ""
    assert said(told)[0][1] == free[0][1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 700), max_size=5), st.booleans())
def test_requests_are_read_the_same_however_they_are_cut(cuts: list[int], chunked: bool) -> None:
    mock = Mock(Dialect())
    one = http("/v1/completions", {"model": "m", "prompt": "a", "max_tokens": 5}, chunked=chunked)
    other = http("/v1/completions", {"model": "m", "prompt": [1, 2], "max_tokens": 3}, chunked=chunked)
    first, second = exchanged(mock, one + other, cuts, 2)
    assert json.loads(first)["usage"] == {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6}
    assert json.loads(second)["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


def test_slots_bound_what_runs_at_once_and_a_client_that_goes_frees_its_slot() -> None:
    async def run() -> Mock:
        mock = Mock(Dialect(), gap_ms=2.0, slots=2)
        server, port = await mock.serve()
        raw = http("/v1/chat/completions", {**CHAT, "stream": True, "max_tokens": 20})
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        for _, writer in streams:
            writer.write(raw)
        await streams[0][0].readuntil(b"\n\n")
        streams[0][1].transport.abort()
        bodies = await asyncio.gather(*(read_body(reader) for reader, _ in streams[1:]))
        assert len(set(bodies)) == 1
        for _, writer in streams[1:]:
            writer.close()
        server.close()
        return mock

    stats = asyncio.run(run()).stats
    assert (stats.finished, stats.aborted, stats.active) == (4, 1, 0)


def test_the_end_token_is_counted_and_silent() -> None:
    steps = list(continuation([1, 2, 3], end_one_in=5))
    assert steps[-1].id == END
    assert raw_of(END) == b""
    assert all(step.id != END for step in steps[:-1])
