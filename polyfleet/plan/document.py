"""A routed fleet to the Plan document."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polyfleet.catalog.store import Catalog
from polyfleet.plan.document_lines import Lines
from polyfleet.plan.fleet import Fleet, Flow
from polyfleet.plan.master import all_hours_steps
from polyfleet.plan.problem import Floats, month_hours
from polyfleet.plan.routing import most_of
from polyfleet.terms.demand import Bucket
from polyfleet.terms.plan import CapacityRow, LossRow, PlanBucket, PlanWindow, PlanWorkload, Rental, Route
from polyfleet.terms.spec import Spec, Workload

DUST = 1e-12


def rentals(fleet: Fleet, catalog: Catalog | None) -> tuple[Rental, ...]:
    """One row for every offer that is rented in some window."""
    problem, found, k = fleet.problem, [], 0
    offers = {o.id: o for o in catalog.offers} if catalog else {}
    fixed = all_hours_steps(problem)
    for box in problem.boxes:
        for step in box.steps:
            count = fleet.steps[:, k]
            hours = float(count[0]) * month_hours(problem) if fixed[k] else float(count @ problem.hours)
            offer = offers.get(step.offer_id)
            if count.any():
                found.append(
                    Rental(
                        offer=step.offer_id, provider=box.supplier.provider,
                        region=offer.region if offer else box.supplier.region,
                        instance_type=offer.instance_type if offer else "", chip=box.chip,
                        chips_per_instance=box.chips, purchase=box.purchase,
                        instances=tuple(int(n) for n in count), instance_hours_per_month=hours,
                        usd_per_hour=step.usd_per_hour, usd_per_month=hours * step.usd_per_hour,
                        price_as_of=offer.as_of if offer else "", price_source=offer.source if offer else "",
                    )
                )  # fmt: skip
            k += 1
    return tuple(found)


def hosted_usd_by_window(fleet: Fleet) -> Floats:
    """(T,) USD a month on hosts in the base case."""
    usd = np.zeros(fleet.problem.hours.size)
    for t, row in enumerate(fleet.base):
        for w, flow in enumerate(row):
            usd[t] += hosted_usd_per_s(fleet, w, flow.hosted) * 3600.0 * float(fleet.problem.hours[t])
    return usd


def hosted_usd_per_s(fleet: Fleet, w: int, flow: Floats) -> float:
    """What hosts cost for a flow (H, B)."""
    spend = np.where(np.isfinite(fleet.stacks[w].spend), fleet.stacks[w].spend, 0.0)
    return float((spend * flow).sum())


def plan_windows(fleet: Fleet, rented: Sequence[Rental]) -> tuple[PlanWindow, ...]:
    """The windows with what is paid in each; an instance paid for all hours is spread over them."""
    problem, hosted = fleet.problem, hosted_usd_by_window(fleet)
    rows = []
    for t, name in enumerate(problem.windows):
        hours = float(problem.hours[t])
        usd = sum(r.instances[t] * r.usd_per_hour * hours for r in rented)
        rows.append(PlanWindow(name=name, hours_per_month=hours, usd_per_month=usd + float(hosted[t])))
    return tuple(rows)


def plan_workloads(
    fleet: Fleet, spec: Spec | None, buckets: Sequence[Sequence[Bucket]] | None
) -> tuple[PlanWorkload, ...]:
    """The workloads as planned."""
    rows = []
    for w, need in enumerate(fleet.problem.needs):
        written: Workload | None = spec.workloads[need.name] if spec else None
        sizes = buckets[w] if buckets else [Bucket(float(t), 0.0) for t in need.tokens]
        rows.append(
            PlanWorkload(
                name=need.name, model=written.model if written else need.name,
                kind="batch" if need.is_batch else "serve", promise=_promise(written),
                buckets=tuple(PlanBucket(input_tokens=b.input_tokens, output_tokens=b.output_tokens,
                                         cached_tokens=b.cached_tokens) for b in sizes),
                rate_per_s=tuple(tuple(float(x) for x in r) for r in need.rate_per_s),
                headroom=tuple(float(h) for h in need.headroom),
                tokens_per_month=need.tokens_per_month(fleet.problem.hours),
            )
        )  # fmt: skip
    return tuple(rows)


def _promise(workload: Workload | None) -> str:
    if workload is None:
        return ""
    if workload.batch is not None:
        return f"done within {workload.batch.within / 3600:g} h, every {workload.batch.every / 3600:g} h"
    slo, parts = workload.slo.slo, []
    if slo.ttft_ms is not None:
        parts.append(f"TTFT {slo.ttft_ms:,.0f} ms p{slo.ttft_percentile:g}")
    if slo.tpot_ms is not None:
        parts.append(f"TPOT {slo.tpot_ms:,.0f} ms p{slo.tpot_percentile:g}")
    return ", ".join(parts) or "no latency promise"


def routes(fleet: Fleet, lines: Lines, flows: Sequence[Sequence[Flow]]) -> tuple[Route, ...]:
    """Flows by window, workload, bucket and line."""
    found = []
    for t, row in enumerate(flows):
        for w, flow in enumerate(row):
            name = fleet.problem.needs[w].name
            for table, ids in ((flow.own, lines.own[w]), (flow.hosted, lines.hosted[w])):
                for i, b in zip(*np.nonzero(table > DUST), strict=True):
                    found.append(
                        Route(window=t, workload=name, bucket=int(b), line=ids[int(i)],
                              requests_per_s=float(table[i, b]))
                    )  # fmt: skip
    return tuple(sorted(found, key=lambda r: (r.window, r.workload, r.bucket, r.line)))


def loss_rows(fleet: Fleet, lines: Lines) -> tuple[LossRow, ...]:
    """Each loss that touches the plan: who takes over."""
    rows = []
    for loss, flows in fleet.lost.items():
        named = fleet.problem.limits.losses[loss]
        base, then = _mean_hosted_usd(fleet, fleet.base), _mean_hosted_usd(fleet, flows)
        rows.append(
            LossRow(
                kind=named.kind, supplier=named.supplier, traffic_share_lost=_share_lost(fleet, loss),
                hosted_usd_per_hour=max(then - base, 0.0), routes=routes(fleet, lines, flows),
            )
        )  # fmt: skip
    return tuple(rows)


def _mean_hosted_usd(fleet: Fleet, flows: Sequence[Sequence[Flow]]) -> float:
    """USD per hour on hosts, mean over the month."""
    total, hours = 0.0, fleet.problem.hours
    for t, row in enumerate(flows):
        per_s = sum(hosted_usd_per_s(fleet, w, flow.hosted) for w, flow in enumerate(row))
        total += per_s * 3600.0 * float(hours[t])
    return total / float(hours.sum())


def _share_lost(fleet: Fleet, loss: int) -> float:
    lost = total = 0.0
    for w, stack in enumerate(fleet.stacks):
        tokens = stack.need.tokens
        for t, row in enumerate(fleet.base):
            hours = float(fleet.problem.hours[t])
            gone = row[w].own[stack.lost_own[loss]].sum(axis=0) + row[w].hosted[stack.lost_hosted[loss]].sum(axis=0)
            lost += float(gone @ tokens) * hours
            total += float(row[w].by_bucket @ tokens) * hours
    return lost / max(total, 1e-300)


def capacity_rows(fleet: Fleet) -> tuple[CapacityRow, ...]:
    """Capacity against demand, in the base case and in each loss that touches the plan."""
    rows = []
    for w, stack in enumerate(fleet.stacks):
        for t in range(fleet.problem.hours.size):
            demand = fleet.base[t][w].by_bucket
            if not demand.any():
                continue
            staffed = demand * stack.need.headroom[t]
            own = fleet.replicas[w][t]
            rows.append(_capacity("base", fleet, w, t, staffed, own, stack.capacity, fleet.base[t][w]))
            for loss, flows in fleet.lost.items():
                if stack.need.is_batch:
                    continue
                left = np.where(stack.lost_own[loss], 0.0, own)
                name = fleet.problem.limits.losses[loss].name.removeprefix("survive ")
                kept = staffed * fleet.problem.limits.keep
                rows.append(_capacity(f"without {name}", fleet, w, t, kept, left, stack.capacity_lost, flows[t][w]))
    return tuple(rows)


def _capacity(
    scenario: str, fleet: Fleet, w: int, t: int, staffed: Floats, own: Floats, capacity: Floats, flow: Flow
) -> CapacityRow:
    """The chips' capacity is counted in the mix that is left to them once hosts have their part."""
    stack = fleet.stacks[w]
    head = float(stack.need.headroom[t])
    part = flow.own.sum(axis=0) * head
    mix = part if part.any() else staffed
    stands = most_of(stack, mix, own, capacity) * float(mix.sum()) if own.any() else 0.0
    demand = fleet.base[t][w].by_bucket
    return CapacityRow(
        scenario=scenario, workload=stack.need.name, window=t, demand_per_s=float(demand.sum()),
        staffed_per_s=float(staffed.sum()), capacity_per_s=stands, hosted_per_s=float(flow.hosted.sum()),
    )  # fmt: skip
