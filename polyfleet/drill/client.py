"""A client that reads one stream and never forgives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import aiohttp

from polyfleet.drill.answer import Answer
from polyfleet.drill.asks import Ask


class Audience(Protocol):
    """Is told of every event that a client reads."""

    def __call__(self, index: int) -> None: ...


async def read_all(
    endpoint: str, asked: list[Ask], *, key: str | None = None, limit_s: float = 120.0, seen: Audience | None = None
) -> list[Answer]:
    """Sends all requests at once, each on a connection of its own; gives the answers in their order.

    A refusal that names a time (429 or 503 with Retry-After) is taken as an invitation to come back then.
    """
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    tell: Callable[[int], None] = seen or (lambda _index: None)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as client:
        return list(await asyncio.gather(*(_read_patiently(client, endpoint, ask, limit_s, tell) for ask in asked)))


async def _read_patiently(
    client: aiohttp.ClientSession, endpoint: str, ask: Ask, limit_s: float, seen: Callable[[int], None]
) -> Answer:
    """Comes back when a full fleet says so, as clients do; how often is in `Answer.refusals`."""
    until, refusals = time.perf_counter() + limit_s, 0
    while True:
        answer = await read_one(client, endpoint, ask, max(1.0, until - time.perf_counter()), seen)
        answer.refusals = refusals
        wait_s = _wait_s(answer)
        if wait_s is None or time.perf_counter() + wait_s > until:
            return answer
        refusals += 1
        await asyncio.sleep(wait_s)


def _wait_s(answer: Answer) -> float | None:
    """After how long to come back; None: this is final."""
    if answer.status not in {429, 503} or answer.retry_after is None:
        return None
    try:
        return max(0.1, float(answer.retry_after))
    except ValueError:
        return None


async def read_one(
    client: aiohttp.ClientSession, endpoint: str, ask: Ask, limit_s: float, seen: Callable[[int], None]
) -> Answer:
    """Sends one request on a session of the caller's and reads its answer."""
    answer = Answer(ask.index, sent_at=time.perf_counter())
    try:
        async with asyncio.timeout(limit_s), client.post(endpoint + ask.path, json=ask.body, timeout=None) as response:
            answer.status = response.status
            answer.route = response.headers.get("x-polyfleet-route", "")
            if response.status == 200:
                await _read_events(response.content, answer, seen)
            else:
                answer.retry_after = response.headers.get("Retry-After")
                answer.fail(f"HTTP {response.status}: {(await response.text())[:200]}")
    except TimeoutError:
        answer.fail(f"no whole answer within {limit_s:g} s")
    except (aiohttp.ClientError, OSError) as error:
        answer.fail(f"the connection broke: {error!r}")
    return answer


async def _read_events(content: aiohttp.StreamReader, answer: Answer, seen: Callable[[int], None]) -> None:
    rest, last = b"", answer.sent_at
    async for data in content.iter_any():
        now = time.perf_counter()
        if answer.first_s is None:
            answer.first_s = now - answer.sent_at
        else:
            answer.longest_gap_s = max(answer.longest_gap_s, now - last)
        last = now
        *whole, rest = (rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
        for event in whole:
            answer.take(event)
            seen(answer.index)
    if rest.strip():
        answer.fail(f"half an event at the end: {rest[:60]!r}")
    answer.close()
