"""Consistent hashing with bounded loads."""

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from polyfleet.routing import Ring, bounded_load
from polyfleet.routing.affinity import key_hash, points_of

KEYS = [f"conversation {i}" for i in range(400)]


def owner_by_hand(ids: list[str], hashed: int) -> str:
    """The id whose point is the next one clockwise, by looking at all of them."""
    points = {(at - hashed - 1) % (1 << 64): name for name in ids for at in points_of(name, 96)}
    return points[min(points)]


def test_the_owner_is_the_next_point_clockwise():
    ids = ["a", "b", "c", "d"]
    ring = Ring(ids)
    for key in KEYS:
        assert ids[next(ring.walk(key_hash(key)))] == owner_by_hand(ids, key_hash(key))


@given(st.integers(1, 12), st.integers(0, (1 << 64) - 1))
def test_a_walk_meets_each_route_once(count, hashed):
    assert sorted(Ring([f"r{i}" for i in range(count)]).walk(hashed)) == list(range(count))


def test_a_walk_over_nothing_ends():
    assert list(Ring([]).walk(5)) == []


def test_a_route_that_goes_moves_only_its_own_conversations():
    before, after = Ring(["a", "b", "c", "d"]), Ring(["a", "b", "d"])
    moved = stayed = 0
    for key in KEYS:
        old = "abcd"[next(before.walk(key_hash(key)))]
        new = "abd"[next(after.walk(key_hash(key)))]
        if old == "c":
            moved += 1
        else:
            assert new == old
            stayed += 1
    assert moved > 50
    assert stayed > 200


def test_points_follow_the_shares():
    ring = Ring(["large", "small"], [3.0, 1.0])
    large = sum(next(ring.walk(key_hash(f"k{i}"))) == 0 for i in range(4000)) / 4000
    assert 0.65 < large < 0.85


@given(st.integers(1, 8), st.lists(st.integers(0, 30), min_size=1, max_size=150), st.sampled_from([1.1, 1.25, 2.0]))
def test_no_bin_gets_more_balls_than_the_bound(bins, keys, bound):
    """The theorem's statement: load <= ceil(bound × balls / bins), at each moment, whatever the keys."""
    ring, work = Ring([f"r{i}" for i in range(bins)]), [0.0] * bins
    for balls, key in enumerate(keys, start=1):
        chosen = bounded_load(ring, key_hash(str(key)), work, [1.0] * bins, 1.0, list(range(bins)), bound=bound)
        work[chosen] += 1.0
        assert max(work) <= ceil(bound * balls / bins)


def test_two_requests_of_a_conversation_in_an_idle_pool_stay_together():
    ring, work = Ring(["a", "b", "c"]), [0.0, 0.0, 0.0]
    rooms = [8.0, 8.0, 8.0]
    chosen = []
    for _ in range(4):
        i = bounded_load(ring, 99, work, [1.0] * 3, 100.0, [0, 1, 2], rooms=rooms)
        work[i] += 100.0
        chosen.append(i)
    assert len(set(chosen)) == 1
    fifth = bounded_load(ring, 99, work, [1.0] * 3, 100.0, [0, 1, 2], rooms=rooms)
    assert fifth not in chosen


def test_nobody_allowed_is_nobody_chosen():
    assert bounded_load(Ring(["a"]), 1, [0.0], [1.0], 1.0, []) == -1
