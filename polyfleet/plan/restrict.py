"""The same problem with some choices taken away or some limits lifted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from polyfleet.plan.problem import Box, Hosted, Limits, Need, Option, Problem
from polyfleet.terms.offer import Purchase


def keeping(
    problem: Problem, box: Callable[[Box], bool] = lambda _: True, host: Callable[[Hosted], bool] = lambda _: True
) -> Problem:
    """Only the options on boxes, and the hosts, that pass."""
    options = tuple(o for o in problem.options if box(problem.boxes[o.box]))
    return dataclasses.replace(problem, options=options, hosted=tuple(h for h in problem.hosted if host(h)))


def without_option(problem: Problem, option: Option) -> Problem:
    """Without one workload's build on one box."""
    return dataclasses.replace(problem, options=tuple(o for o in problem.options if o is not option))


def without_host(problem: Problem, host: Hosted) -> Problem:
    """Without one host of one workload."""
    return dataclasses.replace(problem, hosted=tuple(h for h in problem.hosted if h is not host))


def lifting(problem: Problem, caps: Callable[[str, str], bool], losses: Callable[[str, str], bool]) -> Problem:
    """Without the caps and losses (kind, supplier) that pass."""
    limits = problem.limits
    kept = dataclasses.replace(
        limits,
        caps=tuple(c for c in limits.caps if not caps(c.kind, c.supplier)),
        losses=tuple(s for s in limits.losses if not losses(s.kind, s.supplier)),
    )
    return dataclasses.replace(problem, limits=kept)


def without_quota(problem: Problem, name: str) -> Problem:
    """Without one quota."""
    quotas = tuple(q for q in problem.limits.quotas if q.name != name)
    return dataclasses.replace(problem, limits=dataclasses.replace(problem.limits, quotas=quotas))


def unlimited(problem: Problem) -> Problem:
    """Without any limit; promises stay."""
    return dataclasses.replace(problem, limits=Limits())


def on_demand_only(problem: Problem) -> Problem:
    """Own chips by the hour, no hosts."""
    return keeping(problem, lambda b: b.purchase is Purchase.ON_DEMAND, lambda _: False)


def hosted_only(problem: Problem) -> Problem:
    """Hosts only."""
    return keeping(problem, lambda _: False)


def unserved(problem: Problem) -> str:
    """The first workload that nothing serves any more; empty where there is none."""
    for w, need in enumerate(problem.needs):
        can = np.zeros(need.tokens.size, dtype=bool)
        for option in problem.options:
            if option.workload == w:
                can |= option.capacity > 0
        for host in problem.hosted:
            if host.workload == w:
                can |= np.isfinite(host.usd_per_request)
        if (_wanted(need) & ~can).any():
            return need.name
    return ""


def _wanted(need: Need) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray(need.rate_per_s.any(axis=0))


def busiest_hour(problem: Problem) -> Problem:
    """The busiest window alone, taken for the whole month."""
    t = _busiest(problem)
    needs = []
    for need in problem.needs:
        rate, head = need.rate_per_s[t : t + 1], need.headroom[t : t + 1]
        needs.append(dataclasses.replace(need, rate_per_s=rate, headroom=head))
    hours = np.array([float(problem.hours.sum())])
    return dataclasses.replace(problem, windows=(problem.windows[t],), hours=hours, needs=tuple(needs))


def in_parts(problem: Problem, parts: Sequence[tuple[int, float]]) -> Problem:
    """The problem with windows cut into parts of their hours: (window, share) in order."""
    rows = [t for t, _ in parts]
    if rows == list(range(problem.hours.size)):
        return problem
    needs = [dataclasses.replace(n, rate_per_s=n.rate_per_s[rows], headroom=n.headroom[rows]) for n in problem.needs]
    hours = np.array([problem.hours[t] * share for t, share in parts])
    names = tuple(_part_name(problem.windows[t], rows[: i + 1].count(t), rows.count(t)) for i, t in enumerate(rows))
    return dataclasses.replace(problem, windows=names, hours=hours, needs=tuple(needs))


def _part_name(name: str, part: int, parts: int) -> str:
    return name if parts == 1 else f"{name}, part {part} of {parts}"


def busiest_hours_share(problem: Problem) -> float:
    """The share of the month that the busiest window lasts."""
    return float(problem.hours[_busiest(problem)] / problem.hours.sum())


def _busiest(problem: Problem) -> int:
    load = sum((n.staffed_per_s @ n.tokens for n in problem.needs), np.zeros(problem.hours.size))
    return int(np.argmax(load))
