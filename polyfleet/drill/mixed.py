"""The judge of a fleet in which several engines serve one model, and a stream may go on from one to another.

Greedy answers of two engines may part by their own rounding, so that there is no one right answer. What is right is
what the engine that began says undisturbed, up to the cut, followed by what the one that went on says itself after
exactly these tokens.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace

import aiohttp

from polyfleet.drill.answer import Answer
from polyfleet.drill.asks import Ask
from polyfleet.drill.confirm import Right, right_answer, spelled
from polyfleet.drill.direct import Direct
from polyfleet.drill.judge import Judgement, Outcome, judge
from polyfleet.errors import LaunchError
from polyfleet.terms.route import Route, Routes

_AT_ONCE = 8


def engines_of(routes: Routes, model: str) -> frozenset[str]:
    """The engines that serve a model."""
    return frozenset(route.engine for route in routes.routes if model in route.served)


class MixedJudge:
    """Judges answers by asking replicas directly. `routes`: those of now. `limit_s`: how long one may be asked."""

    def __init__(self, routes: Callable[[], Routes], model: str, limit_s: float) -> None:
        self._routes, self._model, self._limit_s = routes, model, limit_s
        self._names: dict[str, str] = {}
        self._known: dict[str, Right] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)

    def forget(self) -> None:
        """The engines are asked anew."""
        self._known.clear()

    async def judge(self, asked: Sequence[Ask], answers: Sequence[Answer]) -> list[Judgement]:
        """One judgement for each answer, in their order. Raises LaunchError where a replica does not answer."""
        routes = self._routes().routes
        self._names |= {route.id: route.engine for route in routes}
        there = {route.engine: route for route in routes if self._model in route.served and route.state == "open"}
        timeout = aiohttp.ClientTimeout(total=self._limit_s)
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as client:
            pairs = zip(asked, answers, strict=True)
            return list(await asyncio.gather(*(self._judge(ask, answer, there, client) for ask, answer in pairs)))

    async def _judge(
        self, ask: Ask, answer: Answer, there: dict[str, Route], client: aiohttp.ClientSession
    ) -> Judgement:
        if answer.error is not None:
            return Judgement(answer.index, Outcome.FAILED, detail=answer.error)
        try:
            chain = [there[self._names[name]] for name in answer.way]
        except KeyError as error:
            raise LaunchError(f"stream {answer.index} went over {error}, which is no route of the fleet") from None
        engines = [_direct(route, client) for route in chain]
        async with self._gate:
            right = await self._right(engines, ask, answer)
            same = right.text == answer.text
            pieces = [right.text] if same else await spelled(right, engines[0], self._model)
        counts = (right.finish, right.prompt_tokens, right.completion_tokens)
        found = judge(Answer(ask.index, 200, pieces, *counts), answer)
        return found if found.outcome is Outcome.EQUAL else _with_way(found, answer)

    async def _right(self, engines: Sequence[Direct], ask: Ask, answer: Answer) -> Right:
        cuts = [place.at_token for place in answer.resumed]
        names = [engine.engine for engine in engines]
        key = json.dumps([names, cuts, ask.path, ask.body], sort_keys=True)
        if key not in self._known:
            self._known[key] = await right_answer(engines, ask.body, cuts)
        return self._known[key]


def _direct(route: Route, client: aiohttp.ClientSession) -> Direct:
    key = os.environ.get(route.key_env) if route.key_env else None
    return Direct(route.url, route.engine, client, key, route.upstream_model)


def _with_way(found: Judgement, answer: Answer) -> Judgement:
    """Says over which replicas the stream went."""
    cuts = [f" at token {place.at_token} on to {place.target}" for place in answer.resumed]
    way = "".join((answer.way[0], *cuts))
    return replace(found, detail=f"{found.detail} ({way})")
