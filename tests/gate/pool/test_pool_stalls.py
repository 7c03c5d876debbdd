"""When silence counts as failure."""

from pool_toys import ASK, pool_of

from polyfleet.gate.pool.pool import Ask, Outcome, Pool


def streams(pool: Pool, clock, name: str, gap_s: float, times: int = 8, first_s: float = 0.1) -> None:
    for _ in range(times):
        flight = pool.begin(name, ASK)
        clock.now += first_s
        flight.first_byte()
        for _ in range(5):
            clock.now += gap_s
            flight.tokens(1)
        flight.done(Outcome.OK)


def test_the_limit_is_five_times_the_longest_gap_and_not_below_two_seconds():
    pool, clock = pool_of("quick", "slow")
    assert pool.stall_after_s("quick") == 30.0
    streams(pool, clock, "quick", 0.01)
    streams(pool, clock, "slow", 1.5)
    assert pool.stall_after_s("quick") == 2.0
    assert abs(pool.stall_after_s("slow") - 7.5) < 1e-6
    assert pool.stall_after_s("unknown") == 0.0


def test_before_the_first_byte_a_longer_prompt_may_take_longer():
    pool, clock = pool_of("a")
    streams(pool, clock, "a", 0.01, first_s=2.0)
    short, long = pool.begin("a", Ask(0, 10)), pool.begin("a", Ask(5120, 10))
    assert abs(short.stall_after_s - 10.0) < 1e-6
    assert abs(long.stall_after_s - 110.0) < 1e-6


def test_silence_is_a_stall_only_while_another_route_flows():
    pool, clock = pool_of("a", "b")
    streams(pool, clock, "a", 0.01)
    streams(pool, clock, "b", 0.01)
    frozen, other = pool.begin("a", ASK), pool.begin("b", ASK)
    for flight in (frozen, other):
        flight.first_byte()
    clock.now += 1.9
    assert not pool.stalled(frozen)
    clock.now += 0.2
    assert not pool.stalled(frozen)
    other.tokens(1)
    assert pool.stalled(frozen)
    frozen.tokens(0)
    assert not pool.stalled(frozen)


def test_silence_of_everything_is_a_stall_in_the_end():
    pool, clock = pool_of("a")
    streams(pool, clock, "a", 0.01)
    flight = pool.begin("a", ASK)
    flight.first_byte()
    clock.now += 7.9
    assert not pool.stalled(flight)
    clock.now += 0.2
    assert pool.stalled(flight)


def test_a_longer_gap_raises_the_limit_at_once_and_it_comes_down_slowly():
    pool, clock = pool_of("a")
    streams(pool, clock, "a", 0.01)
    streams(pool, clock, "a", 2.0, times=1)
    assert abs(pool.stall_after_s("a") - 10.0) < 1e-6
    streams(pool, clock, "a", 0.01, times=10)
    assert 5.0 < pool.stall_after_s("a") < 7.0
