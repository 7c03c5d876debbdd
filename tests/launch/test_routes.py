"""Replicas as the gate sees them."""

import pytest

from polyfleet.launch.routes import routes_of
from polyfleet.terms.fleet import Replica, ReplicaSpec, ReplicaState


def replica(number, state, *, url=True, **changes):
    told = {"workload": "chat", "served": ("chat", "org/model"), "engine": "vllm", "weights": "w"} | changes
    spec = ReplicaSpec(id=f"chat-{number}", **told)
    return Replica(spec=spec, state=state, url=f"http://127.0.0.1:{8000 + number}" if url else None)


READY, STARTING, DRAINING = ReplicaState.READY, ReplicaState.STARTING, ReplicaState.DRAINING


@pytest.mark.parametrize("state", [STARTING, ReplicaState.STOPPED, ReplicaState.FAILING])
def test_a_model_whose_replicas_are_all_on_their_way_is_still_one_that_there_is(state):
    told = routes_of([replica(0, state, url=False)])
    assert (told.routes, told.models) == ((), ("chat", "org/model"))


def test_a_model_that_is_wanted_no_more_goes_with_its_last_replica():
    told = routes_of([replica(0, DRAINING), replica(1, READY, workload="code", served=("code",))])
    assert {route.id: route.state for route in told.routes} == {"chat-0": "draining", "chat-1": "open"}
    assert told.models == ("code",)


def test_shares_are_followed_where_all_replicas_are_of_one_plan():
    small, large = (100.0, 10.0), (900.0, 90.0)
    plan = {"shares": (3.0, 1.0), "buckets": (small, large)}
    told = routes_of(
        [replica(0, READY, **plan), replica(1, READY, **plan), replica(2, READY, shares=(1.0,), buckets=(small,))]
    )
    assert [(s.input_tokens, s.output_tokens) for s in told.buckets["chat"]] == [small, large]
    assert [(route.weights, route.weight) for route in told.routes] == [((3.0, 1.0), 2.0), ((3.0, 1.0), 2.0), ((), 1.0)]
