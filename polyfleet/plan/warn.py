"""What a reader of a plan should know without asking."""

from __future__ import annotations

from collections.abc import Sequence

from polyfleet.plan.fleet import Fleet
from polyfleet.terms.plan import CapacityRow

_MOSTLY_STANDBY = 1.8


def warnings_of(fleet: Fleet, capacity: Sequence[CapacityRow]) -> tuple[str, ...]:
    """Warnings in plain words."""
    return (*_standby(capacity, bool(fleet.lost)), *_hosted_standby(fleet), *_batch(fleet))


def _standby(capacity: Sequence[CapacityRow], survives: bool) -> list[str]:
    """Where standing by for losses is most of the bill."""
    found = []
    for name in dict.fromkeys(r.workload for r in capacity):
        rows = [r for r in capacity if r.workload == name and r.scenario == "base" and r.capacity_per_s > 0]
        staffed, stands = sum(r.staffed_per_s for r in rows), sum(r.capacity_per_s for r in rows)
        if survives and staffed > 0 and stands > _MOSTLY_STANDBY * staffed:
            rate = max(r.demand_per_s for r in rows)
            found.append(
                f"{name}: chips stand for {stands / staffed:.1f} times its demand ({rate:,.1f} requests/s at most), "
                "because whole replicas must survive each loss; at such rates that is much of the bill"
            )
    return found


def _hosted_standby(fleet: Fleet) -> list[str]:
    """Hosts that take over in a loss cost nothing until then."""
    for loss, flows in fleet.lost.items():
        for t, row in enumerate(flows):
            for w, flow in enumerate(row):
                if flow.hosted.sum() > fleet.base[t][w].hosted.sum() * (1 + 1e-6) + 1e-9:
                    name = fleet.problem.limits.losses[loss].supplier
                    return [
                        f"hosts stand by for losses (of {name}, for instance): they cost nothing until the loss "
                        "happens, and a listed price is no promise of capacity"
                    ]
    return []


def _batch(fleet: Fleet) -> list[str]:
    if fleet.lost and any(n.is_batch for n in fleet.problem.needs):
        return ["batch work waits while a supplier is lost: no chips stand by for it"]
    return []
