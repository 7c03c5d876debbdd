"""The plan's shares, corrected by what is in flight."""

from hypothesis import given
from hypothesis import strategies as st

from polyfleet.routing import RoundRobin, Shares, least_work

WEIGHTS = st.lists(st.floats(0.1, 10.0), min_size=1, max_size=8)


def served_alone(weights: list[float], costs: list[float]) -> list[float]:
    """Tokens that each route got, where every request is done before the next."""
    shares, got, allowed = Shares(len(weights)), [0.0] * len(weights), list(range(len(weights)))
    for cost in costs:
        chosen = shares.choose(weights, [0.0] * len(weights), weights, cost, allowed)
        shares.took(chosen, weights, cost, allowed)
        got[chosen] += cost
    return got


@given(WEIGHTS, st.lists(st.floats(1.0, 100.0), min_size=1, max_size=200))
def test_at_low_load_each_route_gets_its_share_of_the_tokens(weights, costs):
    got = served_alone(weights, costs)
    for tokens, weight in zip(got, weights, strict=True):
        fair = sum(costs) * weight / sum(weights)
        assert abs(tokens - fair) <= 2 * max(costs) * len(weights)
    assert sum(got) == sum(costs) or abs(sum(got) - sum(costs)) < 1e-6 * sum(costs)


def test_equal_requests_are_shared_as_the_largest_remainder_would():
    assert served_alone([5.0, 3.0, 2.0], [1.0] * 1000) == [500.0, 300.0, 200.0]


def test_a_route_that_was_away_catches_up_on_no_more_than_two_requests():
    shares, work, weights = Shares(2), [0.0, 0.0], [1.0, 1.0]
    for _ in range(100):
        shares.took(shares.choose(weights, work, weights, 1.0, [0]), weights, 1.0, [0])
    taken = []
    for _ in range(20):
        chosen = shares.choose(weights, work, weights, 1.0, [0, 1])
        shares.took(chosen, weights, 1.0, [0, 1])
        taken.append(chosen)
    assert 10 <= taken.count(1) <= 13


def backlog_after(policy: str, seconds: int) -> list[float]:
    """Two routes with equal shares, one of half the speed: tokens in flight after a while at 90 % of what they can."""
    speed, work, weights = [10.0, 5.0], [0.0, 0.0], [1.0, 1.0]
    shares, turns, owed = Shares(2), RoundRobin(), 0.0
    for _ in range(seconds):
        owed += 13.5
        while owed >= 1.0:
            if policy == "shares":
                chosen = shares.choose(weights, work, weights, 1.0, [0, 1])
                shares.took(chosen, weights, 1.0, [0, 1])
            else:
                chosen = turns.choose([0, 1])
            work[chosen] += 1.0
            owed -= 1.0
        work = [max(0.0, tokens - done) for tokens, done in zip(work, speed, strict=True)]
    return work


def test_a_route_slower_than_planned_gets_less_than_its_share():
    assert max(backlog_after("shares", 600)) < 20.0
    assert max(backlog_after("turns", 600)) > 500.0


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0.1, 10)), min_size=1, max_size=6), st.floats(1, 1e4))
def test_least_work_is_the_one_that_ends_first(rows, cost):
    work, speeds = [row[0] for row in rows], [row[1] for row in rows]
    chosen = least_work(work, speeds, cost, range(len(rows)))
    assert (work[chosen] + cost) / speeds[chosen] == min((w + cost) / s for w, s in rows)


def test_nobody_allowed_is_nobody_chosen():
    assert least_work([], [], 1.0, []) == -1
    assert RoundRobin().choose([]) == -1
    assert Shares(2).choose([1.0, 1.0], [0.0, 0.0], [1.0, 1.0], 1.0, []) == -1


def test_round_robin_skips_who_is_not_allowed():
    turns = RoundRobin()
    assert [turns.choose(allowed) for allowed in ([0, 1, 2], [0, 2], [0, 1, 2], [1], [0, 1])] == [0, 2, 0, 1, 0]
