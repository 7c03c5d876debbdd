"""Why no plan exists: the smallest set of limits that clash, and the nearest that could be kept.

A small elastic program stands in for the whole: instances without number (quotas apart), so that only who may serve
what matters. It counts tokens by supplier and bucket, in the busiest window and in each loss. Every named limit may be
broken at a price; what is broken is the nearest promise. Then limits are dropped one by one while the rest still
clash (deletion filter, Chinneck and Dravnieks, ORSA J. Computing 3, 1991).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NoReturn

from polyfleet.errors import InfeasibleError
from polyfleet.plan.clash import Reason, named_limits, tightness
from polyfleet.plan.problem import Problem


def refuse(problem: Problem, usd: float, bound: float) -> NoReturn:
    """Raise InfeasibleError for a problem that the search found no plan for (`usd` inf), or none within the budget."""
    budget = problem.limits.budget_usd_per_month
    if budget is not None and math.isfinite(usd):
        raise _over_budget(problem, budget, usd, bound)
    names = named_limits(problem)
    tight = tightness(problem, names)
    if not tight.broken:
        quotas = tuple(q.name for q in problem.limits.quotas)
        reason = "what the quotas leave" if quotas else "the time that batch work is given, or what the offers hold"
        raise InfeasibleError(f"no plan keeps every limit: whole replicas do not fit {reason}", clash=quotas)
    clash = _smallest_clash(problem, names) or tuple(r.name for r in tight.broken)
    words = "; ".join(_nearest(r) for r in tight.broken)
    raise InfeasibleError(
        f"no plan keeps every limit; these clash: {', '.join(clash)}. Nearest: {words}", clash=clash, nearest=words
    )


def _over_budget(problem: Problem, budget: float, usd: float, bound: float) -> InfeasibleError:
    nearest = f"a budget of {usd:,.0f} USD a month"
    others = list(named_limits(problem))
    if bound > budget:
        text = f"no plan within {budget:,.0f} USD a month: none costs less than {bound:,.0f}"
        text += f", the best found costs {usd:,.0f}"
    else:
        text = (
            f"no plan found within {budget:,.0f} USD a month: the best found costs {usd:,.0f}, and one below "
            f"{bound:,.0f} is ruled out; a smaller gap may find one"
        )
    return InfeasibleError(text, clash=("budget", *others), nearest=nearest)


def _smallest_clash(problem: Problem, names: Collection[str]) -> tuple[str, ...]:
    kept = list(names)
    for name in list(kept):
        rest = [n for n in kept if n != name]
        if tightness(problem, rest).broken:
            kept = rest
    return tuple(kept)


def _nearest(reason: Reason) -> str:
    if reason.kind == "share":
        share = math.ceil((reason.bound + reason.excess) * 1000 - 1e-6) / 10  # rounded up: it must suffice
        return f"{reason.name} at {share:g}% instead of {100 * reason.bound:g}%"
    if reason.kind == "survive":
        kept = math.floor(max(reason.bound - reason.excess, 0.0) * 1000 + 1e-6) / 10  # rounded down: it must be kept
        return f"{reason.name} keeping {kept:g}% instead of {100 * reason.bound:g}%"
    if reason.kind == "quota":
        return (
            f"{reason.name}: {math.ceil(reason.bound + reason.excess - 1e-6):,d} chips instead of {reason.bound:,.0f}"
        )
    return f"{reason.name}: {reason.excess:.0%} of it cannot be served"
