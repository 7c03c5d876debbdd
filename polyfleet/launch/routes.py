"""Replicas as the gate sees them."""

from __future__ import annotations

from collections.abc import Iterable

from polyfleet.launch.engines import ENGINES
from polyfleet.launch.reconcile import GATE
from polyfleet.terms.fleet import Replica, ReplicaSpec, ReplicaState
from polyfleet.terms.route import Route, Routes, SizeBucket

_OPEN = {ReplicaState.READY: "open", ReplicaState.DRAINING: "draining"}


def routes_of(replicas: Iterable[Replica]) -> Routes:
    """A route to every replica that answers; one that drains takes nothing new. The names of those that are still to
    answer are there beside them. A name's size buckets are those of the plan that its replicas are of; where two plans
    are under way at once, those of most replicas."""
    serving = [r for r in replicas if r.spec.engine != GATE]
    names = sorted({name for r in serving if r.state is not ReplicaState.DRAINING for name in r.spec.served})
    kept = [r for r in serving if r.url and r.state in _OPEN]
    buckets = _buckets(replica.spec for replica in kept)
    made = tuple(sorted((_route(r, buckets) for r in kept), key=lambda route: route.id))
    sizes = {name: _sizes(of_name) for name, of_name in sorted(buckets.items()) if of_name}
    return Routes(routes=made, models=tuple(names), buckets=sizes)


Sizes = tuple[tuple[float, float], ...]


def _buckets(specs: Iterable[ReplicaSpec]) -> dict[str, Sizes]:
    counts: dict[str, dict[Sizes, int]] = {}
    for spec in specs:
        if len(spec.buckets) == len(spec.shares) > 0:
            for name in spec.served:
                of_name = counts.setdefault(name, {})
                of_name[spec.buckets] = of_name.get(spec.buckets, 0) + 1
    return {name: max(of_name, key=lambda sizes: (of_name[sizes], sizes)) for name, of_name in counts.items()}


def _sizes(sizes: Sizes) -> tuple[SizeBucket, ...]:
    return tuple(SizeBucket(input_tokens=max(i, 1e-9), output_tokens=max(o, 1e-9)) for i, o in sizes)


def _route(replica: Replica, buckets: dict[str, Sizes]) -> Route:
    spec = replica.spec
    assert replica.url is not None
    by_bucket = spec.shares and all(buckets.get(name) == spec.buckets for name in spec.served)
    mean = sum(spec.shares) / len(spec.shares) if spec.shares else 1.0
    return Route(
        id=spec.id, url=replica.url, path=spec.path, engine=ENGINES[spec.engine].speaks, served=spec.served,
        upstream_model=spec.upstream_model, workload=spec.workload, provider=spec.provider, chip=spec.chip,
        region=spec.region, weight=mean, weights=spec.shares if by_bucket else (), slots=spec.slots,
        context_tokens=spec.context_tokens, usd_per_m_input=spec.usd_per_m_input,
        usd_per_m_output=spec.usd_per_m_output, key_env=spec.key_env, key_file=spec.key_file,
        state="open" if replica.state is ReplicaState.READY else "draining",
    )  # fmt: skip
