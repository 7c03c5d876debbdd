"""A mock engine: raw asyncio, OpenAI's HTTP and SSE in vLLM's dialect, fast enough not to be what a bench measures.

    python tools/mock_upstream.py --port 0 --events 64            # prints `listening on 127.0.0.1:PORT`

Text is deterministic and follows from the prompt's ids (see mock_language), so that any mock goes on exactly where
another one stopped. `--gap-ms` paces the tokens, `--slots` bounds how many answers run at once (the others wait),
`--each` sends every event by itself instead of the whole answer in one piece. GET /mock/stats tells what it saw.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import cast

import orjson
from mock_answer import Asked, BadRequest, Dialect, Piece, asked_for, events, pieces, whole
from mock_language import chat_ids, prompt_ids, raw_of

_KEPT_ANSWERS = 512


@dataclass
class Stats:
    """What a mock has seen. `aborted` are answers whose client went away."""

    requests: int = 0
    active: int = 0
    most_active: int = 0
    finished: int = 0
    aborted: int = 0


@dataclass
class Mock:
    """One engine: its dialect, its pace and what it has seen."""

    dialect: Dialect = field(default_factory=Dialect)
    gap_ms: float = 0.0
    prefill_ms: float = 0.0
    slots: int = 0
    each: bool = False
    model: str = "mock"
    stats: Stats = field(default_factory=Stats)
    _kept: OrderedDict[bytes, bytes] = field(default_factory=OrderedDict)
    _free: asyncio.Semaphore | None = None

    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> tuple[asyncio.Server, int]:
        """Starts to listen; gives the port."""
        self._free = asyncio.Semaphore(self.slots) if self.slots else None
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), host, port, backlog=4096)
        return server, server.sockets[0].getsockname()[1]

    @property
    def paced(self) -> bool:
        return bool(self.gap_ms or self.prefill_ms or self.slots or self.each)

    def at_once(self, path: str, body: bytes) -> bytes:
        """The whole HTTP answer, kept by request, so that asking for the same again costs nothing."""
        key = path.encode() + b"\0" + body
        kept = self._kept.get(key)
        if kept is None:
            asked, said = self._say(path, body)
            kept = _streamed(list(events(asked, said))) if asked.stream else _plain(whole(asked, said))
            self._kept[key] = kept
            if len(self._kept) > _KEPT_ANSWERS:
                self._kept.popitem(last=False)
        return kept

    def _say(self, path: str, body: bytes) -> tuple[Asked, list[Piece]]:
        asked = asked_for(body, path == "/v1/chat/completions", self.dialect)
        said = list(pieces(asked, self.dialect))
        return asked, said

    async def at_pace(self, path: str, body: bytes, transport: asyncio.Transport) -> None:
        """Writes an answer token by token."""
        async with self._free or contextlib.nullcontext():
            asked, said = self._say(path, body)
            await asyncio.sleep(self.prefill_ms / 1000)
            if not asked.stream:
                await asyncio.sleep(self.gap_ms / 1000 * sum(len(piece.ids) for piece in said))
                transport.write(_plain(whole(asked, said)))
                return
            transport.write(_STREAM_HEAD)
            for event in events(asked, said):
                await asyncio.sleep(self.gap_ms / 1000)
                transport.write(_chunk(event))
            transport.write(b"0\r\n\r\n")

    def tell(self, method: str, path: str, body: bytes) -> bytes:
        """Everything that is no answer of the model."""
        if method == "POST" and path in _POSTED:
            return _plain(_POSTED[path](body))
        if path in {"/health", "/ready"}:
            return _plain(b"{}")
        if path == "/v1/models":
            return _plain(orjson.dumps({"object": "list", "data": [{"id": self.model, "object": "model"}]}))
        if path == "/mock/stats":
            return _plain(orjson.dumps(self.stats))
        if path == "/metrics":
            waiting = max(0, self.stats.active - self.slots) if self.slots else 0
            lines = f"vllm:num_requests_running {self.stats.active - waiting}\nvllm:num_requests_waiting {waiting}\n"
            return _plain(lines.encode(), kind=b"text/plain")
        return _plain(b'{"error":{"message":"no such path","type":"not_found","code":404}}', status=b"404 Not Found")


class _Connection(asyncio.Protocol):
    """One client's connection: reads requests one after the other."""

    def __init__(self, mock: Mock) -> None:
        self._mock = mock
        self._read = b""
        self._task: asyncio.Task[None] | None = None
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._lost = True
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._read += data
        while self._task is None:
            cut = _request(self._read)
            if cut is None:
                return
            method, path, body, self._read = cut
            self._answer(method, path, body)

    def _answer(self, method: str, path: str, body: bytes) -> None:
        if method != "POST" or path not in {"/v1/chat/completions", "/v1/completions"}:
            self._transport.write(self._mock.tell(method, path, body))
            return
        stats = self._mock.stats
        stats.requests += 1
        try:
            if self._mock.paced:
                stats.active += 1
                stats.most_active = max(stats.most_active, stats.active)
                self._task = asyncio.ensure_future(self._pace(path, body))
            else:
                self._transport.write(self._mock.at_once(path, body))
                stats.finished += 1
        except BadRequest as error:
            self._transport.write(_refusal(str(error)))

    async def _pace(self, path: str, body: bytes) -> None:
        stats = self._mock.stats
        try:
            await self._mock.at_pace(path, body, self._transport)
            stats.finished += 1
        except BadRequest as error:
            self._transport.write(_refusal(str(error)))
        except asyncio.CancelledError:
            stats.aborted += 1
        finally:
            stats.active -= 1
            self._task = None
            if not self._lost:
                self.data_received(b"")


def _request(read: bytes) -> tuple[str, str, bytes, bytes] | None:
    """The first whole request in `read` and what follows it."""
    end = read.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = read[:end]
    method, target, _ = head[: head.find(b"\r\n") if b"\r\n" in head else end].decode("latin-1").split(" ", 2)
    path = target.partition("?")[0]
    low = head.lower()
    at = low.find(b"\r\ncontent-length:")
    if at >= 0:
        stop = low.find(b"\r\n", at + 2)
        length = int(low[at + 17 : stop if stop >= 0 else end])
        body, rest = read[end + 4 : end + 4 + length], read[end + 4 + length :]
        return (method, path, body, rest) if len(body) == length else None
    if b"\r\ntransfer-encoding: chunked" not in low:
        return method, path, b"", read[end + 4 :]
    unchunked = _unchunked(read, end + 4)
    return None if unchunked is None else (method, path, *unchunked)


def _unchunked(read: bytes, start: int) -> tuple[bytes, bytes] | None:
    body = b""
    while True:
        line = read.find(b"\r\n", start)
        if line < 0:
            return None
        size = int(read[start:line].partition(b";")[0], 16)
        if len(read) < line + 4 + size:
            return None
        body, start = body + read[line + 2 : line + 2 + size], line + 4 + size
        if size == 0:
            return body, read[start:]


_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _streamed(parts: list[bytes]) -> bytes:
    return _STREAM_HEAD + b"".join(map(_chunk, parts)) + b"0\r\n\r\n"


def _plain(body: bytes, *, status: bytes = b"200 OK", kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (status, kind, len(body), body)


def _refusal(message: str) -> bytes:
    error = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": 400}}
    return _plain(orjson.dumps(error), status=b"400 Bad Request")


def _embedded(body: bytes) -> bytes:
    asked = orjson.loads(body)
    texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    data = [
        {"object": "embedding", "index": index, "embedding": [len(str(text)) / 100] * 8}
        for index, text in enumerate(texts)
    ]
    tokens = sum(len(str(text)) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps({"object": "list", "model": asked.get("model"), "data": data, "usage": usage})


def _tokenized(body: bytes) -> bytes:
    asked = orjson.loads(body)
    ids = chat_ids(asked["messages"]) if "messages" in asked else prompt_ids(asked["prompt"])
    return orjson.dumps({"count": len(ids), "max_model_len": 100_000, "tokens": ids})


def _detokenized(body: bytes) -> bytes:
    raw = b"".join(map(raw_of, orjson.loads(body)["tokens"]))
    return orjson.dumps({"prompt": raw.decode(errors="replace")})


_POSTED = {"/v1/embeddings": _embedded, "/tokenize": _tokenized, "/detokenize": _detokenized}


async def _run(options: argparse.Namespace) -> None:
    dialect = Dialect(options.events, options.merge, options.end_one_in)
    mock = Mock(dialect, options.gap_ms, options.prefill_ms, options.slots, options.each, options.model)
    server, port = await mock.serve(port=options.port)
    print(f"listening on 127.0.0.1:{port}", flush=True)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--events", type=int, default=64, help="tokens where a request names no max_tokens")
    parser.add_argument("--merge", type=int, default=1, help="tokens in one event")
    parser.add_argument("--end-one-in", type=int, default=0, help="one token in so many is the model's own end")
    parser.add_argument("--gap-ms", type=float, default=0.0, help="between two events")
    parser.add_argument("--prefill-ms", type=float, default=0.0, help="before the first event")
    parser.add_argument("--slots", type=int, default=0, help="answers at once; 0: no bound")
    parser.add_argument("--each", action="store_true", help="send every event by itself")
    parser.add_argument("--model", default="mock")
    options = parser.parse_args()
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    asyncio.run(_run(options))


if __name__ == "__main__":
    main()
