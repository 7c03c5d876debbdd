"""A toy language model without weights: the next token follows from all tokens before it.

One token lost, doubled or changed anywhere changes everything after it, so a stream that was resumed wrongly cannot
end like the undisturbed one. Characters of several bytes are split over several tokens, as real tokenisers do it, and
text does not tokenise back into the ids that made it, so that resuming by text comes out wrong too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

END = 0
_WORDS = tuple(
    f" {first}{middle}{last}"
    for first in ("b", "dr", "f", "gl", "k", "m", "pl", "st")
    for middle in ("a", "e", "i", "o", "u")
    for last in ("", "l", "n", "r", "s", "t")
)
_WIDE = ("é", "ß", "–", "€", "雪", "🙂")
_WIDE_FROM, _BYTES_FROM = 1_000, 2_000
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Step:
    """One token: its id, and the bytes that it adds to the text (none for the end)."""

    id: int
    raw: bytes


def prompt_ids(text: str) -> list[int]:
    """The ids of a prompt: one by byte."""
    return [_BYTES_FROM + byte for byte in text.encode()]


def chat_ids(messages: Sequence[dict[str, object]]) -> list[int]:
    """The ids of a conversation, as its template renders it."""
    rendered = "".join(f"<{message.get('role')}>{message.get('content')}\n" for message in messages)
    return prompt_ids(rendered + "<assistant>")


def continuation(prompt: Sequence[int], end_one_in: int = 0) -> Iterator[Step]:
    """What the model says after `prompt`. It ends by itself at one token in `end_one_in` (0: never)."""
    state, last = 0, END
    for token in prompt:
        state, last = _mix(state, token), token
    while True:
        last = _next(state, last, end_one_in)
        state = _mix(state, last)
        yield Step(last, raw_of(last))
        if last == END:
            return


def raw_of(token: int) -> bytes:
    """The bytes of a token."""
    if token == END:
        return b""
    if token >= _BYTES_FROM:
        return bytes([token - _BYTES_FROM])
    if token >= _WIDE_FROM:
        wide, part = divmod(token - _WIDE_FROM, 4)
        return _WIDE[wide].encode()[part : part + 1]
    return _WORDS[token - 1].encode()


def _mix(state: int, token: int) -> int:
    return ((state ^ (token + 1)) * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & _MASK


def _next(state: int, last: int, end_one_in: int) -> int:
    if _WIDE_FROM <= last < _BYTES_FROM:
        wide, part = divmod(last - _WIDE_FROM, 4)
        if part + 1 < len(_WIDE[wide].encode()):
            return last + 1
    draw = state >> 24
    if end_one_in and draw % end_one_in == 0:
        return END
    if draw % 16 == 1:
        return _WIDE_FROM + 4 * (draw // 16 % len(_WIDE))
    return 1 + draw // 16 % len(_WORDS)
