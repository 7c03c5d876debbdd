"""Answers that miss or repeat something are named, and counted in tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from polyfleet.drill.answer import Answer
from polyfleet.drill.judge import Outcome, differences, judge

WORDS = st.lists(st.sampled_from([" a", " ab", " b", " ba", "c", "é", "🙂 "]), min_size=1, max_size=30)


def answer(pieces: list[str], *, finish: str = "stop", output: int | None = None) -> Answer:
    made = Answer(0, 200, list(pieces), finish, 5, len(pieces) if output is None else output)
    made.done = True
    return made


@given(WORDS)
def test_the_same_text_in_other_pieces_is_equal(pieces: list[str]) -> None:
    told = answer(["".join(pieces)], output=len(pieces))
    assert judge(answer(pieces), told).outcome is Outcome.EQUAL


@given(WORDS, st.data())
def test_a_gap_is_lost_and_counted(pieces: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(pieces) - 1))
    count = data.draw(st.integers(1, len(pieces) - start))
    found = judge(answer(pieces), answer(pieces[:start] + pieces[start + count :]))
    assert found.outcome is Outcome.LOST
    assert 1 <= found.tokens_lost <= count
    assert found.tokens_doubled == 0


@given(WORDS, st.data())
def test_a_repetition_is_doubled_and_counted(pieces: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(pieces) - 1))
    count = data.draw(st.integers(1, len(pieces) - start))
    told = pieces[: start + count] + pieces[start:]
    found = judge(answer(pieces), answer(told))
    assert found.outcome is Outcome.DOUBLED
    assert found.tokens_lost == 0
    assert 1 <= found.tokens_doubled <= count


@given(WORDS, WORDS)
def test_what_differs_is_exactly_what_must_be_taken_out_and_put_in(one: list[str], other: list[str]) -> None:
    right, told = "".join(one), "".join(other)
    missing, extra = differences(right, told)
    assert without(right, missing) == without(told, extra)


def without(text: str, spans: list[tuple[int, int]]) -> str:
    return "".join(mark for place, mark in enumerate(text) if not any(a <= place < b for a, b in spans))


def test_right_text_with_wrong_counts_is_miscounted() -> None:
    right = answer([" a", " b"])
    assert judge(right, answer([" a", " b"], output=3)).outcome is Outcome.MISCOUNTED
    assert judge(right, answer([" a", " b"], finish="length")).outcome is Outcome.MISCOUNTED


def test_a_failed_answer_is_failed_even_if_its_text_is_right() -> None:
    told = answer([" a"])
    told.fail("the connection broke")
    assert judge(answer([" a"]), told).outcome is Outcome.FAILED
