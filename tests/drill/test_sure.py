"""Requests are cut to the part of their answers that has no second right one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from polyfleet.drill.asks import Ask, asks
from polyfleet.drill.sure import MARGIN, margins, sure_asks

WIDE, NARROW = 1.0, MARGIN / 2


def chat_row(gap: float) -> dict[str, Any]:
    return {"token": "a", "logprob": -0.1, "top_logprobs": [{"logprob": -0.1 - gap}, {"logprob": -0.1}]}


def test_margins_are_read_from_both_forms() -> None:
    assert margins({"content": [chat_row(0.5), {"top_logprobs": []}]}) == pytest.approx([0.5, float("inf")])
    assert margins({"top_logprobs": [{"a": -0.1, "b": -2.1}, None]}) == pytest.approx([2.0, float("inf")])
    assert margins({}) == []


def asked_of(answers: list[Any]) -> list[Ask]:
    """What becomes of four requests whose answers have these log-probabilities."""

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        assert "stream" not in body
        text = str(body.get("prompt") or body["messages"])
        index = int(text[text.rindex("(") + 1 : text.rindex(")")])
        return web.json_response({"choices": [{"logprobs": answers[index]}]})

    async def run() -> list[Ask]:
        application = web.Application()
        application.router.add_post("/{path:.*}", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        try:
            return await sure_asks(f"http://127.0.0.1:{port}", asks("m", len(answers), 40))
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def chat(*gaps: float) -> dict[str, Any]:
    return {"content": [chat_row(gap) for gap in gaps]}


def test_answers_are_cut_before_the_first_unsure_token_and_short_ones_left_out() -> None:
    told = [
        chat(*[WIDE] * 30, NARROW),
        chat(*[WIDE] * 40),
        chat(WIDE, NARROW, WIDE),
        chat(*[WIDE] * 20, NARROW, NARROW),
    ]
    cut = asked_of(told)
    assert [ask.index for ask in cut] == [0, 1, 2, 3]
    assert [ask.body["max_tokens"] for ask in cut] == [30, 39, 20, 30]
    assert cut[3].body == cut[0].body
    assert all(ask.body["stream"] for ask in cut)


def test_an_engine_without_log_probabilities_is_taken_at_its_word() -> None:
    assert asked_of([None] * 3) == asks("m", 3, 40)
