"""OpenAI-form answers of the mock engine, in vLLM's dialect (`return_token_ids`)."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson
from mock_language import END, chat_ids, continuation, prompt_ids, raw_of


class BadRequest(Exception):
    """Answered with 400 and this text."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the engine talks: tokens where a request names none, tokens in one event, how often an answer ends itself."""

    tokens: int = 64
    merge: int = 1
    end_one_in: int = 0


@dataclass(slots=True)
class Piece:
    """What one event says: text that is complete in UTF-8, and the ids that came with it."""

    text: str = ""
    ids: list[int] = field(default_factory=list)
    finish: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request matters here."""

    chat: bool
    model: str
    prompt: list[int]
    max_tokens: int
    stop: tuple[str, ...]
    stream: bool
    usage: bool
    with_ids: bool
    logprobs: bool


def asked_for(body: bytes, chat: bool, dialect: Dialect) -> Asked:
    """Reads a request. Raises BadRequest where it is none."""
    try:
        asked: dict[str, Any] = orjson.loads(body)
        prompt = chat_ids(asked["messages"]) if chat else _prompt(asked["prompt"])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise BadRequest(f"no request: {error!r}") from None
    stop = asked.get("stop") or ()
    return Asked(
        chat,
        str(asked.get("model", "mock")),
        prompt,
        int(asked.get("max_completion_tokens") or asked.get("max_tokens") or dialect.tokens),
        (stop,) if isinstance(stop, str) else tuple(stop),
        bool(asked.get("stream")),
        bool((asked.get("stream_options") or {}).get("include_usage")),
        bool(asked.get("return_token_ids")),
        bool(asked.get("logprobs")),
    )


def _prompt(prompt: str | list[int] | list[str]) -> list[int]:
    if isinstance(prompt, str):
        return prompt_ids(prompt)
    if prompt and isinstance(prompt[0], str):
        return prompt_ids(str(prompt[0]))
    return [int(token) for token in prompt]


def pieces(asked: Asked, dialect: Dialect) -> Iterator[Piece]:
    """The events of an answer. Where stop strings are asked for, text is held back as far as one could begin in it,
    so that ids run ahead of text, as vLLM's do."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    held, hold = "", max((len(stop) for stop in asked.stop), default=1) - 1
    steps = continuation(asked.prompt, dialect.end_one_in)
    piece, count = Piece(), 0
    for count, step in enumerate(islice(steps, asked.max_tokens), 1):
        piece.ids.append(step.id)
        last = step.id == END or count == asked.max_tokens
        held += decoder.decode(step.raw, final=last)
        cut = min((held.find(stop) for stop in asked.stop if stop in held), default=None)
        if cut is not None or last:
            piece.finish = "length" if cut is None and step.id != END else "stop"
            piece.text += held if cut is None else held[:cut]
            yield piece
            return
        free = len(held) - hold
        if free > 0:
            piece.text, held = piece.text + held[:free], held[free:]
        if len(piece.ids) >= dialect.merge:
            yield piece
            piece = Piece()


def events(asked: Asked, said: Sequence[Piece]) -> Iterator[bytes]:
    """The SSE events of a streamed answer, `[DONE]` last."""
    head = _head(asked, ".chunk" if asked.chat else "")
    if asked.chat:
        first = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        told = {**head, "choices": [first]} | ({"prompt_token_ids": asked.prompt} if asked.with_ids else {})
        yield b"data: " + orjson.dumps(told) + b"\n\n"
    offset = 0
    for index, piece in enumerate(said):
        choice: dict[str, object] = {"index": 0}
        choice |= {"delta": {"content": piece.text}} if asked.chat else {"text": piece.text}
        choice |= {"logprobs": _logprobs(asked, piece, offset), "finish_reason": piece.finish, "stop_reason": None}
        if asked.with_ids:
            choice["token_ids"] = piece.ids
            if not asked.chat and index == 0:
                choice["prompt_token_ids"] = asked.prompt
        offset += len(piece.text)
        yield b"data: " + orjson.dumps({**head, "choices": [choice]}) + b"\n\n"
    if asked.usage:
        yield b"data: " + orjson.dumps({**head, "choices": [], "usage": _usage(asked, said)}) + b"\n\n"
    yield b"data: [DONE]\n\n"


def whole(asked: Asked, said: Sequence[Piece]) -> bytes:
    """An answer that is not streamed."""
    text, ids = "".join(piece.text for piece in said), [token for piece in said for token in piece.ids]
    choice: dict[str, object] = {"index": 0, "finish_reason": said[-1].finish}
    choice |= {"message": {"role": "assistant", "content": text}} if asked.chat else {"text": text}
    choice["logprobs"] = _logprobs(asked, Piece(text, ids), 0)
    if asked.with_ids:
        choice["token_ids"] = ids
        choice["prompt_token_ids"] = asked.prompt
    return orjson.dumps({**_head(asked, ""), "choices": [choice], "usage": _usage(asked, said)})


def _head(asked: Asked, suffix: str) -> dict[str, object]:
    kind = "chat.completion" if asked.chat else "text_completion"
    return {"id": "mock-1", "object": kind + suffix, "created": 1_700_000_000, "model": asked.model}


def _usage(asked: Asked, said: Sequence[Piece]) -> dict[str, int]:
    output = sum(len(piece.ids) for piece in said)
    asked_tokens = len(asked.prompt)
    return {
        "prompt_tokens": asked_tokens,
        "completion_tokens": output,
        "total_tokens": asked_tokens + output,
    }


def _logprobs(asked: Asked, piece: Piece, offset: int) -> dict[str, object] | None:
    if not asked.logprobs:
        return None
    raws = [raw_of(token) for token in piece.ids]
    names = [raw.decode(errors="replace") for raw in raws]
    if asked.chat:
        rows = zip(names, raws, piece.ids, strict=True)
        return {
            "content": [
                {"token": name, "logprob": -(token % 7) / 8, "bytes": list(raw), "top_logprobs": []}
                for name, raw, token in rows
            ]
        }
    return {
        "tokens": names,
        "token_logprobs": [-(token % 7) / 8 for token in piece.ids],
        "top_logprobs": None,
        "text_offset": [offset] * len(names),
    }
