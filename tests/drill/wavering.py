"""A mock engine that wavers: between some tokens and another it is all but indifferent, and chance decides."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import orjson
from mock_answer import Asked, Piece, asked_for, pieces
from mock_upstream import Mock, _plain

from polyfleet.drill.sure import MARGIN

_UNSURE = 37
OTHER = " other"


@dataclass
class Wavering(Mock):
    """`share` of the unsure tokens come out otherwise, once `steady_for` answers have been given. Which tokens are
    unsure follows from their ids, so that another replica is unsure of the same ones."""

    share: float = 0.5
    steady_for: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def _say(self, path: str, body: bytes) -> tuple[Asked, list[Piece]]:
        asked = asked_for(body, path == "/v1/chat/completions", self.dialect)
        said = list(pieces(asked, self.dialect))
        if self.stats.requests > self.steady_for:
            for piece in said:
                if unsure(piece) and self.chance.random() < self.share:
                    piece.text = OTHER
        return asked, said

    async def at_pace(self, path: str, body: bytes, transport: asyncio.Transport) -> None:
        asked, said = self._say(path, body)
        if asked.stream:
            await super().at_pace(path, body, transport)
        else:
            transport.write(_plain(orjson.dumps({"choices": [{"logprobs": _logprobs(said, asked)}]})))


def unsure(piece: Piece) -> bool:
    """One token in so many, none that is half a character."""
    return any(token % _UNSURE == 0 for token in piece.ids) and piece.text.startswith(" ")


def _logprobs(said: list[Piece], asked: Asked) -> dict[str, object]:
    gaps = [MARGIN / 2 if unsure(piece) else 1.0 for piece in said]
    if asked.chat:
        return {"content": [{"top_logprobs": [{"logprob": -0.1}, {"logprob": -0.1 - gap}]} for gap in gaps]}
    return {"top_logprobs": [{"a": -0.1, "b": -0.1 - gap} for gap in gaps]}
