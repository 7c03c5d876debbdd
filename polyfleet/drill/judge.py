"""Is an answer the one of the undisturbed run? And if not, what is missing or there twice?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum

from polyfleet.drill.answer import Answer


class Outcome(StrEnum):
    """FAILED: no whole answer. LOST, DOUBLED: text is missing, or there that should not be. CHANGED: both.
    MISCOUNTED: the text is right, its usage or finish reason is not."""

    EQUAL = "equal"
    FAILED = "failed"
    LOST = "lost"
    DOUBLED = "doubled"
    CHANGED = "changed"
    MISCOUNTED = "miscounted"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one stream. Tokens are events that carry text: an engine that puts several tokens in one event
    makes them fewer."""

    index: int
    outcome: Outcome
    tokens_lost: int = 0
    tokens_doubled: int = 0
    detail: str = ""


def judge(reference: Answer, answer: Answer) -> Judgement:
    """Compares text, finish reason and usage with the undisturbed answer to the same request."""
    if answer.error is not None:
        return Judgement(answer.index, Outcome.FAILED, detail=answer.error)
    if answer.text != reference.text:
        return _judge_text(reference, answer)
    told = (answer.finish_reason, answer.input_tokens, answer.output_tokens)
    right = (reference.finish_reason, reference.input_tokens, reference.output_tokens)
    if told != right:
        detail = f"finish reason, input and output tokens are {told}, undisturbed {right}"
        return Judgement(answer.index, Outcome.MISCOUNTED, detail=detail)
    return Judgement(answer.index, Outcome.EQUAL)


def _judge_text(reference: Answer, answer: Answer) -> Judgement:
    missing, extra = differences(reference.text, answer.text)
    lost, doubled = _pieces_of(reference, missing), _pieces_of(answer, extra)
    outcome = Outcome.CHANGED if lost and doubled else Outcome.LOST if lost else Outcome.DOUBLED
    at = min(start for start, _ in (*missing, *extra))
    here, there = reference.text[max(0, at - 10) : at + 20], answer.text[max(0, at - 10) : at + 20]
    return Judgement(answer.index, outcome, lost, doubled, f"from character {at}: {there!r}, undisturbed {here!r}")


Spans = list[tuple[int, int]]


def differences(right: str, told: str) -> tuple[Spans, Spans]:
    """Spans of `right` that are missing in `told`, and spans of `told` that are not in `right`.

    One gap or one repetition is found exactly, also in text that repeats itself; anything else by difflib.
    """
    start = _common(right, told)
    end = _common(right[start:][::-1], told[start:][::-1])
    if start + end == len(told):
        return [(start, len(right) - end)], []
    if start + end == len(right):
        return [], [(start, len(told) - end)]
    codes = SequenceMatcher(None, right, told, autojunk=False).get_opcodes()
    missing = [(a, b) for code, a, b, _, _ in codes if code in {"delete", "replace"}]
    return missing, [(a, b) for code, _, _, a, b in codes if code in {"insert", "replace"}]


def _common(one: str, other: str) -> int:
    """Length of the longest common beginning."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))


def _pieces_of(answer: Answer, spans: Spans) -> int:
    """How many pieces the spans touch. One span alone may lie in several places with the same effect (a gap in `aab`
    that leaves `ab`): the one that touches fewest is counted."""
    if len(spans) != 1:
        return _touched(answer.pieces, spans)
    text, (start, end) = answer.text, spans[0]
    fewest = _touched(answer.pieces, [(start, end)])
    while start > 0 and text[start - 1] == text[end - 1]:
        start, end = start - 1, end - 1
        fewest = min(fewest, _touched(answer.pieces, [(start, end)]))
    return fewest


def _touched(pieces: Sequence[str], spans: Spans) -> int:
    count, start = 0, 0
    for piece in pieces:
        end = start + len(piece)
        count += any(left < end and start < right for left, right in spans)
        start = end
    return count
