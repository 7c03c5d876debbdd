"""A host that sells tokens, on a real socket: TLS, a path of its own, a key that it checks, limits in its headers."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from cutting_engine import chunk, plain, served

from polyfleet.gate.app import Gate, GateSettings
from polyfleet.gate.keys.open_door import OpenDoor
from polyfleet.gate.relay.shared import Rules

WORDS = ("All ", "is ", "well ", "here.")
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "How are you?"}], "max_tokens": 8}
STREAM = CHAT | {"stream": True}


@dataclass
class MockHost:
    """`headers` go out with each answer; `script` are answers to the first requests, None for an ordinary one.
    `seen`: path, headers and fields of each request, and the name that the client asked for in TLS."""

    key: str | None = None
    path: str = "/v1"
    model: str = "host-model-2026-01-01"
    headers: Callable[[], dict[str, str]] = dict
    refuses: tuple[str, ...] = ()
    script: Iterator[bytes | None] = field(default_factory=lambda: iter(()))
    tls: ssl.SSLContext | None = None
    seen: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)

    @asynccontextmanager
    async def serve(self, name: str = "localhost"):  # type: ignore[no-untyped-def]
        """The address, as a route has it."""
        if self.tls is None:
            async with served(self._connection) as port:
                yield f"http://127.0.0.1:{port}"
            return
        self.tls.sni_callback = lambda _socket, asked, _context: self.names.append(asked)
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=self.tls)
        try:
            yield f"https://{name}:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")[:-2]
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
                method, path, _ = first.split(" ")
                if method == "GET":
                    writer.write(plain(b"{}"))
                    continue
                fields = orjson.loads(await reader.readexactly(int(headers["content-length"])))
                self.seen.append((path, headers, fields))
                writer.write(next(self.script, None) or self._answer(path, headers, fields))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    def _answer(self, path: str, headers: dict[str, str], fields: dict[str, Any]) -> bytes:
        extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers().items())
        if path != f"{self.path}/chat/completions":
            return refusal(404, "no such path", extra)
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            return refusal(401, "wrong key", extra)
        for name in self.refuses:
            if name in fields:
                return refusal(400, f"unknown field: {name}", extra)
        usage = {"prompt_tokens": 5, "completion_tokens": len(WORDS), "total_tokens": 5 + len(WORDS)}
        told = {"id": "c1", "object": "chat.completion", "created": 1, "model": self.model}
        if not fields.get("stream"):
            message = {"role": "assistant", "content": "".join(WORDS)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return plain(orjson.dumps({**told, "choices": [choice], "usage": usage}), extra=extra)
        return self._stream({**told, "object": "chat.completion.chunk"}, usage, fields, extra)

    def _stream(self, told: dict[str, Any], usage: dict[str, int], fields: dict[str, Any], extra: str) -> bytes:
        events = [{**told, "choices": [{"index": 0, "delta": {"content": w}, "finish_reason": None}]} for w in WORDS]
        events.append({**told, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if (fields.get("stream_options") or {}).get("include_usage"):
            events.append({**told, "choices": [], "usage": usage})
        body = b"".join(chunk(b"data: %b\n\n" % orjson.dumps(event)) for event in events)
        head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{extra}transfer-encoding: chunked\r\n\r\n"
        return head.encode() + body + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def refusal(status: int, message: str, extra: str = "") -> bytes:
    body = orjson.dumps({"error": {"message": message, "type": "error", "code": status}})
    return plain(body, status=f"{status} No", extra=extra)


def route(name: str, url: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "url": url, "engine": "openai", "served": ["chat"], **fields}


@asynccontextmanager
async def gate_of(folder: Path, *routes: dict[str, Any], buckets: Any = None, patience_s: float = 2.0):  # type: ignore[no-untyped-def]
    """A running gate before these routes."""
    file = folder / "routes.json"
    file.write_bytes(orjson.dumps({"routes": routes, "buckets": buckets or {}}))
    settings = GateSettings(
        file, port=0, drain_s=1.0, poll_s=0.05, rules=Rules(patience_s=patience_s, pause_s=0.01),
        access_log=folder / "access.log",
    )  # fmt: skip
    gate = Gate(settings, OpenDoor())
    await gate.start()
    try:
        yield gate
    finally:
        await gate.close()


def gauges(gate: Gate, name: str) -> dict[str, float]:
    """Figures of a family in /metrics, by the values of its labels in the order of their names."""
    lines = gate.metrics.render().decode().splitlines()
    pairs = (line.removeprefix(name).rsplit(" ", 1) for line in lines if line.startswith(name + "{"))
    return {" ".join(re.findall(r'="([^"]*)"', labels)): float(figure) for labels, figure in pairs}


def run(test) -> None:  # type: ignore[no-untyped-def]
    asyncio.run(asyncio.wait_for(test, 30))
