"""Fair across keys, first come first served within one."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from polyfleet.routing import FairQueue

COSTS = st.floats(1.0, 500.0)


@given(st.lists(st.tuples(st.sampled_from("abc"), COSTS), min_size=1, max_size=120))
def test_nothing_is_lost_and_a_key_keeps_its_order(pushed):
    queue: FairQueue[tuple[int, str]] = FairQueue()
    for n, (key, cost) in enumerate(pushed):
        queue.push(key, (n, key), cost)
    popped = []
    while (item := queue.pop()) is not None:
        popped.append(item)
    assert sorted(popped) == [(n, key) for n, (key, _) in enumerate(pushed)]
    for name in "abc":
        order = [n for n, key in popped if key == name]
        assert order == sorted(order)
    assert len(queue) == 0
    assert queue.work == 0.0


@given(st.lists(COSTS, min_size=60, max_size=60), st.lists(COSTS, min_size=60, max_size=60))
def test_two_keys_that_wait_get_equal_tokens(first, second):
    queue: FairQueue[tuple[str, float]] = FairQueue()
    for a, b in zip(first, second, strict=True):
        queue.push("a", ("a", a), a)
        queue.push("b", ("b", b), b)
    got, most, left = Counter(), max(first + second), {"a": 60, "b": 60}
    while min(left.values()) > 0:
        item = queue.pop()
        assert item is not None
        got[item[0]] += item[1]
        left[item[0]] -= 1
        if min(left.values()) > 0:
            assert abs(got["a"] - got["b"]) <= 3 * most


def test_a_key_with_a_thousand_waiting_does_not_hold_up_one_with_two():
    queue: FairQueue[str] = FairQueue()
    for _ in range(1000):
        queue.push("hog", "hog", 100.0)
    queue.push("light", "light", 100.0)
    queue.push("light", "light", 100.0)
    assert [queue.pop() for _ in range(6)].count("light") == 2


@given(st.lists(st.tuples(st.sampled_from("abcd"), COSTS), max_size=60), st.sampled_from("abcde"), COSTS)
def test_what_is_told_to_be_ahead_is_not_less_than_what_comes_first(waiting, key, cost):
    queue: FairQueue[tuple[int, float]] = FairQueue()
    for n, (name, each) in enumerate(waiting):
        queue.push(name, (n, each), each)
    told = queue.ahead(key, cost)
    queue.push(key, (-1, cost), cost)
    served = 0.0
    while (item := queue.pop()) is not None and item[0] != -1:
        served += item[1]
    keys = len({name for name, _ in waiting} | {key})
    assert served <= told + keys * 3 * max([cost, *(each for _, each in waiting)])
    assert told <= sum(each for _, each in waiting) + 1e-6


@given(st.data())
def test_who_gives_up_leaves_no_trace(data):
    queue: FairQueue[int] = FairQueue()
    alive: dict[int, tuple[str, float]] = {}
    for n in range(data.draw(st.integers(1, 60))):
        what = data.draw(st.sampled_from(["push", "push", "pop", "remove"]))
        if what == "push":
            alive[n] = (data.draw(st.sampled_from("abc")), data.draw(COSTS))
            queue.push(alive[n][0], n, alive[n][1])
        elif what == "pop":
            item = queue.pop()
            assert (item is None) == (not alive)
            alive.pop(item, None) if item is not None else None
        elif alive:
            gone = data.draw(st.sampled_from(sorted(alive)))
            assert queue.remove(alive[gone][0], gone)
            assert not queue.remove(alive.pop(gone)[0], gone)
        assert len(queue) == len(alive)
        assert abs(queue.work - sum(cost for _, cost in alive.values())) < 1e-6
