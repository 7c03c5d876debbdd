"""Server-sent events come out whole, wherever the bytes were cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyfleet.gate.http.sse import MAX_EVENT_BYTES, EventCutter, EventTooLong, data_of, payloads, split_events

calm = settings(suppress_health_check=[HealthCheck.too_slow])  # streams are large to draw on a busy machine
_texts = st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), max_size=20)
_ends = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def _streams(draw):
    """Events as the standard's grammar allows them, and the data that a parser must find in each."""
    end, raw, wanted = draw(_ends), "", []
    for lines in draw(st.lists(st.lists(_texts, min_size=1, max_size=3), max_size=5)):
        for extra in draw(st.lists(st.sampled_from([": keep-alive", "id: 7", "event: x"]), max_size=2)):
            raw += extra + end
        raw += "".join(f"data: {line}{end}" for line in lines) + end
        wanted.append("\n".join(lines).encode())
    return raw.encode(), wanted, draw(st.sampled_from(["", "data: half", "da"]))


@calm
@given(_streams(), st.randoms())
def test_events_cut_anywhere_are_the_same_events(made, chance):
    raw, wanted, rest = made
    cutter, at, passed = EventCutter(), 0, b""
    whole = raw + rest.encode()
    while at < len(whole):
        step = chance.randint(1, 6)
        passed += cutter.feed(whole[at : at + step])
        at += step
    assert list(payloads(passed)) == wanted
    assert whole.startswith(passed)
    assert len(whole) - len(passed) <= len(rest) + 2


@calm
@given(_streams())
def test_every_single_cut_point_gives_the_same_bytes(made):
    raw, _, rest = made
    whole = raw + rest.encode()
    for cut in range(len(whole) + 1):
        cutter = EventCutter()
        first, second = cutter.feed(whole[:cut]), cutter.feed(whole[cut:])
        again = EventCutter()
        assert first + second + cutter.rest == whole
        assert list(payloads(first + second)) == list(payloads(again.feed(whole)))
        assert not first or re.search(rb"(?:\r\n|\n|\r)(?:\r\n|\n|\r)$", first)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_held_or_passed_and_never_lost(junk, cut):
    cutter = EventCutter()
    assert cutter.feed(junk[:cut]) + cutter.feed(junk[cut:]) + cutter.rest == junk


@calm
@given(_streams())
def test_splitting_loses_nothing_but_empty_events(made):
    raw, wanted, _ = made
    events = split_events(raw)
    assert [data_of(event) for event in events if data_of(event) is not None] == wanted


def test_an_event_without_end_is_not_kept_for_ever():
    cutter = EventCutter()
    cutter.feed(b"x" * MAX_EVENT_BYTES)
    with pytest.raises(EventTooLong):
        cutter.feed(b"x")
