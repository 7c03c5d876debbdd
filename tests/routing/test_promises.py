"""When a refused client may come back."""

from hypothesis import example, given
from hypothesis import strategies as st

from polyfleet.routing import Promises


@given(st.lists(st.floats(1.0, 50.0), min_size=1, max_size=40))
def test_one_key_is_told_to_come_at_the_rate_that_is_served(costs):
    promises, rate = Promises(horizon_s=1e9), 10.0
    due = [promises.book("k", 7, cost, 2.0, rate, 100.0) for cost in costs]
    assert due == sorted(due)
    assert due[-1] >= 2.0 + sum(costs) / rate - 1e-6
    assert due[-1] <= 2.0 + sum(costs) / rate + 1.0


def test_a_hammering_key_does_not_push_the_others_back():
    promises = Promises()
    for _ in range(500):
        promises.book("hog", 7, 10.0, 0.0, 10.0, 0.0)
    assert promises.book("light", 7, 10.0, 0.0, 10.0, 0.0) <= 2.0


def test_a_promise_is_kept_once_and_not_before_its_time():
    promises = Promises()
    told = promises.book("k", 7, 10.0, 3.0, 10.0, 50.0)
    assert told == 4.0
    assert not promises.redeem("k", 7, 52.0)
    assert promises.due_work(50.0, 10.0) == 10.0
    assert not promises.redeem("other", 7, 54.0)
    assert not promises.redeem("k", 8, 54.0)
    assert promises.due_work(50.0, 10.0, "k") == 10.0
    assert promises.due_work(50.0, 10.0, "other") == 0.0
    assert promises.redeem("k", 7, 54.0)
    assert not promises.redeem("k", 7, 54.0)
    assert promises.due_work(54.0, 10.0) == 0.0


def test_who_does_not_come_loses_the_place():
    promises = Promises()
    promises.book("k", 7, 10.0, 1.0, 10.0, 0.0)
    assert not promises.redeem("k", 7, 30.0)
    assert promises.missed == 1
    assert promises.due_work(30.0, 60.0) == 0.0


def test_clients_who_never_come_back_soon_count_for_little():
    promises = Promises()
    now = 0.0
    for _ in range(300):
        promises.book("gone", 7, 10.0, 0.0, 1000.0, now)
        now += 1.0
    assert promises.due_work(now, 60.0) < 0.1 * 10.0 * 60


def test_memory_is_bounded_and_the_horizon_is_told_beyond_it():
    promises = Promises(most=100, horizon_s=60.0)
    for n in range(1000):
        assert 1.0 <= promises.book(f"key {n}", 7, 1.0, 0.0, 1e9, 0.0) <= 60.0
    assert promises.due_work(0.0, 60.0) == 100.0
    assert Promises().book("k", 7, 1.0, 500.0, 1.0, 0.0) == 60.0
    assert Promises().book("k", 7, 1.0, 0.0, 0.0, 0.0) == 60.0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.floats(0.0, 3.0), st.booleans()), max_size=80))
@example([("b", 0, 1.25, True), ("a", 0, 1.375, True), ("b", 1, 0.25, True), ("b", 1, 0.0, True)])
def test_nothing_is_kept_of_promises_that_are_past(steps):
    promises, now = Promises(), 0.0
    for key, mark, seconds, books in steps:
        now += seconds
        if books:
            assert promises.book(key, mark, 5.0, 1.0, 10.0, now) >= 1.0
        else:
            promises.redeem(key, mark, now)
        parts = sum(promises.due_work(now, 60.0, name) for name in "abc")
        assert abs(parts - promises.due_work(now, 60.0)) < 1e-6
    promises.redeem("a", 0, now + 100.0)
    assert promises.keys == 0
    assert promises.due_work(now + 100.0, 60.0) == 0.0
    assert not promises._marks
    assert not promises._seconds
    assert not promises._work
