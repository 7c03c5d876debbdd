"""The client refuses what a strict client would, and reads the same however the bytes are cut."""

from __future__ import annotations

import asyncio
import itertools
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyfleet.drill.answer import Answer, Handover
from polyfleet.drill.client import _read_events


def event(text: str = "", finish: str | None = None, **more: object) -> bytes:
    told = {"id": "1", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **more}
    return b"data: " + json.dumps(told, ensure_ascii=False).encode() + b"\n\n"


USAGE = b'data: {"id": "1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = event("é") + event("🙂", "stop") + USAGE + DONE


class Content:
    """Stands in for aiohttp's reader: gives these bytes, piece by piece."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts

    async def iter_any(self):
        for part in self.parts:
            yield part


def read(parts: list[bytes]) -> Answer:
    answer = Answer(0, 200)
    asyncio.run(_read_events(Content(parts), answer, lambda _index: None))  # type: ignore[arg-type]
    return answer


@given(st.lists(st.integers(0, len(WHOLE)), max_size=6))
def test_any_cut_reads_the_same(cuts: list[int]) -> None:
    places = sorted({0, len(WHOLE), *cuts})
    answer = read([WHOLE[a:b] for a, b in itertools.pairwise(places)])
    assert answer.error is None
    assert (answer.text, answer.finish_reason, answer.output_tokens) == ("é🙂", "stop", 2)


def test_every_truncation_is_refused() -> None:
    async def run() -> list[Answer]:
        answers = [Answer(end, 200) for end in range(len(WHOLE)) if WHOLE[end:].strip()]
        for answer in answers:
            await _read_events(Content([WHOLE[: answer.index]]), answer, lambda _index: None)  # type: ignore[arg-type]
        return answers

    answers = asyncio.run(run())
    assert len(answers) >= len(WHOLE) - 2
    assert [answer.index for answer in answers if answer.error is None] == []


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (event("a") + DONE, "no finish reason"),
        (event("a", "stop") + DONE, "no usage"),
        (event("a", "stop") + USAGE, r"without \[DONE\]"),
        (event("a", "stop") + event("b") + USAGE + DONE, "text after the finish reason"),
        (event("a", "stop") + event("", "stop") + USAGE + DONE, "second finish reason"),
        (WHOLE + event("a"), r"after \[DONE\]"),
        (WHOLE + b"data: {", "half an event"),
        (event("a") + b"data: {nonsense}\n\n" + WHOLE, "none of OpenAI's"),
        (event("a") + b"garbage\n\n" + WHOLE, "no data"),
        (event("a") + WHOLE.replace(b'"id": "1"', b'"id": "2"'), "id changed"),
        (event("a") + b'data: {"error": {"message": "died"}}\n\n' + DONE, "an error event"),
        (event("a") + b'data: {"id": "1", "choices": [{"delta": {"content": "\xff"}}]}\n\n' + WHOLE, "none of OpenAI"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, why: str) -> None:
    answer = read([data])
    assert answer.error is not None
    assert re.search(why, answer.error)


def test_where_a_stream_went_on_is_read() -> None:
    places = [{"from": "a", "to": "b", "at_token": 3, "at_character": 9}, {"from": "b", "to": "c", "at_token": 5}]
    told = json.dumps({"resumed": places}).encode()
    last = USAGE.replace(b'"choices"', b'"polyfleet": ' + told + b', "choices"')
    answer = read([event("a", "stop") + last + DONE])
    assert answer.resumed == (Handover("a", "b", 3), Handover("b", "c", 5))
    assert answer.way == ("a", "b", "c")
    assert answer.error is None


def test_a_hand_over_that_does_not_say_where_is_refused() -> None:
    last = USAGE.replace(b'"choices"', b'"polyfleet": {"resumed": [{"from": "a", "to": "b"}]}, "choices"')
    assert "none of OpenAI's" in str(read([event("a", "stop") + last + DONE]).error)
