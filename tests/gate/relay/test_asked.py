"""What the gate reads out of a request. The limits are what llama.cpp and vLLM heed, as measured on them."""

from __future__ import annotations

import orjson
import pytest

from polyfleet.gate.http.faults import Fault
from polyfleet.gate.relay.asked import Asked, Kind, read_asked


def read(kind: Kind = Kind.CHAT, **fields) -> Asked:
    base = {Kind.CHAT: {"messages": []}, Kind.COMPLETIONS: {"prompt": "x"}}.get(kind, {"input": "x"})
    return read_asked(kind, orjson.dumps({"model": "m", **base, **fields}))


@pytest.mark.parametrize(
    ("kind", "fields", "limit"),
    [
        (Kind.CHAT, {}, None),
        (Kind.CHAT, {"max_tokens": 3}, 3),
        (Kind.CHAT, {"max_tokens": 3.0}, 3),
        (Kind.CHAT, {"max_completion_tokens": 3}, 3),
        (Kind.CHAT, {"max_completion_tokens": 3, "max_tokens": 9}, 9),  # engines differ in which they heed
        (Kind.CHAT, {"max_output_tokens": 3}, None),  # no engine heeds it here
        (Kind.CHAT, {"max_tokens": 3, "n_predict": 900}, None),  # llama.cpp heeds n_predict before all others
        (Kind.CHAT, {"n_predict": 3}, None),  # vLLM does not
        (Kind.COMPLETIONS, {"max_tokens": 3, "max_output_tokens": 1}, 3),
        (Kind.RESPONSES, {"max_output_tokens": 3, "max_tokens": 9}, 3),
    ],
)
def test_a_limit_is_believed_only_where_the_engine_heeds_it(kind, fields, limit):
    assert read(kind, **fields).max_tokens == limit


@pytest.mark.parametrize("fields", [{"max_tokens": 3, "max_completion_tokens": 9}, {"n_predict": 3}, {"n": 2.0}])
def test_where_it_is_not_sure_when_the_answer_ends_it_is_not_resumed(fields):
    assert read(**fields).not_resumable is not None


def test_two_equal_limits_are_one():
    assert read(max_tokens=3, max_completion_tokens=3).not_resumable is None


@pytest.mark.parametrize(
    ("fields", "answers"),
    [
        ({"prompt": "x"}, 1),
        ({"prompt": ["a", "b", "c"]}, 3),
        ({"prompt": ["a", "b", "c"], "n": 4}, 12),
        ({"prompt": [1, 2, 3], "n": 2}, 2),
        ({"prompt": [[1], [2]]}, 2),
        ({"prompt": [], "n": 0}, 1),
    ],
)
def test_every_prompt_is_answered_n_times(fields, answers):
    assert read(Kind.COMPLETIONS, **fields).answers == answers


@pytest.mark.parametrize("value", [-1, 1.5, True, "3", 2**63, 1e300, [3]])
def test_a_count_that_is_none_is_refused_by_name(value):
    with pytest.raises(Fault) as told:
        read(max_tokens=value)
    assert (told.value.status, told.value.param) == (400, "max_tokens")


def _deep(depth: int) -> bytes:
    return b'{"model":"m","messages":[],"x":' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize("depth", [1, 200, 240])
def test_what_is_let_in_can_be_written_again(depth):
    asked = read_asked(Kind.CHAT, _deep(depth))
    assert orjson.loads(asked.with_fields({"model": "other"}))["model"] == "other"


@pytest.mark.parametrize("depth", [255, 300, 1000, 5000])
def test_what_is_too_deep_to_be_written_again_is_refused(depth):
    with pytest.raises(Fault) as told:
        read_asked(Kind.CHAT, _deep(depth))
    assert told.value.status == 400
