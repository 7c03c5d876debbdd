"""Whatever comes in whatever order: routes change while requests run, fail, stall and are probed."""

from hypothesis import given, settings
from hypothesis import strategies as st
from pool_toys import pool_of, route

from polyfleet.gate.pool.health import Standing
from polyfleet.gate.pool.pool import Ask, Outcome
from polyfleet.terms.route import Routes

NAMES = ("a", "b", "c", "d")
ROUTE = st.builds(
    route,
    st.sampled_from(NAMES),
    state=st.sampled_from(["open", "open", "draining"]),
    verdict=st.sampled_from(["unknown", "pass", "fail"]),
    slots=st.sampled_from([None, 1, 4]),
    weight=st.sampled_from([0.0, 1.0, 5.0]),
    canary=st.sampled_from([None, None, 0.3]),
    context_tokens=st.sampled_from([None, 300, 4000]),
    served=st.sampled_from([("chat",), ("chat", "code"), ("code",)]),
    url=st.sampled_from(["http://one:1", "http://two:2"]),
)
ROUTES = st.lists(ROUTE, max_size=4, unique_by=lambda one: one.id).map(lambda rows: Routes(routes=tuple(rows)))
ASKS = st.builds(Ask, st.integers(0, 5000), st.sampled_from([None, 1, 500]), st.sampled_from([None, "talk", "x"]))
STEP = st.one_of(
    st.tuples(st.just("routes"), ROUTES),
    st.tuples(
        st.just("ask"), ASKS, st.sampled_from(["chat", "code"]), st.frozensets(st.sampled_from(NAMES), max_size=3)
    ),
    st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from(list(Outcome)), st.integers(0, 600)),
    st.tuples(st.just("tokens"), st.integers(0, 9), st.integers(0, 5)),
    st.tuples(st.just("probe"), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("time"), st.floats(0.0, 20.0)),
)


@settings(max_examples=150, deadline=None)
@given(ROUTES, st.lists(STEP, max_size=60))
def test_a_pick_is_always_allowed_and_the_books_are_even_in_the_end(first, steps):
    pool, clock = pool_of()
    pool.update(first)
    flights = []
    for step in steps:
        if step[0] == "routes":
            pool.update(step[1])
        elif step[0] == "ask":
            _, ask, model, avoid = step
            may = {one.id for one in pool.routes(model) if one.state == "open" and one.verdict != "fail"} - avoid
            chosen = pool.pick(model, ask, avoid)
            assert (chosen is None) == (not may)
            if chosen is not None:
                assert chosen.id in may
                well = {name for name in may if pool.standing(name) is not Standing.EJECTED}
                assert chosen.id in well or not well
                flights.append(pool.begin(chosen.id, ask, model))
        elif step[0] == "end" and flights:
            flights.pop(step[1] % len(flights)).done(step[2], step[3])
        elif step[0] == "tokens" and flights:
            flights[step[1] % len(flights)].first_byte()
            flights[step[1] % len(flights)].tokens(step[2])
        elif step[0] == "probe" and pool.all_routes():
            everyone = pool.all_routes()
            pool.probed(everyone[step[1] % len(everyone)], step[2])
        elif step[0] == "time":
            clock.now += step[1]
        assert all(pool.stalled(flight) in {True, False} for flight in flights)
    lanes = {flight.lane for flight in flights}
    for flight in flights:
        flight.done(Outcome.OK, 1)
    assert all(lane.flights == 0 and lane.work == 0.0 for lane in lanes)
    assert pool.metrics.render() is not None
