"""What a client must have read of a stream that went over several engines: asked of the engines themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from polyfleet.drill.direct import Direct, Rest


class Right(NamedTuple):
    """A whole answer, and the ids behind it."""

    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int
    prompt: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()

    @property
    def told(self) -> tuple[str, str, int, int]:
        """What its client sees."""
        return self.text, self.finish, self.prompt_tokens, self.completion_tokens


async def right_answer(
    engines: Sequence[Direct], body: dict[str, Any], cuts: Sequence[int] = (), stops: Sequence[str] = ()
) -> Right:
    """The first engine's undisturbed answer up to `cuts[0]` tokens, then what the second itself says after exactly
    these ids, up to `cuts[1]` tokens of the answer, and so on; one cut less than engines. Greedy.

    Raises LaunchError where an engine does not answer.
    """
    limit, kept, text = body["max_tokens"], list[int](), ""
    prompt = await engines[0].prompt_ids(body)
    for engine, end in zip(engines, cuts, strict=False):  # its text, not its tokens' text: special ones are not said
        part = await _go_on(engine, prompt + kept, min(end, limit) - len(kept), body)
        kept, text = kept + part.ids, text + part.text
    last = engines[-1]
    rest = await _go_on(last, prompt + kept, limit - len(kept), body)
    text += rest.text
    found = [(at, stop) for stop in stops if (at := text.find(stop)) >= 0]
    ids = tuple(kept + rest.ids)
    if not found:
        return Right(text, rest.finish, len(prompt), len(kept) + rest.made, tuple(prompt), ids)
    at, stop = min(found)
    made = await _tokens_to(stop, last, prompt, kept, rest.ids, body["model"])
    return Right(text[:at], "stop", len(prompt), made, tuple(prompt), ids)


async def spelled(right: Right, engine: Direct, model: str) -> list[str]:
    """The answer's text in pieces of a token each; in one where its ids spell another text."""
    pieces = await engine.pieces(list(right.prompt), list(right.ids), model)
    return pieces if "".join(pieces) == right.text else [right.text]


async def _go_on(engine: Direct, ids: list[int], left: int, body: dict[str, Any]) -> Rest:
    return await engine.go_on(ids, left, body) if left > 0 else Rest("", [], "length", 0)


async def _tokens_to(stop: str, engine: Direct, prompt: list[int], kept: list[int], ids: list[int], model: str) -> int:
    """The fewest tokens whose text has the whole stop string."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        if stop in await engine.text(prompt, kept + ids[:middle], model):
            high = middle
        else:
            low = middle + 1
    return len(kept) + high
