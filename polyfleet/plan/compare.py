"""This plan beside simpler ones: one cloud, one vendor, one chip, all on demand, all hosted, no limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from polyfleet.catalog.store import Catalog
from polyfleet.errors import InfeasibleError
from polyfleet.plan.blocks import whole_block
from polyfleet.plan.build_problem import build_problem
from polyfleet.plan.document_lines import line_up
from polyfleet.plan.dominance import without_dominated
from polyfleet.plan.fleet import Fleet
from polyfleet.plan.make import solve
from polyfleet.plan.master import Master
from polyfleet.plan.own_options import FindModel
from polyfleet.plan.pool import seeded
from polyfleet.plan.problem import Box, Hosted, Problem
from polyfleet.plan.restrict import (
    busiest_hour,
    busiest_hours_share,
    hosted_only,
    keeping,
    lifting,
    on_demand_only,
    unlimited,
    unserved,
)
from polyfleet.plan.search import Progress, relax
from polyfleet.plan.stack import stack_up
from polyfleet.speed import SpeedModel
from polyfleet.terms.demand import Demand
from polyfleet.terms.spec import Policy, Spec


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to do it. `usd_per_month` None = it cannot be done: `why_not`. `lifted` names the limits it does not
    keep, `uses` who serves, by cost; `gap` is how far below its cost a better one could still be."""

    name: str
    usd_per_month: float | None
    gap: float = 0.0
    lifted: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    why_not: str = ""


def compare(
    spec: Spec,
    demands: Mapping[str, Demand],
    catalog: Catalog,
    speed: SpeedModel,
    find_model: FindModel,
    *,
    gap: float = 0.01,
    progress: Progress | None = None,
) -> tuple[Alternative, ...]:
    """The plan of a spec beside simpler ones. Raises as `make_plan` does where the inputs are wrong.

    Where the policy forbids hosts, they are weighed all the same in the rows that ask about them.
    """

    def built(policy: Policy) -> Problem:
        return build_problem(spec.model_copy(update={"policy": policy}), demands, catalog, speed, find_model).problem

    forbidden = spec.policy.hosted == "forbidden"
    free = built(spec.policy.model_copy(update={"hosted": "allowed"})) if forbidden else None
    return compare_problem(built(spec.policy), with_hosts=free, gap=gap, progress=progress)


def compare_problem(
    problem: Problem, *, with_hosts: Problem | None = None, gap: float = 0.01, progress: Progress | None = None
) -> tuple[Alternative, ...]:
    """The comparison of a problem; the first row is the plan itself. `with_hosts`: the same, hosts allowed,
    where the problem itself forbids them."""
    rows = [_row("this plan", problem, gap, progress)]
    vendors = ("limits on chip vendors",)
    rows.append(_best("best single cloud", gap, progress, _by_provider(problem), ("limits on providers",)))
    rows.append(_best("best single chip vendor", gap, progress, _by_vendor(problem), vendors))
    rows.append(_best("best single chip", gap, progress, _by_chip(problem), vendors))
    rows.append(_row("all on demand, no hosts", on_demand_only(problem), gap, progress))
    lifted = ("hosted: forbidden",) if with_hosts else ()
    rows.append(_row("all hosted by the token", hosted_only(with_hosts or problem), gap, progress, lifted=lifted))
    rows.append(_row("no limits at all", unlimited(with_hosts or problem), gap, progress, lifted=("all limits",)))
    return tuple(rows)


def _row(
    name: str,
    problem: Problem,
    gap: float,
    progress: Progress | None,
    *,
    choice: str = "",
    lifted: tuple[str, ...] = (),
) -> Alternative:
    title = f"{name}: {choice}" if choice else name
    if progress is not None:
        progress(title)
    if missing := unserved(problem):
        return Alternative(title, None, lifted=lifted, why_not=f"nothing serves all of {missing}")
    outcome = solve(problem, gap=gap)
    budget = problem.limits.budget_usd_per_month
    if outcome.fleet is None:
        return Alternative(title, None, lifted=lifted, why_not=_why_not(problem))
    proven = max(outcome.usd / outcome.bound - 1, 0.0) if outcome.bound > 0 else 0.0
    over = f"over the budget of {budget:,.0f}" if budget is not None and outcome.usd > budget * (1 + 1e-9) else ""
    return Alternative(title, outcome.usd, proven, lifted, _uses(outcome.fleet), over)


def _uses(fleet: Fleet) -> tuple[str, ...]:
    """Who serves, the costliest first."""
    usd: dict[str, float] = {}
    for line in line_up(fleet, None).lines:
        if line.usd_per_month > 0:
            name = f"{line.provider} {line.chip}" if line.kind == "own" else f"{line.provider} (tokens)"
            usd[name] = usd.get(name, 0.0) + line.usd_per_month
    return tuple(sorted(usd, key=lambda n: (-usd[n], n)))


def _why_not(problem: Problem) -> str:
    from polyfleet.plan.explain import refuse

    try:
        refuse(problem, math.inf, math.inf)
    except InfeasibleError as error:
        return str(error)


Choices = Iterable[tuple[str, Problem]]


def _best(name: str, gap: float, progress: Progress | None, choices: Choices, lifted: tuple[str, ...]) -> Alternative:
    """The cheapest of several: in the order of their relaxed cost, until no other can be cheaper."""
    ready = [(c, p) for c, p in choices if not unserved(p)]
    ranked = sorted(((_floor(p), c, p) for c, p in ready), key=lambda r: (r[0], r[1]))
    best: Alternative | None = None
    for floor, choice, changed in ranked:
        if not math.isfinite(floor) or (best and best.usd_per_month is not None and floor >= best.usd_per_month):
            break
        row = _row(name, changed, gap, progress, choice=choice, lifted=lifted)
        if row.usd_per_month is not None and (best is None or row.usd_per_month < (best.usd_per_month or math.inf)):
            best = row
    if best is not None:
        return best
    return Alternative(name, None, lifted=lifted, why_not="none of them serves every workload within the other limits")


def _floor(problem: Problem) -> float:
    """A cost to rank by, which no plan of the problem undercuts: its relaxed program after a few rounds. Where there
    are many windows, only the busiest counts, for the part of the month that it lasts."""
    small = without_dominated(problem)
    part = 1.0
    if small.hours.size > 1:
        part = busiest_hours_share(small)
        small = busiest_hour(small)
    stacks = stack_up(small)
    master = Master(small, stacks, seeded(small, stacks), whole_block(small))
    master.start()
    return relax(master, rounds=8).objective * part


def _by_provider(problem: Problem) -> Choices:
    names = sorted({b.supplier.provider for b in problem.boxes} | {h.supplier.provider for h in problem.hosted})
    return [(n, _only(problem, "provider", n)) for n in names]


def _by_vendor(problem: Problem) -> Choices:
    names = sorted({b.supplier.chip_vendor for b in problem.boxes} | {h.supplier.chip_vendor for h in problem.hosted})
    return [(n, _only(problem, "chip_vendor", n)) for n in names]


def _only(problem: Problem, kind: str, name: str) -> Problem:
    def mine(way: Box | Hosted) -> bool:
        return way.supplier.named(kind) == name

    return lifting(keeping(problem, mine, mine), _is(kind), _is(kind))


def _is(kind: str) -> Callable[[str, str], bool]:
    return lambda k, _: k == kind


def _by_chip(problem: Problem) -> Choices:
    chips = sorted({problem.boxes[o.box].chip for o in problem.options})
    vendor = _is("chip_vendor")
    return [(c, lifting(keeping(problem, _on_chip(c), lambda _: False), vendor, vendor)) for c in chips]


def _on_chip(chip: str) -> Callable[[Box], bool]:
    return lambda box: box.chip == chip
