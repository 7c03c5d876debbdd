"""A second engine for tests: vLLM's dialect in front of a llama.cpp server, with a dislike for some tokens.

It has the same tokens as the llama.cpp beside it and says other things, so that an answer which went over both is the
undisturbed one of neither.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web

_GREEDY = {"temperature": 0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
_DISLIKED = (" the", " a", " of")


class VllmStandIn:
    """Asks the llama.cpp server at `target`."""

    def __init__(self, target: str, client: aiohttp.ClientSession) -> None:
        self._target, self._client = target, client
        self._bias: list[list[float]] = []

    async def begin(self) -> None:
        for word in _DISLIKED:
            told = await self._ask("/tokenize", {"content": word, "add_special": False})
            self._bias += [[token, -4.0] for token in told["tokens"]]

    async def health(self, _request: web.Request) -> web.Response:
        return web.json_response({})

    async def tokenize(self, request: web.Request) -> web.Response:
        return web.json_response({"tokens": await self._ids(await request.json()), "max_model_len": 2048})

    async def detokenize(self, request: web.Request) -> web.Response:
        told = await self._ask("/detokenize", {"tokens": (await request.json())["tokens"]})
        return web.json_response({"prompt": told["content"]})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        chat, prompt = "messages" in body, await self._ids(body)
        asked = {"prompt": prompt, "n_predict": body["max_tokens"], "return_tokens": True, "logit_bias": self._bias}
        if not body.get("stream"):
            told = await self._ask("/completion", asked | _GREEDY)
            choice = {"index": 0, "text": told["content"], "token_ids": told["tokens"], "finish_reason": _finish(told)}
            return web.json_response({"id": "s", "choices": [choice], "usage": _usage(prompt, told)})
        out = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await out.prepare(request)
        async with self._client.post(self._target + "/completion", json=asked | _GREEDY | {"stream": True}) as answer:
            async for line in answer.content:
                if line.startswith(b"data: {"):
                    await out.write(_events(json.loads(line[6:]), prompt, chat))
        await out.write(b"data: [DONE]\n\n")
        return out

    async def _ids(self, body: dict[str, Any]) -> list[int]:
        text = body.get("prompt")
        if isinstance(text, list):
            return text
        if text is None:
            text = (await self._ask("/apply-template", {"messages": body["messages"]}))["prompt"]
        return (await self._ask("/tokenize", {"content": text, "add_special": True, "parse_special": True}))["tokens"]

    async def _ask(self, path: str, body: dict[str, Any]) -> Any:
        async with self._client.post(self._target + path, json=body) as answer:
            answer.raise_for_status()
            return await answer.json()


def _events(told: dict[str, Any], prompt: list[int], chat: bool) -> bytes:
    text, finish = told["content"], _finish(told) if told.get("stop") else None
    choice = {"index": 0, "token_ids": told.get("tokens") or [], "finish_reason": finish}
    choice |= {"delta": {"content": text}} if chat else {"text": text}
    out = _event({"id": "s", "choices": [choice], "prompt_token_ids": prompt})
    return out if finish is None else out + _event({"id": "s", "choices": [], "usage": _usage(prompt, told)})


def _event(told: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def _finish(told: dict[str, Any]) -> str:
    return "length" if told["stop_type"] == "limit" else "stop"


def _usage(prompt: list[int], told: dict[str, Any]) -> dict[str, int]:
    made = told["tokens_predicted"]
    return {"prompt_tokens": len(prompt), "completion_tokens": made, "total_tokens": len(prompt) + made}


@contextlib.asynccontextmanager
async def stand_in(target: str) -> AsyncIterator[str]:
    """Its address, while it runs."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as client:
        engine, application = VllmStandIn(target, client), web.Application()
        await engine.begin()
        application.router.add_get("/health", engine.health)
        application.router.add_post("/tokenize", engine.tokenize)
        application.router.add_post("/detokenize", engine.detokenize)
        application.router.add_post("/v1/{kind:.*}", engine.answer)
        runner = web.AppRunner(application, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
