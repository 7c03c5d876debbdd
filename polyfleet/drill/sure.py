"""Requests with one right answer: cut short before the first token between which and another the engine wavers.

Greedy decoding takes the likeliest token. Where two are all but equally likely, rounding decides, and rounding depends
on what else an engine computes at that moment: the same request then has two right answers, and a judge who compares
texts would be wrong about one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import aiohttp

from polyfleet.drill.asks import Ask

MARGIN = 0.02
"""Difference in log-probability above which no rounding turns two tokens round (measured between engines and
precisions: 4e-4 in the mean)."""
_AT_ONCE = 16


async def sure_asks(
    endpoint: str, asked: Sequence[Ask], *, key: str | None = None, limit_s: float = 120.0
) -> list[Ask]:
    """As many requests as `asked`, each with `max_tokens` such that every token of its answer is sure.

    Those with few sure tokens are left out and others repeated in their stead. An engine that tells no
    log-probabilities is taken at its word: its requests stay as they are.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    gate = asyncio.Semaphore(_AT_ONCE)
    async with aiohttp.ClientSession(headers=headers) as client:
        lengths = await asyncio.gather(*(_sure_tokens(client, endpoint, ask, gate, limit_s) for ask in asked))
    long = max((length for length in lengths if length is not None), default=0)
    kept = [
        _shortened(ask, length)
        for ask, length in zip(asked, lengths, strict=True)
        if length is None or (length and length >= long // 3)
    ]
    filled = islice(cycle(kept or asked), len(asked))
    return [Ask(index, ask.path, ask.body) for index, ask in enumerate(filled)]


def _shortened(ask: Ask, length: int | None) -> Ask:
    return ask if length is None else Ask(ask.index, ask.path, {**ask.body, "max_tokens": length})


async def _sure_tokens(
    client: aiohttp.ClientSession, endpoint: str, ask: Ask, gate: asyncio.Semaphore, limit_s: float
) -> int | None:
    """How many tokens come before the first that is not sure; None where that cannot be told."""
    chat = "messages" in ask.body
    more: dict[str, Any] = {"logprobs": True, "top_logprobs": 2} if chat else {"logprobs": 2}
    body = {name: value for name, value in ask.body.items() if not name.startswith("stream")} | more
    try:
        async with gate, asyncio.timeout(limit_s), client.post(endpoint + ask.path, json=body) as response:
            told = (await response.json())["choices"][0]
            gaps = margins(told.get("logprobs") or {})
            most = int(ask.body["max_tokens"])
    except (aiohttp.ClientError, OSError, TimeoutError, LookupError, TypeError, ValueError):
        return None
    if not gaps:
        return None
    unsure = [place for place, gap in enumerate(gaps) if gap < MARGIN]
    return min(unsure[0] if unsure else most, most)


def margins(logprobs: dict[str, Any]) -> list[float]:
    """Of each token: by how much it is likelier than the next (infinite where none is told).

    Reads the form of chats (`content`) and that of completions (`top_logprobs`). Raises KeyError, TypeError, ValueError
    where it is neither.
    """
    if rows := logprobs.get("content"):
        tops = [[float(top["logprob"]) for top in row["top_logprobs"]] for row in rows]
    else:
        tops = [[float(value) for value in (row or {}).values()] for row in logprobs.get("top_logprobs") or []]
    return [_margin(sorted(top, reverse=True)) for top in tops]


def _margin(ranked: list[float]) -> float:
    return ranked[0] - ranked[1] if len(ranked) > 1 else float("inf")
