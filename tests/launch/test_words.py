"""What is taken from a log as the reason of a death."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyfleet.launch.words import last_life, reason

LLAMA = [
    "polyfleet: starting chat-0 on http://127.0.0.1:1, 2026-11-24 14:32:33 UTC",
    "0.01 W srv init: n_ctx is large",
    "0.02 E llama_model_load: error loading model: the file is cut",
    "0.03 E srv init: exiting due to model loading error",
    "llama.cpp: it could not start, for the reason above",
    "polyfleet: chat-0 ended with exit code 1",
]


def test_an_earlier_life_does_not_count():
    assert last_life([*LLAMA, LLAMA[0], "fine"]) == ["fine"]
    assert last_life(["no life begins here"]) == ["no life begins here"]


@pytest.mark.parametrize(("lines", "why"), [
    (LLAMA, "0.02 E llama_model_load: error loading model: the file is cut"),
    (["Traceback (most recent call last):", "RuntimeError: no GPU"], "RuntimeError: no GPU"),
    (["loading", "killed", "polyfleet: chat-0 was ended by SIGKILL"], "killed"),
    (["polyfleet: chat-0 was ended by SIGKILL"], "chat-0 was ended by SIGKILL"),
    ([], ""),
])  # fmt: skip
def test_the_reason_is_the_first_error_else_the_last_word_else_how_it_ended(lines, why):
    assert reason(lines) == why


@given(st.lists(st.text()))
def test_any_log_gives_a_reason_that_stands_in_it(lines):
    found = reason(last_life(lines))
    assert found == "" or any(found in line for line in lines)
