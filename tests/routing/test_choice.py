"""Canary, room, shares, price and conversation in one choice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyfleet.routing import Canary, Choice, View, nearest_bucket, work_tokens

SIZE = (100.0, 100.0, 125.0)


def view_of(shares: list[float], **more) -> View:
    count = len(shares)
    given_rows = {"canary": [None] * count, "usd_input": [0.0] * count, "usd_output": [0.0] * count, **more}
    dynamic = {name: given_rows.pop(name) for name in ("work", "flights", "limits") if name in given_rows}
    view = View(tuple(f"r{i}" for i in range(count)), [shares], [max(s, 0.5) for s in shares], **given_rows)
    view.work = dynamic.get("work", [0.0] * count)
    view.flights = dynamic.get("flights", [0] * count)
    view.limits = dynamic.get("limits", [4.0] * count)
    return view


def chosen_of(view: View, times: int, key: str | None = None, allowed: list[int] | None = None) -> list[int]:
    choice = Choice(view)
    everyone = list(range(len(view.ids))) if allowed is None else allowed
    return [choice.choose(view, 0, SIZE, key, everyone) for _ in range(times)]


@given(st.floats(0.0, 1.0), st.integers(1, 500))
def test_a_canary_takes_its_share_of_any_run(share, requests):
    canary = Canary(share)
    taken = sum(canary.takes(None) for _ in range(requests))
    assert abs(taken - share * requests) <= 1.0


def test_a_conversation_stays_with_the_canary_or_never_meets_it():
    canary = Canary(0.3)
    hashes = [(i * 0x51_7C_C1_B7_27_22_0A_95) % (1 << 64) for i in range(3000)]
    first = [canary.takes(hashed) for hashed in hashes]
    assert [canary.takes(hashed) for hashed in hashes] == first
    assert 0.26 < sum(first) / len(first) < 0.34


def test_the_canary_gets_its_share_and_no_more():
    chosen = chosen_of(view_of([1.0, 1.0, 1.0], canary=[None, None, 0.1]), 1000)
    assert chosen.count(2) == 100
    assert abs(chosen.count(0) - chosen.count(1)) <= 1


def test_two_canaries_each_meet_their_own_conversations():
    view = view_of([1.0, 1.0, 1.0], canary=[None, 0.2, 0.2])
    choice = Choice(view)
    homes = [choice.choose(view, 0, SIZE, f"talk {i}", [0, 1, 2]) for i in range(1000)]
    assert abs(homes.count(1) - 200) < 60
    assert abs(homes.count(2) - 160) < 60


def test_only_the_canary_is_left_so_it_takes_all():
    assert chosen_of(view_of([1.0, 1.0], canary=[None, 0.0]), 5, allowed=[1]) == [1] * 5


def test_a_full_route_is_passed_over_while_another_has_room():
    assert chosen_of(view_of([1.0, 1.0], flights=[4, 0], work=[0.0, 900.0]), 5) == [1] * 5


def test_all_full_goes_by_work():
    assert chosen_of(view_of([1.0, 1.0], flights=[9, 9], work=[5000.0, 0.0]), 1) == [1]


def test_a_route_without_a_share_takes_only_the_overflow_and_the_cheapest_first():
    prices = {"usd_input": [0.0, 1.0, 0.5], "usd_output": [0.0, 2.0, 1.0]}
    assert chosen_of(view_of([1.0, 0.0, 0.0], **prices), 20) == [0] * 20
    assert chosen_of(view_of([1.0, 0.0, 0.0], flights=[4, 0, 0], **prices), 3) == [2] * 3
    assert chosen_of(view_of([1.0, 0.0, 0.0], flights=[4, 0, 4], **prices), 3) == [1] * 3
    assert chosen_of(view_of([1.0, 0.0, 0.0], flights=[4, 4, 4], **prices), 3) == [0] * 3


def test_no_share_anywhere_still_answers():
    assert chosen_of(view_of([0.0, 0.0], work=[10.0, 0.0]), 1) == [1]


def test_a_conversation_keeps_its_route_until_that_is_full():
    view = view_of([1.0, 1.0, 1.0, 1.0])
    home = chosen_of(view, 1, "talk")[0]
    assert chosen_of(view, 10, "talk") == [home] * 10
    view.flights[home] = 4
    away = chosen_of(view, 10, "talk")
    assert home not in away
    assert len(set(away)) == 1


def test_conversations_spread():
    view, choice = view_of([1.0] * 4), Choice(view_of([1.0] * 4))
    homes = [choice.choose(view, 0, SIZE, f"talk {i}", [0, 1, 2, 3]) for i in range(400)]
    assert all(60 < homes.count(i) < 140 for i in range(4))


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.data())
def test_only_an_allowed_route_is_chosen(open_ones, data):
    count = len(open_ones)
    shares = data.draw(st.lists(st.sampled_from([0.0, 1.0, 3.0]), min_size=count, max_size=count))
    flights = data.draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
    canary = data.draw(st.lists(st.sampled_from([None, 0.5]), min_size=count, max_size=count))
    key = data.draw(st.sampled_from([None, "talk"]))
    allowed = [i for i in range(count) if open_ones[i]]
    for chosen in chosen_of(view_of(shares, flights=flights, canary=canary), 5, key, allowed):
        assert chosen in allowed or (chosen == -1 and not allowed)


@pytest.mark.parametrize(("size", "bucket"), [((90, 110), 0), ((1000, 1100), 1), ((5000, 10), 2), ((0, 0), 0)])
def test_the_nearest_bucket_is_nearest_in_ratio(size, bucket):
    assert nearest_bucket([(100, 100), (1000, 1000), (4000, 20)], *size) == bucket


def test_work_counts_input_at_a_quarter_and_is_never_nothing():
    assert work_tokens(400, 100) == 200.0
    assert work_tokens(0, 0) == 1.0
