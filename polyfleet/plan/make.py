"""Make a plan: build the problem, solve it, route it, check it, write it down."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polyfleet.catalog.store import Catalog
from polyfleet.errors import InfeasibleError, SolverError
from polyfleet.plan.build_problem import build_problem
from polyfleet.plan.check import check_plan
from polyfleet.plan.document import (
    capacity_rows,
    loss_rows,
    plan_windows,
    plan_workloads,
    rentals,
    routes,
)  # fmt: skip
from polyfleet.plan.document_limits import limit_rows
from polyfleet.plan.document_lines import line_up
from polyfleet.plan.dominance import without_dominated
from polyfleet.plan.explain import refuse
from polyfleet.plan.fleet import Fleet, route
from polyfleet.plan.master import TIDY
from polyfleet.plan.month import Month, solve_month
from polyfleet.plan.own_options import FindModel
from polyfleet.plan.problem import Problem
from polyfleet.plan.problem_file import to_file
from polyfleet.plan.restrict import in_parts, unserved
from polyfleet.plan.search import Effort, Progress
from polyfleet.plan.solver import VERSION
from polyfleet.plan.speed_cost import with_speed_costs
from polyfleet.plan.warn import warnings_of
from polyfleet.speed import SpeedModel
from polyfleet.terms.demand import Bucket, Demand
from polyfleet.terms.plan import CapacityRow, Plan, SolverFacts
from polyfleet.terms.spec import Spec


def make_plan(
    spec: Spec,
    demands: Mapping[str, Demand],
    catalog: Catalog,
    speed: SpeedModel,
    find_model: FindModel,
    *,
    gap: float = 0.01,
    progress: Progress | None = None,
) -> Plan:
    """The cheapest plan that keeps the spec's promises and limits, proven to within `gap` of the best there can be.

    `demands` by name, for every workload with traffic. Raises InputError for a wrong spec, InfeasibleError where no
    plan keeps every limit (with the limits that clash and the nearest that could be kept), SolverError where the
    solver gives no answer.
    """
    start = time.perf_counter()
    _tell(progress, "building the problem")
    built = build_problem(spec, demands, catalog, speed, find_model)
    built_s = time.perf_counter() - start
    context = Context(spec, catalog, built.buckets, built.notes)
    return plan_problem(built.problem, gap=gap, progress=progress, context=context, build_seconds=built_s)


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a problem's numbers stand for, where it came from a spec."""

    spec: Spec
    catalog: Catalog
    buckets: Sequence[Sequence[Bucket]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A solved problem: the routed fleet (None = infeasible), with costs in USD. `problem` is the one that was given,
    with windows cut where the plan does not stay the same for all of their hours."""

    problem: Problem
    fleet: Fleet | None
    usd: float
    bound: float
    month: Month
    unit_usd: float


def solve(problem: Problem, *, gap: float = 0.01, progress: Progress | None = None) -> Outcome:
    """Solve a problem; costs come back in USD. The budget is not looked at: it cannot make a plan cheaper."""
    unit = money_unit(problem)
    small = without_dominated(in_units(problem, unit))
    month = solve_month(small, Effort(gap=gap, unit_usd=unit), progress)
    if month.decision is None:
        return Outcome(problem, None, math.inf, math.inf, month, unit)
    fleet = route(in_parts(in_units(small, 1.0 / unit), month.parts), month.decision)
    rented = rentals(fleet, None)
    usd = math.fsum(w.usd_per_month for w in plan_windows(fleet, rented))
    return Outcome(in_parts(problem, month.parts), fleet, usd, min(month.bound * unit * (1 - TIDY), usd), month, unit)


def plan_problem(
    problem: Problem,
    *,
    gap: float = 0.01,
    progress: Progress | None = None,
    context: Context | None = None,
    build_seconds: float = 0.0,
) -> Plan:
    """The plan of a problem. Raises as `make_plan` does."""
    start = time.perf_counter()
    if missing := unserved(problem):
        text = f"nothing that the policy allows serves all requests of workload {missing!r}"
        raise InfeasibleError(text, clash=(f"demand of {missing}",))
    outcome = solve(problem, gap=gap, progress=progress)
    budget = problem.limits.budget_usd_per_month
    if outcome.fleet is None or (budget is not None and outcome.usd > budget * (1 + 1e-9)):
        refuse(problem, outcome.usd, outcome.bound)
    assert outcome.fleet is not None
    seconds = time.perf_counter() - start
    facts = SolverFacts(solver=VERSION, seconds_build=build_seconds, seconds_solve=seconds, gap_asked=gap)
    plan = _written(outcome, outcome.fleet, gap, facts, context)
    if faults := check_plan(plan, outcome.problem):
        raise SolverError(f"the plan fails its own check: {faults[0]} ({len(faults)} in all)")
    return with_speed_costs(plan, outcome.problem)


def _written(outcome: Outcome, fleet: Fleet, gap: float, facts: SolverFacts, context: Context | None) -> Plan:
    catalog = context.catalog if context else None
    rented = rentals(fleet, catalog)
    lines = line_up(fleet, catalog)
    capacity = capacity_rows(fleet)
    duals = {name: value * outcome.unit_usd for name, value in outcome.month.duals.items()}
    proven = outcome.usd / outcome.bound - 1 if outcome.bound > 0 else 0.0
    return Plan(
        spec_digest=context.spec.digest if context else "",
        catalog_digest=catalog.digest if catalog else "",
        status="proven" if proven <= gap + 1e-9 else "stopped",
        usd_per_month=outcome.usd,
        bound_usd_per_month=outcome.bound,
        gap=max(proven, 0.0),
        windows=plan_windows(fleet, rented),
        workloads=plan_workloads(fleet, context.spec if context else None, context.buckets if context else None),
        rentals=rented,
        lines=lines.lines,
        routes=routes(fleet, lines, fleet.base),
        losses=loss_rows(fleet, lines),
        capacity=capacity,
        limits=limit_rows(fleet, duals, outcome.usd, _served_in_losses(capacity, outcome.problem.limits.keep)),
        warnings=(*(context.notes if context else ()), *warnings_of(fleet, capacity)),
        problem=to_file(outcome.problem),
        solver=facts,
    )


def _served_in_losses(capacity: Sequence[CapacityRow], keep: float) -> dict[str, float]:
    """By loss: the least share of the staffed demand that can be served, over workloads and windows."""
    least: dict[str, float] = {}
    for row in capacity:
        if row.scenario != "base" and row.staffed_per_s > 0:
            name = row.scenario.replace("without ", "survive ", 1)
            staffed_hosted = row.hosted_per_s * row.staffed_per_s / (row.demand_per_s * keep)
            share = keep * (row.capacity_per_s + staffed_hosted) / row.staffed_per_s
            least[name] = min(least.get(name, math.inf), share)
    return least


def money_unit(problem: Problem) -> float:
    """A power of two near the usual price, so that a change of all prices by a factor of two changes no digit."""
    prices = [s.usd_per_hour for b in problem.boxes for s in b.steps if s.usd_per_hour > 0]
    prices = prices or [float(h.usd_per_request[np.isfinite(h.usd_per_request)].max()) for h in problem.hosted]
    return 2.0 ** math.floor(math.log2(float(np.median(prices)))) if prices else 1.0


def in_units(problem: Problem, unit: float) -> Problem:
    """The problem with all money counted in a unit."""
    boxes = tuple(
        dataclasses.replace(b, steps=tuple(dataclasses.replace(s, usd_per_hour=s.usd_per_hour / unit) for s in b.steps))
        for b in problem.boxes
    )
    hosted = tuple(dataclasses.replace(h, usd_per_request=h.usd_per_request / unit) for h in problem.hosted)
    return dataclasses.replace(problem, boxes=boxes, hosted=hosted)


def _tell(progress: Progress | None, text: str) -> None:
    if progress is not None:
        progress(text)


__all__ = ["Context", "InfeasibleError", "Outcome", "make_plan", "plan_problem", "solve"]
