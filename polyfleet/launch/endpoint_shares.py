"""How much of a workload's traffic an endpoint takes, by the plan's size buckets."""

from __future__ import annotations

from polyfleet.terms.plan import Line, Plan

Shares = tuple[tuple[float, ...], tuple[tuple[float, float], ...]]
"""Requests a second by bucket, and the buckets: mean input and output tokens."""


def lines_in_use(plan: Plan, window: int) -> tuple[Line, ...]:
    """Hosted lines that carry traffic in a window, in the plan's order."""
    used = {route.line for route in plan.routes if route.window == window and route.requests_per_s > 0}
    return tuple(line for line in plan.lines if line.kind == "hosted" and line.id in used)


def line_shares(plan: Plan, window: int, line: Line) -> Shares:
    """What the plan sends to a line."""
    buckets = _buckets(plan, line.workload)
    shares = [0.0] * len(buckets)
    for route in plan.routes:
        if (route.window, route.line) == (window, line.id):
            shares[route.bucket] += route.requests_per_s
    return tuple(shares), buckets


def even_share(plan: Plan | None, window: int, workload: str, share: float) -> Shares:
    """`share` times what one of the workload's replicas takes on the mean; just `share` where there is no plan, and
    replicas count as one each."""
    buckets = _buckets(plan, workload) if plan is not None else ()
    if plan is None or not buckets:
        return (share,), ()
    totals = [0.0] * len(buckets)
    for route in plan.routes:
        if (route.window, route.workload) == (window, workload):
            totals[route.bucket] += route.requests_per_s
    lines = [line for line in plan.lines if line.workload == workload]
    replicas = sum(line.replicas[window] for line in lines if line.kind == "own")
    count = replicas + sum(1 for line in lines_in_use(plan, window) if line.workload == workload)
    return tuple(share * total / max(1, count) for total in totals), buckets


def _buckets(plan: Plan, workload: str) -> tuple[tuple[float, float], ...]:
    for one in plan.workloads:
        if one.name == workload:
            return tuple((bucket.input_tokens, bucket.output_tokens) for bucket in one.buckets)
    return ()
