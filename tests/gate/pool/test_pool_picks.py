"""Who takes the next request, and what is counted while it runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pool_toys import ASK, fly, picked, pool_of, route, routes

from polyfleet.gate.pool.pool import Ask, Outcome, Pool
from polyfleet.terms.route import Routes, SizeBucket


def test_an_unknown_model_has_no_route():
    pool, _ = pool_of("a")
    assert pool.pick("other", ASK) is None
    assert pool.models() == ["chat"]
    assert pool.routes("other") == []
    assert not pool.ready("other")


def test_routes_take_what_the_plan_gives_them():
    pool = Pool(Routes(routes=(route("a", weight=3.0), route("b", weight=1.0))))
    names = picked(pool, 400)
    assert names.count("a") == 300


def test_each_size_goes_where_the_plan_sends_it():
    buckets = {
        "chat": (SizeBucket(input_tokens=100, output_tokens=100), SizeBucket(input_tokens=4000, output_tokens=50))
    }
    both = (route("short", weights=(1.0, 0.0)), route("long", weights=(0.0, 1.0)))
    pool = Pool(Routes(routes=both, buckets=buckets))
    assert pool.pick("chat", Ask(120, 90)).id == "short"
    assert pool.pick("chat", Ask(5000, 40)).id == "long"


def test_work_in_flight_sends_the_next_request_elsewhere():
    pool, _ = pool_of("a", "b")
    long = pool.begin("a", Ask(8000, 4000))
    assert picked(pool, 6) == ["b"] * 6
    long.done(Outcome.OK, 10)
    assert set(picked(pool, 12)) == {"a", "b"}


def test_none_of_those_to_avoid_is_picked():
    pool, _ = pool_of("a", "b", "c")
    assert set(picked(pool, 9, avoid=frozenset({"b"}))) == {"a", "c"}
    assert pool.pick("chat", ASK, frozenset({"a", "b", "c"})) is None


def test_a_draining_route_and_one_that_failed_parity_take_nothing_even_alone():
    pool = Pool(Routes(routes=(route("a", state="draining"), route("b", verdict="fail"))))
    assert pool.pick("chat", ASK) is None
    assert pool.room("chat") == 0.0
    assert not pool.ready("chat")


def test_a_prompt_too_long_for_one_goes_to_another_and_to_the_longest_where_none_fits():
    pool = Pool(Routes(routes=(route("short", context_tokens=256), route("long", context_tokens=4096))))
    assert {pool.pick("chat", Ask(1000, 10)).id for _ in range(5)} == {"long"}
    assert pool.pick("chat", Ask(9000, 10)) is not None


@given(
    st.lists(
        st.tuples(st.integers(0, 5000), st.integers(0, 500), st.lists(st.integers(0, 9), max_size=30)), max_size=12
    )
)
def test_work_and_flights_end_where_they_began(requests):
    pool, _ = pool_of("a", "b")
    flights = []
    for given_input, limit, pieces in requests:
        chosen = pool.pick("chat", Ask(given_input, limit))
        flight = pool.begin(chosen.id, Ask(given_input, limit))
        flights.append(flight)
        for piece in pieces:
            flight.tokens(piece)
        assert flight.lane.work >= -1e-6
    for flight in flights:
        flight.done(Outcome.OK)
        flight.done(Outcome.FAILED)
    lanes = {flight.lane for flight in flights}
    assert all(lane.flights == 0 and lane.work == 0.0 for lane in lanes)


def test_tokens_that_came_are_work_no_longer():
    pool, _ = pool_of("a")
    flight = pool.begin("a", Ask(400, 200))
    assert flight.lane.work == 300.0
    for _ in range(50):
        flight.tokens(1)
    assert flight.lane.work == 250.0
    assert flight.output_tokens == 50


def test_the_running_mean_of_answers_stands_for_an_unknown_length():
    pool, _ = pool_of("a")
    assert pool.expected_output("chat", 40) == 40
    assert pool.expected_output("chat", None) == 256.0
    for _ in range(64):
        fly(pool, "a", tokens=20)
    assert pool.expected_output("chat", None) == pytest.approx(20)
    assert pool.expected_output("chat", 4096) == pytest.approx(20)
    assert pool.cost("chat", Ask(100, None)) == pytest.approx(45)


def test_a_cancelled_answer_does_not_count_as_a_short_one():
    pool, _ = pool_of("a")
    for _ in range(20):
        fly(pool, "a", Outcome.CANCELLED, tokens=1)
    assert pool.expected_output("chat", None) == 256.0


def test_a_route_that_says_it_is_full_gets_less_until_it_answers_again():
    pool, _ = pool_of("a", slots=10)
    flights = [pool.begin("a", ASK) for _ in range(10)]
    assert pool.room("chat") == 10
    flights[0].done(Outcome.REFUSED)
    assert pool.room("chat") == pytest.approx(7.0)
    for flight in flights[1:]:
        flight.done(Outcome.OK, 5)
    for _ in range(40):
        fly(pool, "a")
    assert pool.room("chat") == 10


def test_workers_side_by_side_each_take_their_part_of_the_slots():
    assert Pool(routes("a", slots=8), workers=4).room("chat") == 2.0
    assert Pool(routes("a", slots=2), workers=4).room("chat") == 1.0
    assert Pool(routes("a", slots=None)).room("chat") == float("inf")


def test_new_routes_leave_flights_and_measures_of_those_that_stay():
    pool, _ = pool_of("a", "b")
    flight, gone = pool.begin("a", Ask(0, 100)), pool.begin("b", ASK)
    pool.update(routes("a", "c", weight=2.0))
    assert pool.begin("a", ASK).lane is flight.lane
    gone.done(Outcome.OK, 3)
    assert {pool.pick("chat", ASK).id for _ in range(9)} <= {"a", "c"}
    with pytest.raises(KeyError):
        pool.begin("b", ASK)


def test_a_route_that_moved_starts_anew():
    pool, clock = pool_of("a", "b")
    before = pool.begin("a", ASK).lane
    clock.now += 5
    pool.update(Routes(routes=(route("a", url="http://a:81"), route("b"))))
    after = pool.begin("a", ASK).lane
    assert after is not before
    assert after.flights == 1
    assert before.flights == 1


def test_a_route_of_two_models_counts_for_both():
    both = Routes(routes=(route("a", served=("chat", "code")), route("b", served=("code",))))
    pool = Pool(both)
    assert pool.models() == ["chat", "code"]
    busy = pool.begin("a", Ask(4000, 4000), "chat")
    assert {pool.pick("code", ASK).id for _ in range(4)} == {"b"}
    assert pool.flights("code") == 1
    busy.done(Outcome.OK)


def test_a_conversation_stays_on_its_replica_across_pools():
    names = [f"r{i}" for i in range(5)]
    first, second = pool_of(*names)[0], pool_of(*names)[0]
    for n in range(40):
        ask = Ask(100, 100, f"talk {n}")
        assert first.pick("chat", ask).id == second.pick("chat", ask).id
