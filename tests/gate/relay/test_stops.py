"""Stop strings are found wherever the text is cut. Oracle: the whole text, searched once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from polyfleet.gate.relay.stops import StopWatch

_stops = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3)


@given(st.lists(st.text("abc", max_size=5), max_size=12), _stops, st.booleans())
def test_text_ends_at_the_first_stop_however_it_comes(pieces, stops, keep):
    watch, said, fed = StopWatch(stops, keep=keep), "", ""
    for piece in pieces:
        said += watch.feed(piece)
        fed += piece
        at = min((fed.find(stop) for stop in stops if stop in fed), default=None)
        if at is not None:
            assert watch.hit is not None
            assert fed.startswith(watch.hit, at)
            assert said == fed[: at + (len(watch.hit) if keep else 0)]
            return
        assert watch.hit is None
        assert fed.startswith(said)
        assert not any(
            stop.startswith(fed[i:]) for stop in stops for i in range(min(len(said), len(fed))) if fed[i:]
        ), "what may begin a stop string was said"
    assert said + watch.flush() == fed
