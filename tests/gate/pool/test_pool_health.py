"""Ejection, trial, warm-up; and never the last."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pool_toys import ASK, fly, picked, pool_of, route, routes, simulate

from polyfleet.gate.pool.health import Health, HealthRules, Standing
from polyfleet.gate.pool.pool import Outcome, Pool
from polyfleet.terms.route import Routes


def fail(pool: Pool, name: str, times: int = 3, outcome: Outcome = Outcome.FAILED) -> None:
    for _ in range(times):
        fly(pool, name, outcome)


def test_three_failures_in_a_row_eject_and_an_answer_between_forgives():
    pool, _ = pool_of("a", "b")
    for outcome in (Outcome.FAILED, Outcome.FAILED, Outcome.OK, Outcome.FAILED, Outcome.FAILED):
        fly(pool, "a", outcome)
    assert pool.standing("a") is Standing.OPEN
    fail(pool, "a", 1)
    assert pool.standing("a") is Standing.EJECTED
    assert set(picked(pool, 10)) == {"b"}


def test_one_stall_ejects():
    pool, _ = pool_of("a", "b")
    fail(pool, "a", 1, Outcome.STALLED)
    assert pool.standing("a") is Standing.EJECTED


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.REFUSED])
def test_a_client_that_leaves_and_a_route_that_is_full_are_no_failures(outcome):
    pool, _ = pool_of("a", "b")
    fail(pool, "a", 20, outcome)
    assert pool.standing("a") is Standing.OPEN


def test_the_last_one_is_never_ejected():
    pool, _ = pool_of("a", "b", "c")
    for name in ("a", "b", "c"):
        fail(pool, name, 10, Outcome.STALLED)
    assert [pool.standing(name).value for name in "abc"].count("open") == 1
    assert picked(pool, 3) == ["c"] * 3


def test_the_last_one_of_any_of_its_models_is_kept():
    pool = Pool(Routes(routes=(route("a", served=("chat", "code")), route("b"))))
    fail(pool, "a", 10)
    assert pool.standing("a") is Standing.OPEN


def test_a_draining_neighbour_does_not_count_as_another():
    pool = Pool(Routes(routes=(route("a"), route("b", state="draining"))))
    fail(pool, "a", 10)
    assert pool.standing("a") is Standing.OPEN


def test_an_ejected_route_is_better_than_none():
    pool, _ = pool_of("a", "b")
    fail(pool, "a")
    assert pool.pick("chat", ASK, frozenset({"b"})).id == "a"


def test_after_its_time_one_request_is_tried_and_decides():
    pool, clock = pool_of("a", "b")
    fail(pool, "a")
    clock.now += 1.9
    assert set(picked(pool, 6)) == {"b"}
    clock.now += 0.2
    flight = None
    while flight is None:
        chosen = pool.pick("chat", ASK)
        if chosen.id == "a":
            flight = pool.begin("a", ASK)
        else:
            fly(pool, chosen.id)
    assert pool.standing("a") is Standing.TRIAL
    assert {pool.pick("chat", ASK).id for _ in range(20)} == {"b"}
    flight.done(Outcome.OK, 5)
    assert pool.standing("a") is Standing.OPEN


def test_a_failed_trial_keeps_it_out_twice_as_long():
    pool, clock = pool_of("a", "b")
    fail(pool, "a")
    waits = []
    for _ in range(7):
        began = clock.now
        while pool.standing("a") is Standing.EJECTED:
            clock.now += 0.25
            pool.pick("chat", ASK)
        waits.append(clock.now - began)
        fail(pool, "a", 1)
    assert waits == [2, 4, 8, 16, 32, 60, 60]


def test_long_peace_forgets_the_past():
    health = Health(HealthRules())
    health.eject(0.0, "failures")
    health.eject(10.0, "failures")
    assert health.returns_at == 14.0
    health.eject(100.0, "failures")
    assert health.returns_at == 102.0


def test_one_that_returns_is_warmed_up():
    pool, clock = pool_of("a", "b")
    fail(pool, "a")
    clock.now += 3
    while pool.standing("a") is not Standing.OPEN:
        picked(pool, 1)
    early = picked(pool, 200).count("a")
    clock.now += 5
    middle = picked(pool, 200).count("a")
    clock.now += 6
    late = picked(pool, 200).count("a")
    assert early == pytest.approx(200 * 0.1 / 1.1, abs=4)
    assert middle == pytest.approx(200 * 0.5 / 1.5, abs=4)
    assert late == pytest.approx(100, abs=4)


def test_a_route_that_joins_is_warmed_up_but_the_first_ones_are_not():
    pool, clock = pool_of("a", "b")
    assert picked(pool, 100).count("a") == 50
    clock.now += 10
    pool.update(routes("a", "b", "c"))
    assert picked(pool, 210).count("c") == pytest.approx(10, abs=3)
    clock.now += 11
    assert picked(pool, 210).count("c") == pytest.approx(70, abs=4)


def test_a_route_that_is_cold_is_not_filled_by_what_the_warm_ones_have_no_room_for():
    pool, clock = pool_of("a", slots=10)
    clock.now += 10
    pool.update(routes("a", "b", slots=10))
    assert pool.room("chat") == 11.0
    flights = [pool.begin("a", ASK) for _ in range(10)] + [pool.begin("b", ASK)]
    extra = []
    for _ in range(20):
        extra.append(pool.pick("chat", ASK).id)
        flights.append(pool.begin(extra[-1], ASK))
    assert extra.count("b") <= 4
    clock.now += 11
    assert pool.room("chat") == 20.0


def test_where_all_are_cold_none_is_held_back():
    pool, clock = pool_of("a", slots=10)
    clock.now += 10
    pool.update(routes("b", "c", slots=10))
    assert pool.room("chat") == 20.0


def test_two_silent_probes_eject_and_probes_alone_bring_back():
    pool, clock = pool_of("a", "b")
    a = pool.routes("chat")[0]
    pool.probed(a, False)
    assert pool.standing("a") is Standing.OPEN
    pool.probed(a, False)
    assert pool.standing("a") is Standing.EJECTED
    clock.now += 2.5
    pool.probed(a, True)
    pool.probed(a, True)
    assert pool.standing("a") is Standing.OPEN


def test_no_request_is_risked_on_a_frozen_route_before_a_probe_answers():
    pool, clock = pool_of("a", "b")
    a = pool.routes("chat")[0]
    pool.probed(a, True)
    fail(pool, "a", 1, Outcome.STALLED)
    for _ in range(30):
        clock.now += 1
        pool.probed(a, False)
        assert set(picked(pool, 4)) == {"b"}
    pool.probed(a, True)
    clock.now += 0.3
    assert "a" in picked(pool, 8)


def test_a_route_whose_bytes_flow_is_not_ejected_by_slow_probes():
    pool, clock = pool_of("a", "b")
    a = pool.routes("chat")[0]
    flight = pool.begin("a", ASK)
    for _ in range(5):
        clock.now += 0.5
        flight.tokens(1)
        pool.probed(a, False)
    assert pool.standing("a") is Standing.OPEN


def test_a_probe_of_an_address_that_it_left_says_nothing():
    pool, _ = pool_of("a", "b")
    old = pool.routes("chat")[0]
    pool.update(Routes(routes=(route("a", url="http://a:99"), route("b"))))
    for _ in range(5):
        pool.probed(old, False)
    assert pool.standing("a") is Standing.OPEN


def stream(pool: Pool, clock, name: str, first_s: float, gap_s: float) -> None:
    flight = pool.begin(name, ASK)
    clock.now += first_s
    flight.first_byte()
    for _ in range(10):
        clock.now += gap_s
        flight.tokens(1)
    flight.done(Outcome.OK)


@pytest.mark.parametrize(("first_s", "gap_s"), [(2.0, 0.01), (0.05, 0.2)])
def test_one_far_slower_than_its_peers_is_ejected(first_s, gap_s):
    pool, clock = pool_of("a", "b", "c")
    for _ in range(16):
        stream(pool, clock, "a", first_s, gap_s)
        stream(pool, clock, "b", 0.05, 0.01)
        stream(pool, clock, "c", 0.06, 0.012)
    assert [pool.standing(name).value for name in "abc"] == ["ejected", "open", "open"]


def test_a_slower_chip_is_no_fault_and_neither_is_a_slow_pool():
    mixed = (route("gpu1", chip="h100"), route("gpu2", chip="h100"), route("gpu3", chip="h100"), route("cpu"))
    clock = pool_of("x")[1]
    pool = Pool(Routes(routes=mixed), clock=clock)
    for _ in range(16):
        for name in ("gpu1", "gpu2", "gpu3"):
            stream(pool, clock, name, 0.05, 0.01)
        stream(pool, clock, "cpu", 3.0, 0.3)
    for _ in range(16):
        for name in ("gpu1", "gpu2", "gpu3"):
            stream(pool, clock, name, 5.0, 1.0)
    assert all(pool.standing(one.id) is Standing.OPEN for one in mixed)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Outcome)), st.floats(0, 30)), max_size=60))
def test_whatever_happens_somebody_takes_the_next_request(events):
    pool, clock = pool_of("a", "b", "c")
    for name, outcome, seconds in events:
        fly(pool, name, outcome)
        clock.now += seconds
        assert pool.pick("chat", ASK) is not None
        assert any(pool.standing(each) is not Standing.EJECTED for each in "abc")


def test_who_waits_for_a_route_is_called_when_one_comes():
    async def main() -> None:
        pool, _ = pool_of()
        pool.update(routes("a"))
        waiting = asyncio.create_task(pool.wait_pick("chat", ASK, frozenset({"a"}), timeout_s=30))
        await asyncio.sleep(5)
        pool.update(routes("a", "b"))
        assert (await waiting).id == "b"
        assert asyncio.get_running_loop().time() == pytest.approx(5)
        assert await pool.wait_pick("chat", ASK, frozenset({"a", "b"}), timeout_s=2) is None

    simulate(main())


def _back_off(pool, clock, name, times):
    """Ejected again and again: out for 2, 4, 8 ... seconds."""
    fail(pool, name, 1, Outcome.STALLED)
    for _ in range(times):
        clock.now += HealthRules().eject_most_s / 2
        pool.pick("chat", ASK)
        fail(pool, name, 1)


def test_a_route_that_answered_as_the_last_resort_is_back_before_its_time():
    pool, clock = pool_of("a", "b")
    _back_off(pool, clock, "b", 5)
    assert pool.pick("chat", ASK, frozenset({"a"})).id == "b"
    fly(pool, "b")
    clock.now += 1.0
    assert pool.standing("b") is Standing.EJECTED  # it began in the moment of the ejection: it says nothing
    fly(pool, "b")
    assert pool.standing("b") is Standing.OPEN


def test_where_the_only_open_route_stalls_one_that_answers_probes_is_tried_at_once():
    pool, clock = pool_of("a", "b")
    _back_off(pool, clock, "b", 5)
    clock.now += 0.5
    pool.probed(route("b"), answered=True)
    fail(pool, "a", 1, Outcome.STALLED)
    assert pool.standing("b") is Standing.TRIAL
    fly(pool, "b")
    fail(pool, "a", 1, Outcome.STALLED)
    assert (pool.standing("a"), pool.standing("b")) == (Standing.EJECTED, Standing.OPEN)
    assert picked(pool, 20) == ["b"] * 20


def test_a_route_that_answers_no_probe_waits_out_its_time_even_then():
    pool, clock = pool_of("a", "b")
    _back_off(pool, clock, "b", 5)
    pool.probed(route("b"), answered=False)
    fail(pool, "a", 1, Outcome.STALLED)
    assert pool.standing("b") is Standing.EJECTED
