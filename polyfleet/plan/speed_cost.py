"""What the same lines would cost if every build ran at the P10, or at the P90, of its speed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from polyfleet.plan.document_lines import build_text
from polyfleet.plan.problem import Box, Floats, Option, Problem
from polyfleet.terms.plan import Plan, Route

_DUST = 1e-6  # of a replica: rounding of a load that fills whole replicas exactly


def with_speed_costs(plan: Plan, problem: Problem) -> Plan:
    """The plan with `usd_per_month_speed_p10` and `usd_per_month_speed_p90` filled in."""
    slow, fast = (usd_at_speed(plan, problem, slow=slow) for slow in (True, False))
    return plan.model_copy(update={"usd_per_month_speed_p10": slow, "usd_per_month_speed_p90": fast})


def usd_at_speed(plan: Plan, problem: Problem, *, slow: bool) -> float | None:
    """USD a month if every build ran at the P10 (`slow`) or the P90 of its speed; None where none of a workload's
    builds could then keep its promise at any load.

    An approximation. Lines, routing and prices stay; each line gets the whole replicas that its load asks for at that
    speed, in the base case and in every loss, in every window; boxes are rounded up to whole instances. What the plan
    rents is the floor at P10 and the ceiling at P90. A line whose P10 keeps its promise at no load hands its requests
    to the workload's other builds, in proportion to what they serve. All builds are slow (or fast) together, no new
    line steps in, and quotas, budget and share caps are not looked at; hosts cost what they cost.
    """
    options = _options(plan, problem)
    factors = {line: option.band[0] if slow else option.band[1] for line, option in options.items()}
    grown = [_taken_over(plan, need.name, factors) for need in problem.needs]
    if not np.isfinite(grown).all():
        return None
    loads = line_loads(plan, problem)
    chips: dict[int, Floats] = defaultdict(lambda: np.zeros(problem.hours.size))
    for line, option in options.items():
        count = np.array(plan.line(line).replicas, dtype=float)
        if factors[line] > 0:
            asked = np.ceil(loads[line] * grown[option.workload] / factors[line] - _DUST)
            count = np.maximum(asked, count) if slow else np.minimum(asked, count)
        chips[option.box] += count * option.packed_chips
    rented = _rented(plan, problem)
    more = [_usd_more(problem, b, used, rented[b], slow) for b, used in sorted(chips.items())]
    return plan.usd_per_month + float(np.sum(more))


def _taken_over(plan: Plan, workload: str, factors: Mapping[int, float]) -> Floats:
    """(T,) by what the loads of a workload's builds grow when those that keep no promise hand theirs over; inf where
    none is left that serves in the window."""
    every, kept = np.zeros(len(plan.windows)), np.zeros(len(plan.windows))
    for route in plan.routes:
        if route.workload == workload and route.line in factors:
            every[route.window] += route.requests_per_s
            kept[route.window] += route.requests_per_s * (factors[route.line] > 0)
    grown = np.where(kept > 0, every / np.maximum(kept, 1e-300), np.inf)
    return np.where(every > 0, grown, 1.0)


def line_loads(plan: Plan, problem: Problem) -> dict[int, Floats]:
    """By line id (T,): replicas, not rounded, that its requests fill with their headroom; the most over the base case
    and the losses."""
    options = _options(plan, problem)
    found = {line: np.zeros(problem.hours.size) for line in options}
    cases: list[tuple[Iterable[Route], bool]] = [(plan.routes, False), *((loss.routes, True) for loss in plan.losses)]
    for routes, lost in cases:
        load = {line: np.zeros(problem.hours.size) for line in options}
        for route in routes:
            option = options.get(route.line)
            if option is not None:
                capacity = option.capacity_lost if lost else option.capacity
                head = float(problem.needs[option.workload].headroom[route.window])
                load[route.line][route.window] += route.requests_per_s * head / float(capacity[route.bucket])
        found = {line: np.maximum(found[line], load[line]) for line in found}
    return found


def _options(plan: Plan, problem: Problem) -> dict[int, Option]:
    """Each line's build on its box, as the problem has it."""
    names = [need.name for need in problem.needs]
    boxes = {step.offer_id: b for b, box in enumerate(problem.boxes) for step in box.steps}
    by_key = {(o.workload, o.box, build_text(o.build)): o for o in problem.options}
    own = [line for line in plan.lines if line.kind == "own"]
    return {x.id: by_key[names.index(x.workload), boxes[x.offers[0]], x.build] for x in own}


def _rented(plan: Plan, problem: Problem) -> Mapping[int, Floats]:
    """By box (T,): instances that the plan rents."""
    boxes = {step.offer_id: b for b, box in enumerate(problem.boxes) for step in box.steps}
    found: dict[int, Floats] = defaultdict(lambda: np.zeros(problem.hours.size))
    for rental in plan.rentals:
        found[boxes[rental.offer]] += np.array(rental.instances, dtype=float)
    return found


def _usd_more(problem: Problem, b: int, chips: Floats, rented: Floats, slow: bool) -> float:
    """What a box costs more than in the plan, when so many of its chips are taken by window."""
    box = problem.boxes[b]
    asked = np.ceil(chips / box.chips - _DUST)
    if box.all_hours:
        asked = np.full(asked.size, asked.max())
    count = np.maximum(asked, rented) if slow else np.minimum(asked, rented)
    return _usd(box, count, problem.hours) - _usd(box, rented, problem.hours)


def _usd(box: Box, instances: Floats, hours: Floats) -> float:
    """The cheapest steps first; what no step holds at the price of the dearest."""
    left, usd = instances, 0.0
    for step in box.steps:
        taken = left if step.quota is None else np.minimum(left, step.quota)
        usd += float(taken @ hours) * step.usd_per_hour
        left = left - taken
    return usd + float(left @ hours) * box.steps[-1].usd_per_hour
