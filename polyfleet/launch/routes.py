"""Replicas as the gate sees them."""

from __future__ import annotations

from collections.abc import Iterable

from polyfleet.launch.engines import ENGINES
from polyfleet.launch.reconcile import GATE
from polyfleet.terms.fleet import Replica, ReplicaState
from polyfleet.terms.route import Route, Routes

_OPEN = {ReplicaState.READY: "open", ReplicaState.DRAINING: "draining"}


def routes_of(replicas: Iterable[Replica]) -> Routes:
    """A route to every replica that answers; one that drains takes nothing new."""
    made = [_route(r) for r in replicas if r.url and r.state in _OPEN and r.spec.engine != GATE]
    return Routes(routes=tuple(sorted(made, key=lambda route: route.id)))


def _route(replica: Replica) -> Route:
    spec = replica.spec
    assert replica.url is not None
    return Route(
        id=spec.id, url=replica.url, engine=ENGINES[spec.engine].speaks, served=spec.served,
        upstream_model=spec.upstream_model, workload=spec.workload, provider=spec.provider, chip=spec.chip,
        region=spec.region, slots=spec.slots, context_tokens=spec.context_tokens,
        usd_per_m_input=spec.usd_per_m_input, usd_per_m_output=spec.usd_per_m_output,
        state="open" if replica.state is ReplicaState.READY else "draining",
    )  # fmt: skip
