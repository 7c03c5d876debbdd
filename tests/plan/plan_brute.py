"""The cheapest plan by trying every whole number, with scipy for the routing: none of the solver's code."""

from __future__ import annotations

import itertools
import math

import numpy as np
from scipy.optimize import linprog

from polyfleet.plan.problem import Problem


def cheapest(problem: Problem) -> float:
    """USD a month of the cheapest plan; inf where there is none. Every box needs a quota, which bounds the search."""
    windows = range(problem.hours.size)
    most = [sum(s.quota or 0 for s in problem.boxes[o.box].steps) * problem.boxes[o.box].chips // o.packed_chips
            for o in problem.options]  # fmt: skip
    counts = [c for c in itertools.product(*(range(m + 1) for m in most)) if _instances(problem, c) is not None]
    ready = [[c for c in counts if _survives(problem, c, t)] for t in windows]
    best = math.inf
    for chosen in itertools.product(*ready):
        rent = _rent(problem, chosen)
        if rent < best:
            best = min(best, rent + _hosted(problem, chosen))
    return best


def _instances(problem: Problem, counts: tuple[int, ...]) -> list[int] | None:
    """Fewest instances of each box that hold the replicas; None where the quota is too small."""
    found = []
    for b, box in enumerate(problem.boxes):
        chips = sum(n * o.packed_chips for n, o in zip(counts, problem.options, strict=True) if o.box == b)
        need = -(-chips // box.chips)
        if need > sum(s.quota or 0 for s in box.steps):
            return None
        found.append(need)
    used = dict.fromkeys(((q.provider, q.chip) for q in problem.limits.quotas), 0)
    for n, box in zip(found, problem.boxes, strict=True):
        key = (box.supplier.provider, box.chip)
        if key in used:
            used[key] += n * box.chips
    return found if all(used[q.provider, q.chip] <= q.chips for q in problem.limits.quotas) else None


def _rent(problem: Problem, chosen: tuple[tuple[int, ...], ...]) -> float:
    usd = 0.0
    counts = [_instances(problem, c) for c in chosen]
    for b, box in enumerate(problem.boxes):
        need = [c[b] for c in counts if c is not None]
        if box.all_hours:
            need = [max(need)] * len(need)
        for n, hours in zip(need, problem.hours, strict=True):
            usd += float(hours) * _price(box, n)
    return usd


def _price(box: object, n: int) -> float:
    usd = 0.0
    for step in box.steps:  # type: ignore[attr-defined]
        take = min(n, step.quota or 0)
        usd += take * step.usd_per_hour
        n -= take
    return usd


def _survives(problem: Problem, counts: tuple[int, ...], t: int) -> bool:
    return all(_carries(problem, counts, t, loss.kind, loss.supplier) for loss in problem.limits.losses)


def _carries(problem: Problem, counts: tuple[int, ...], t: int, kind: str, name: str) -> bool:
    """Whether what survives serves the kept demand of every workload."""
    for w, need in enumerate(problem.needs):
        if need.is_batch:
            continue
        demand = problem.limits.keep * need.rate_per_s[t] * need.headroom[t]
        rows = [
            (o.capacity_lost, float(n)) for n, o in zip(counts, problem.options, strict=True)
            if o.workload == w and problem.boxes[o.box].supplier.named(kind) != name
        ]  # fmt: skip
        for h in problem.hosted:
            if h.workload == w and h.supplier.named(kind) != name:
                reach = np.where(np.isfinite(h.usd_per_request), h.limit_per_s, 0.0)
                rows.append((np.where(np.isinf(reach), 1e9, reach), 1.0))
        if not _routable(rows, demand):
            return False
    return True


def _routable(rows: list[tuple[np.ndarray, float]], demand: np.ndarray) -> bool:  # type: ignore[type-arg]
    buckets = demand.size
    if not demand.any():
        return True
    if not rows:
        return False
    n = len(rows) * buckets
    load, upper = np.zeros((len(rows), n)), np.array([r for _, r in rows])
    bounds = []
    for i, (capacity, _) in enumerate(rows):
        for b in range(buckets):
            load[i, i * buckets + b] = 1.0 / capacity[b] if capacity[b] > 0 else 0.0
            bounds.append((0, None if capacity[b] > 0 else 0))
    serve = np.tile(np.eye(buckets), len(rows))
    found = linprog(np.zeros(n), A_ub=np.vstack([load, -serve]), b_ub=np.concatenate([upper, -demand * (1 - 1e-9)]),
                    bounds=bounds)  # fmt: skip
    return bool(found.status == 0)


def _hosted(problem: Problem, chosen: tuple[tuple[int, ...], ...]) -> float:
    """Least hosted spend over the month with these replicas, caps counted; inf where impossible."""
    cost: list[float] = []
    bounds: list[tuple[float, float | None]] = []
    who: list[tuple[int, int, int, object]] = []  # window, workload, bucket, option or host
    for t in range(problem.hours.size):
        for w, need in enumerate(problem.needs):
            for way in [o for o in problem.options if o.workload == w] + [h for h in problem.hosted if h.workload == w]:
                for b in range(need.tokens.size):
                    usd = getattr(way, "usd_per_request", np.zeros(need.tokens.size))[b]
                    can = math.isfinite(usd) and (not hasattr(way, "capacity") or way.capacity[b] > 0)
                    who.append((t, w, b, way))
                    cost.append(float(usd) * float(problem.hours[t]) * 3600.0 if can else 0.0)
                    bounds.append((0, None if can else 0))
    up, up_right, low, low_right = [], [], [], []
    for t in range(problem.hours.size):
        for i, option in enumerate(problem.options):
            up.append([_load(problem, k, t, option) for k in who])
            up_right.append(float(chosen[t][i]))
        for host in problem.hosted:
            if np.isfinite(host.limit_per_s).any():
                up.append([_load(problem, k, t, host) for k in who])
                up_right.append(1.0)
        for w, need in enumerate(problem.needs):
            for b in range(need.tokens.size):
                low.append([1.0 if k[:3] == (t, w, b) else 0.0 for k in who])
                low_right.append(float(need.rate_per_s[t, b]))
    for cap in problem.limits.caps:
        up.append([_tokens(problem, k, cap) for k in who])
        up_right.append(1.0)
    a = np.vstack([np.array(up).reshape(len(up), len(who)), -np.array(low)])
    b = np.concatenate([np.array(up_right) * (1 + 1e-9), -np.array(low_right) * (1 - 1e-9)])
    found = linprog(cost, A_ub=a, b_ub=b, bounds=bounds)
    return float(found.fun) if found.status == 0 else math.inf


def _load(problem: Problem, k: tuple[int, int, int, object], t: int, way: object) -> float:
    if k[0] != t or k[3] is not way:
        return 0.0
    figures = getattr(way, "capacity", None)
    rate = (getattr(way, "limit_per_s") if figures is None else figures)[k[2]]  # noqa: B009
    return float(problem.needs[k[1]].headroom[t] / rate) if rate > 0 else 0.0


def _tokens(problem: Problem, k: tuple[int, int, int, object], cap: object) -> float:
    t, w, b, way = k
    supplier = problem.boxes[way.box].supplier if hasattr(way, "box") else way.supplier  # type: ignore[attr-defined]
    if w not in cap.workloads or supplier.named(cap.kind) != cap.supplier:  # type: ignore[attr-defined]
        return 0.0
    tokens = float(problem.needs[w].tokens[b]) * float(problem.hours[t]) * 3600.0
    return tokens / (cap.share * problem.cap_tokens(cap))  # type: ignore[attr-defined, arg-type]
