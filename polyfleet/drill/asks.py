"""The requests of a drill: the same ones every time, greedy, so that each has one right answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_TOPICS = (
    "open a file",
    "sort a list",
    "parse a date",
    "copy a folder",
    "join two strings",
    "read a socket",
    "lock a thread",
    "round a number",
    "walk a tree",
    "start a process",
    "match a pattern",
    "write a log",
)
_FORMS = (
    "How do I {}?",
    "Explain in detail how to {}.",
    "Write the documentation of a function to {}.",
    "What can go wrong when I {}?",
    "Give an example that shows how to {}.",
)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `index` is its place among the streams of a drill."""

    index: int
    path: str
    body: dict[str, Any]


def asks(model: str, streams: int, tokens: int) -> list[Ask]:
    """`streams` streamed requests of up to `tokens` output tokens each; chats and completions take turns."""
    return [_ask(index, model, tokens) for index in range(streams)]


def _ask(index: int, model: str, tokens: int) -> Ask:
    text = _FORMS[index % len(_FORMS)].format(_TOPICS[index // 2 % len(_TOPICS)]) + f" ({index})"
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": tokens - index % 7,  # not all end at once
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if index % 2:
        return Ask(index, "/v1/completions", {**body, "prompt": text})
    return Ask(index, "/v1/chat/completions", {**body, "messages": [{"role": "user", "content": text}]})
