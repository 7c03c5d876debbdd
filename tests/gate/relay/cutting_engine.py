"""An engine in vLLM's dialect that breaks off where it is told to, the first time it sees a request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from mock_answer import Dialect, asked_for, events, pieces, whole
from mock_language import chat_ids, prompt_ids, raw_of

from polyfleet.gate.app import Gate, GateSettings
from polyfleet.gate.keys.open_door import OpenDoor
from polyfleet.gate.relay.retries import RetryBudget
from polyfleet.gate.relay.shared import Rules

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass
class CuttingEngine:
    """`cut`: bytes of the answer's body that the first attempt at a request sends before it breaks off; None: all.
    `how`: what it then does."""

    dialect: Dialect = field(default_factory=lambda: Dialect(tokens=12))
    cut: int | None = None
    how: str = "reset"
    length: int = 0
    seen: set[str] = field(default_factory=set)
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    answer: Callable[[str, dict[str, Any]], bytes | None] = lambda _path, _body: None

    @asynccontextmanager
    async def serve(self):  # type: ignore[no-untyped-def]
        """Its address, while it runs."""
        async with served(self._connection) as port:
            yield f"http://127.0.0.1:{port}"

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.strip().split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = first.split(" ")
                if not await self._answer(method, path, headers, body, reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes,
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
    ) -> bool:  # fmt: skip
        if method == "GET":
            writer.write(plain(b"{}"))
            return True
        asked = orjson.loads(body)
        if path in {"/tokenize", "/detokenize"}:
            writer.write(plain(orjson.dumps(side_answer(path, asked))))
            return True
        self.requests.append((path, headers, asked))
        scripted = self.answer(path, asked)
        if scripted is not None:
            writer.write(scripted)
            return True
        said = asked_for(body, path == "/v1/chat/completions", self.dialect)
        if not said.stream:
            writer.write(plain(whole(said, list(pieces(said, self.dialect)))))
            return True
        raw = b"".join(events(said, list(pieces(said, self.dialect))))
        request_id = headers["x-request-id"]
        self.length = self.length or len(raw)
        if self.cut is None or request_id in self.seen or self.cut >= len(raw):
            writer.write(STREAM_HEAD + chunk(raw) + b"0\r\n\r\n")
            return True
        self.seen.add(request_id)
        writer.write(STREAM_HEAD + (chunk(raw[: self.cut]) if self.cut else b""))
        await writer.drain()
        if self.how == "silence":
            await reader.read()  # until the gate gives up
            self.gone.set()
        elif self.how == "end":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            writer.close()
        return False


@asynccontextmanager
async def served(connection: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]):  # type: ignore[no-untyped-def]
    """The port of a server whose connections are all over when it is closed."""
    running: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(connection(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def side_answer(path: str, asked: dict[str, Any]) -> dict[str, Any]:
    if path == "/detokenize":
        return {"prompt": b"".join(raw_of(token) for token in asked["tokens"]).decode(errors="replace")}
    ids = chat_ids(asked["messages"]) if "messages" in asked else prompt_ids(asked["prompt"])
    return {"tokens": ids, "max_model_len": 4096}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def plain(body: bytes, status: str = "200 OK", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{extra}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def routes_text(urls: dict[str, str], engine: str = "vllm", **fields: Any) -> str:
    routes = [{"id": name, "url": url, "engine": engine, "served": ["m"], **fields} for name, url in urls.items()]
    return orjson.dumps({"routes": routes}).decode()


@asynccontextmanager
async def gate_before(
    tmp_path: Path,
    urls: dict[str, str],
    *,
    engine: str = "vllm",
    door: Any = None,
    rules: Rules | None = None,
    traces: Any = None,
    **fields: Any,
):  # type: ignore[no-untyped-def]
    """A running gate; ends with everything that it started."""
    file = tmp_path / "routes.json"
    file.write_text(routes_text(urls, engine, **fields))
    gate = Gate(
        GateSettings(
            file,
            port=0,
            drain_s=1.0,
            rules=rules or Rules(patience_s=2.0, pause_s=0.01),
            access_log=tmp_path / "access.log",
            traces=traces,
        ),
        door or OpenDoor(),
    )
    gate.shared.budget = RetryBudget(most=1e9)  # these tests fail more than any fleet may
    await gate.start()
    try:
        yield gate
    finally:
        await gate.close()


async def ask(
    port: int,
    body: dict[str, Any] | bytes,
    *,
    path: str = "/v1/chat/completions",
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    """One request over a connection of its own: status, headers, body (chunks joined)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    writer.write(
        f"POST {path} HTTP/1.1\r\nhost: g\r\nconnection: close\r\n{lines}content-length: {len(sent)}\r\n\r\n".encode()
        + sent
    )
    try:
        return parse_answer(await reader.read())
    finally:
        writer.close()
        await writer.wait_closed()


def parse_answer(read: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, rest = read.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        joined = b""
        while True:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            if length == 0:
                assert rest == b"\r\n", "the answer ends with its last chunk"
                break
            assert rest[length : length + 2] == b"\r\n"
            joined, rest = joined + rest[:length], rest[length + 2 :]
        rest = joined
    return int(first.split(" ")[1]), headers, rest


@dataclass
class Told:
    """What a client reads out of a stream."""

    text: str = ""
    finish: str | None = None
    usage: dict[str, int] | None = None
    ids: list[int] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    logprobs: list[tuple[str, float]] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    resumed: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    done: bool = False
    keys: set[str] = field(default_factory=set)

    @property
    def same(self) -> tuple[Any, ...]:
        """What a resume must not change."""
        return self.text, self.finish, self.usage, self.ids, self.names, self.logprobs, self.done, self.error


def told(body: bytes) -> Told:
    """Reads a stream strictly: every event whole, nothing after the end."""
    assert not body or body.endswith(b"\n\n"), "a partial event was passed on"
    read = Told()
    for event in body.split(b"\n\n")[:-1]:
        assert event.startswith(b"data: ")
        assert not read.done, "something follows [DONE]"
        data = event[6:]
        if data == b"[DONE]":
            read.done = True
            continue
        _note(read, orjson.loads(data))
    return read


def _note(read: Told, event: dict[str, Any]) -> None:
    if "error" in event:
        read.error = event["error"]
        return
    read.names.add(event["id"])
    read.resumed = event.get("polyfleet", {}).get("resumed", read.resumed)
    read.usage = event.get("usage") or read.usage
    for choice in event["choices"]:
        assert read.finish is None, "something is said after the finish"
        read.keys |= set(choice)
        read.text += choice.get("text") or (choice.get("delta") or {}).get("content") or ""
        read.finish = choice["finish_reason"] or read.finish
        read.ids += choice.get("token_ids") or []
        rows = choice.get("logprobs") or {}
        read.logprobs += [(row["token"], row["logprob"]) for row in rows.get("content") or ()]
        read.logprobs += list(zip(rows.get("tokens") or (), rows.get("token_logprobs") or (), strict=True))
        read.offsets += rows.get("text_offset") or []
