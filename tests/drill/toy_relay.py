"""A relay that resumes streams by ids, as small as it can be, and on demand one that makes a known mistake.

python tests/drill/toy_relay.py ROUTES PORT
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

STALL_S = 0.5
DEFECTS = ("lose", "double", "silent", "miscount", "finish", "half")


class Relay:
    """Sends streams round robin to replicas that speak vLLM's dialect with one token in an event. `names`: their ids by
    address."""

    def __init__(self, replicas: list[str], defect: str | None = None, names: dict[str, str] | None = None) -> None:
        self.replicas, self.defect, self.names = replicas, defect, names or {}
        self.turn = itertools.count()
        self.resumes = 0

    async def start(self, port: int = 0) -> str:
        application = web.Application()
        for path in ("/v1/chat/completions", "/v1/completions"):
            application.router.add_post(path, self.relay)
        application.router.add_get("/v1/models", self.models)
        application.router.add_get("/ready", self.models)
        self.runner = web.AppRunner(application)
        await self.runner.setup()
        self.client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        site = web.TCPSite(self.runner, "127.0.0.1", port)
        await site.start()
        return f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        await self.client.close()
        await self.runner.cleanup()

    async def models(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "mock"}]})

    async def relay(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if not body.get("stream"):
            return await self.passed_on(request.path, body)
        out = web.StreamResponse(headers={"content-type": "text/event-stream"})
        stream = _Stream(self, request.path, body)
        async for data in stream.run():
            if not out.prepared:
                out.headers["x-polyfleet-route"] = stream.begun
                await out.prepare(request)
            await out.write(data)
        return out

    async def passed_on(self, path: str, body: dict[str, Any]) -> web.Response:
        async with self.client.post(self.replicas[0] + path, json=body) as answer:
            return web.json_response(await answer.json(), status=answer.status)


class _Stream:
    def __init__(self, relay: Relay, path: str, body: dict[str, Any]) -> None:
        self.relay, self.path, self.body = relay, path, body
        self.prompt: list[int] = []
        self.ids: list[int] = []
        self.settled = 0
        self.last: bytes = b""
        self.resumed: list[dict[str, object]] = []
        self.begun = ""
        self.cut = self.finished = False
        self.id = ""

    async def run(self) -> AsyncIterator[bytes]:
        for _ in range(6):
            replica = self.relay.replicas[next(self.relay.turn) % len(self.relay.replicas)]
            try:
                async for data in self.attempt(replica):
                    yield data
                return
            except (aiohttp.ClientError, OSError, ValueError, TimeoutError):
                if self.finished:
                    yield self.end()
                    return
                self.ids = self.ids[: self.settled]
                self.cut = self.cut or bool(self.ids)
                if self.cut and self.relay.defect == "silent":
                    return
                if self.cut and self.relay.defect == "half":
                    yield self.last[:20]
                if self.cut and self.relay.defect == "double":
                    yield self.last
                self.relay.resumes += self.cut
        yield b'data: {"error": {"message": "no replica"}}\n\n'

    async def attempt(self, replica: str) -> AsyncIterator[bytes]:
        path, body = self.path, {**self.body, "return_token_ids": True}
        going_on, name = bool(self.ids), self.relay.names.get(replica, replica)
        if going_on:
            self.resumed.append({"from": self.begun, "to": name, "at_token": len(self.ids)})
            body.pop("messages", None)
            body["prompt"] = self.prompt + self.ids
            body["max_tokens"] -= len(self.ids)
            path = "/v1/completions"
        self.begun = name
        skip = going_on and self.relay.defect == "lose"
        response = await asyncio.wait_for(self.relay.client.post(replica + path, json=body), STALL_S)
        async with response:
            response.raise_for_status()
            async for event in _events(response):
                told = event if event == b"[DONE]" else json.loads(event)
                data = self.taken(told)
                if skip and data and b'"content": " ' in data:
                    skip = False
                elif data:
                    yield data
                if told == b"[DONE]":
                    return
            raise ValueError("no [DONE]")

    def taken(self, told: Any) -> bytes:
        if told == b"[DONE]":
            return b"data: [DONE]\n\n"
        self.id = told["id"]
        if told.get("usage"):
            self.count(told["usage"])
        for choice in told["choices"]:
            self.take(told, choice)
        told.pop("prompt_token_ids", None)
        told["object"] = "chunk"
        told["polyfleet"] = {"resumed": self.resumed}
        made = b"data: " + json.dumps(told).encode() + b"\n\n"
        if told["choices"] and not told["choices"][0]["finish_reason"]:
            self.last = made
        return made

    def take(self, told: dict[str, Any], choice: dict[str, Any]) -> None:
        self.prompt = self.prompt or told.get("prompt_token_ids") or choice.get("prompt_token_ids") or []
        choice.pop("prompt_token_ids", None)
        self.ids += choice.pop("token_ids", [])
        text = choice.pop("text", None)
        choice.setdefault("delta", {"content": text})
        self.finished = self.finished or bool(choice["finish_reason"])
        if choice["delta"]["content"]:
            self.settled = len(self.ids)
        if self.cut and choice["finish_reason"] and self.relay.defect == "finish":
            choice["finish_reason"] = "stop" if choice["finish_reason"] == "length" else "length"

    def end(self) -> bytes:
        """All was said but the end."""
        usage = {"prompt_tokens": len(self.prompt), "completion_tokens": len(self.ids)}
        told = {"id": self.id, "choices": [], "usage": usage, "polyfleet": {"resumed": self.resumed}}
        return b"data: " + json.dumps(told).encode() + b"\n\ndata: [DONE]\n\n"

    def count(self, usage: dict[str, int]) -> None:
        if self.relay.defect != "miscount":
            usage["prompt_tokens"], usage["completion_tokens"] = len(self.prompt), len(self.ids)


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    rest = b""
    while data := await asyncio.wait_for(response.content.readany(), STALL_S):
        *whole, rest = (rest + data).split(b"\n\n")
        for event in whole:
            yield event.removeprefix(b"data: ")


async def _serve(routes: Path, port: int) -> None:
    names = {route["url"]: route["id"] for route in json.loads(routes.read_text())["routes"]}
    relay = Relay(list(names), names=names)
    await relay.start(port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
