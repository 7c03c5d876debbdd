"""The whole month: windows at once where they are few, else one by one.

Windows are bound together by what counts over the month: shares of traffic, instances paid for all hours, batch work.
A guide (the relaxed month, on its promising columns) puts a price on each. Every window is then solved twice: with its
part of each (a plan), and with their prices in place of them (a bound: Lagrangian relaxation, Geoffrion, Math.
Programming Study 2, 1974; any prices give a true one).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyfleet.plan.blocks import duals_by_name, whole_block
from polyfleet.plan.guide import guided
from polyfleet.plan.ledger import Ledger
from polyfleet.plan.master import Master
from polyfleet.plan.pool import Pool, seeded
from polyfleet.plan.problem import Floats, Problem
from polyfleet.plan.search import Effort, Found, Progress, relax, search
from polyfleet.plan.sheet import Block
from polyfleet.plan.solver import Status
from polyfleet.plan.stack import Stack, stack_up

JOINT_COLUMNS = 1_200
"""Whole-number columns up to which all windows are solved at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """A master's solution by window: `steps` (T, K) instances, and per workload `replicas` (T, O), `spend` (T, H) USD
    per second of staffed traffic, `shares` (T, S) capped tokens per second, `batch` (T,) batch requests per second."""

    steps: Floats
    replicas: tuple[Floats, ...]
    spend: tuple[Floats, ...]
    shares: tuple[Floats, ...]
    batch: tuple[Floats, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Month:
    """The best decision found (None = infeasible), its cost, the bound, and the relaxed duals by row name."""

    decision: Decision | None
    usd: float
    bound: float
    stopped: bool
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
        return Month(None, np.inf, found.bound, found.stopped, duals, pool)
    decision = _joined(problem, stacks, [(master, found.x)])
    return Month(decision, found.objective, found.bound, found.stopped, duals, pool)


def _by_window(
    problem: Problem, stacks: tuple[Stack, ...], pool: Pool, effort: Effort, progress: Progress | None
) -> Month:
    guide = guided(problem, effort)
    if guide.answer.status is Status.INFEASIBLE:
        return Month(None, np.inf, np.inf, False, guide.duals, pool)
    ledger = Ledger(problem, guide)
    solved: list[tuple[Master, Floats]] = []
    stopped = False
    for t in range(problem.hours.size):
        if progress is not None:
            progress(f"window {t + 1} of {problem.hours.size}: {problem.windows[t]}")
        ledger.prove(t, _relaxed_bound(problem, stacks, pool, ledger.priced(t), effort))
        master, found = _solve(problem, stacks, pool, ledger.limited(t), effort)
        if found.x is None:
            return Month(None, np.inf, np.inf, False, guide.duals, pool)
        ledger.book(master, found.x, t)
        solved.append((master, found.x))
        stopped |= found.stopped
    for t in ledger.loosest():
        if ledger.usd <= ledger.bound * (1 + effort.gap):
            break
        if progress is not None:
            progress(f"proving window {problem.windows[t]}: gap {ledger.usd / max(ledger.bound, 1e-12) - 1:.2%}")
        ledger.prove(t, _solve(problem, stacks, pool, ledger.priced(t), effort)[1].bound)
    usd = ledger.usd
    return Month(_joined(problem, stacks, solved), usd, min(ledger.bound, usd), stopped, guide.duals, pool)


def _relaxed_bound(problem: Problem, stacks: tuple[Stack, ...], pool: Pool, block: Block, effort: Effort) -> float:
    master = Master(problem, stacks, pool, block)
    master.start()
    return relax(master, stall=effort.gap / 5).objective


def _solve(
    problem: Problem, stacks: tuple[Stack, ...], pool: Pool, block: Block, effort: Effort
) -> tuple[Master, Found]:
    master = Master(problem, stacks, pool, block)
    master.start()
    return master, search(master, effort)


def _joined(problem: Problem, stacks: tuple[Stack, ...], solved: list[tuple[Master, Floats]]) -> Decision:
    """Blocks side by side, whole numbers made exact."""
    steps, replicas, spend, shares, batch = [], [], [], [], []
    for master, x in solved:
        c = master.columns
        scales = [master.scales(w) for w in range(len(stacks))]
        steps.append(np.round(x[c.step]))
        replicas.append([np.round(x[ids]) for ids in c.replica])
        spend.append([np.maximum(x[ids], 0.0) / 3600.0 for ids in c.spend])
        shares.append([np.maximum(x[ids], 0.0) * s[0][:, None] for ids, s in zip(c.share, scales, strict=True)])
        batch.append(
            [np.where(ids >= 0, np.maximum(x[ids], 0.0) * s[1], 0.0) for ids, s in zip(c.batch, scales, strict=True)]
        )

    def over(parts: list[list[Floats]]) -> tuple[Floats, ...]:
        return tuple(np.concatenate([p[w] for p in parts]) for w in range(len(stacks)))

    assert sum(len(m.block.windows) for m, _ in solved) == problem.hours.size
    return Decision(np.concatenate(steps), over(replicas), over(spend), over(shares), over(batch))
