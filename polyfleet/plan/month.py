"""The whole month: windows at once where they are few, else one by one (see `weave`)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from polyfleet.plan.blocks import duals_by_name, whole_block
from polyfleet.plan.guide import guided
from polyfleet.plan.master import Master, all_hours_steps
from polyfleet.plan.pool import Pool, seeded
from polyfleet.plan.problem import Floats, Problem
from polyfleet.plan.search import Effort, Progress, search
from polyfleet.plan.solver import Status
from polyfleet.plan.stack import Stack, stack_up
from polyfleet.plan.weave import Weave

JOINT_COLUMNS = 1_200
"""Whole-number columns up to which all windows are solved at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """A master's solution by window: `steps` (T, K) instances, and per workload `replicas` (T, O), `spend` (T, H) USD
    per second of staffed traffic, `shares` (T, S) capped tokens per second."""

    steps: Floats
    replicas: tuple[Floats, ...]
    spend: tuple[Floats, ...]
    shares: tuple[Floats, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Month:
    """The best decision found (None = infeasible), the `parts` of windows that its rows stand for (window, share of its
    hours), its cost, the bound, and the relaxed duals by row name."""

    parts: tuple[tuple[int, float], ...]
    decision: Decision | None
    usd: float
    bound: float
    duals: dict[str, float]
    pool: Pool


def solve_month(problem: Problem, effort: Effort, progress: Progress | None = None, pool: Pool | None = None) -> Month:
    """The cheapest decision for a problem, and a proven bound."""
    stacks = stack_up(problem) if pool is None else pool.stacks
    pool = pool or seeded(problem, stacks)
    windows = problem.hours.size
    columns = windows * (len(problem.options) + sum(len(b.steps) for b in problem.boxes))
    if windows == 1 or columns <= JOINT_COLUMNS:
        return _at_once(problem, stacks, pool, effort, progress)
    return _by_window(problem, stacks, pool, effort, progress)


def _at_once(
    problem: Problem, stacks: tuple[Stack, ...], pool: Pool, effort: Effort, progress: Progress | None
) -> Month:
    master = Master(problem, stacks, pool, whole_block(problem))
    master.start()
    found = search(master, effort, progress)
    duals = duals_by_name(master, found.relaxed)
    if found.x is None:
        return Month((), None, np.inf, found.bound, duals, pool)
    decision = _joined(stacks, [(master, found.x)])
    return Month(_whole(problem), decision, found.objective, found.bound, duals, pool)


def _by_window(
    problem: Problem, stacks: tuple[Stack, ...], pool: Pool, effort: Effort, progress: Progress | None
) -> Month:
    guide = guided(problem, effort)
    if guide.answer.status is Status.INFEASIBLE:
        return Month((), None, np.inf, np.inf, guide.duals, pool)
    weave = Weave(problem, stacks, pool, effort, progress)
    pick = weave.run(guide)
    if pick is None:
        return Month((), None, np.inf, weave.bound, guide.duals, pool)
    decision = _joined(stacks, [(weave.masters[t], x) for (t, _), x in zip(pick.parts, pick.x, strict=True)])
    steps = np.where(all_hours_steps(problem), pick.all_hours, decision.steps)
    bound = min(weave.bound, pick.usd)
    decision = dataclasses.replace(decision, steps=steps)
    return Month(pick.parts, decision, pick.usd, bound, guide.duals, pool)


def _whole(problem: Problem) -> tuple[tuple[int, float], ...]:
    return tuple((t, 1.0) for t in range(problem.hours.size))


def _joined(stacks: tuple[Stack, ...], solved: list[tuple[Master, Floats]]) -> Decision:
    """Blocks side by side, whole numbers made exact."""
    steps, replicas, spend, shares = [], [], [], []
    for master, x in solved:
        c = master.columns
        scales = [master.scales(w) for w in range(len(stacks))]
        steps.append(np.round(x[c.step]))
        replicas.append([np.round(x[ids]) for ids in c.replica])
        spend.append([np.maximum(x[ids], 0.0) / 3600.0 for ids in c.spend])
        shares.append([np.maximum(x[ids], 0.0) * s[:, None] for ids, s in zip(c.share, scales, strict=True)])

    def over(parts: list[list[Floats]]) -> tuple[Floats, ...]:
        return tuple(np.concatenate([p[w] for p in parts]) for w in range(len(stacks)))

    return Decision(np.concatenate(steps), over(replicas), over(spend), over(shares))
