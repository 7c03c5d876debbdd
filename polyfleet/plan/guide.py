"""The relaxed month, on its promising options and a few windows: prices for what binds the windows together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyfleet.plan.blocks import duals_by_name, whole_block
from polyfleet.plan.master import Master, all_hours_steps
from polyfleet.plan.pool import seeded
from polyfleet.plan.problem import Cap, Floats, Problem
from polyfleet.plan.search import Effort, relax, search
from polyfleet.plan.solver import Answer, Status
from polyfleet.plan.stack import stack_up


@dataclass(frozen=True, slots=True, eq=False)
class Guide:
    """Per cap a `toll` (C,) USD per token; `all_hours_usd` (T, K) what an all-hours instance is worth in each window,
    and `all_hours_count` (K,) how many there are."""

    toll: Floats
    all_hours_usd: Floats
    all_hours_count: Floats
    answer: Answer
    duals: dict[str, float]


def step_usd(problem: Problem) -> Floats:
    return np.array([s.usd_per_hour for b in problem.boxes for s in b.steps])


_GUIDE_WINDOWS = 6
_GUIDE_NODES = 200


def guided(problem: Problem, effort: Effort) -> Guide:
    """The relaxed month, on its promising options and on a few windows, read for prices and for what to decide before
    the windows."""
    group = _grouped(problem)
    few = _with_groups(problem, group)
    narrow = _narrowed(few, effort)
    stacks = stack_up(narrow)
    master = Master(narrow, stacks, seeded(narrow, stacks), whole_block(narrow))
    master.start()
    answer = relax(master, stall=effort.gap / 5)
    duals = duals_by_name(master, answer)
    count = np.zeros(all_hours_steps(problem).size)
    fixed = all_hours_steps(problem)
    if answer.status is Status.OPTIMAL and (answer.x[master.columns.step[0, fixed]] > 1e-6).any():
        found = search(master, dataclasses.replace(effort, nodes=_GUIDE_NODES))
        chosen = answer.x if found.x is None else found.x
        count = np.where(fixed, np.round(chosen[master.columns.step[0]]), 0.0)
    return _read_guide(problem, narrow, group, master, answer, duals, count)


def _grouped(problem: Problem) -> NDArray[np.int64]:
    """(T,) the group of each window: windows of like traffic together; batch windows apart from the others."""
    load = sum((n.staffed_per_s @ n.tokens for n in problem.needs), np.zeros(problem.hours.size))
    may = np.zeros(problem.hours.size)
    for w, need in enumerate(problem.needs):
        if need.is_batch:
            may += need.rate_per_s.any(axis=1) * 2.0**w
    group = np.zeros(problem.hours.size, dtype=np.int64)
    count = 0
    for kind in np.unique(may):
        inside = np.flatnonzero(may == kind)
        order = inside[np.argsort(load[inside], kind="stable")]
        for part in np.array_split(order, min(_GUIDE_WINDOWS, order.size)):
            group[part] = count
            count += 1
    return group


def _with_groups(problem: Problem, group: NDArray[np.int64]) -> Problem:
    """The problem with each group of windows as one, at its mean staffed rates."""
    count = int(group.max()) + 1
    share = np.zeros((count, problem.hours.size))
    share[group, np.arange(problem.hours.size)] = problem.hours
    hours = share.sum(axis=1)
    share /= hours[:, None]
    needs = []
    for need in problem.needs:
        rate = share @ need.staffed_per_s
        needs.append(dataclasses.replace(need, rate_per_s=rate, headroom=np.ones(count)))
    names = tuple(f"group {g}" for g in range(count))
    return dataclasses.replace(problem, windows=names, hours=hours, needs=tuple(needs))


def _narrowed(problem: Problem, effort: Effort, most: int = 24) -> Problem:
    """The problem with, per workload, the options that a mean hour uses or nearly uses."""
    mean = _mean_hour(problem)
    stacks = stack_up(mean)
    master = Master(mean, stacks, seeded(mean, stacks), whole_block(mean))
    master.start()
    answer = relax(master, stall=effort.gap / 5)
    if answer.status is Status.INFEASIBLE:
        return problem
    kept: list[int] = []
    for w, stack in enumerate(stacks):
        cost = answer.reduced_cost[master.columns.replica[w][0]]
        kept += [int(stack.options[o]) for o in np.argsort(cost, kind="stable")[:most]]
    return dataclasses.replace(problem, options=tuple(problem.options[i] for i in sorted(kept)))


def _mean_hour(problem: Problem) -> Problem:
    """One window with the month's mean staffed rates."""
    share = problem.hours / problem.hours.sum()
    needs = []
    for need in problem.needs:
        rate = (share @ need.staffed_per_s)[None, :]
        needs.append(dataclasses.replace(need, rate_per_s=rate, headroom=np.ones(1)))
    return dataclasses.replace(
        problem, windows=("mean hour",), hours=np.array([problem.hours.sum()]), needs=tuple(needs)
    )


def _read_guide(
    problem: Problem,
    narrow: Problem,
    group: NDArray[np.int64],
    master: Master,
    answer: Answer,
    duals: dict[str, float],
    count: Floats,
) -> Guide:
    caps = problem.limits.caps
    month_usd = step_usd(problem)[None, :] * problem.hours[:, None]
    steps = month_usd.shape[1]
    if answer.status is Status.INFEASIBLE:
        return Guide(np.zeros(len(caps)), month_usd, np.zeros(steps), answer, duals)
    # the dual counts a share, and its right-hand side is the share: dual = value / share
    worth = [max(-duals.get(c.name, 0.0), 0.0) / max(c.share * problem.cap_tokens(c), 1e-12) for c in caps]
    toll = np.array(worth) + np.array([_least_toll(problem, answer, c) for c in caps])
    part = problem.hours / narrow.hours[group]
    few_usd = step_usd(problem)[None, :] * narrow.hours[:, None]
    usd = _all_hours_prices(narrow, master, answer, few_usd)[group] * part[:, None]
    return Guide(toll, usd, count, answer, duals)


def _least_toll(problem: Problem, answer: Answer, cap: Cap) -> float:
    """A toll too small to matter, so that no window claims more of a cap than it uses."""
    return 1e-6 * max(answer.objective, 0.0) / max(problem.cap_tokens(cap), 1e-12) / len(problem.limits.caps)


def _all_hours_prices(narrow: Problem, master: Master, answer: Answer, month_usd: Floats) -> Floats:
    """(T, K) what an all-hours instance is worth in each window; over the month its price. What the windows do not
    value is spread by hours."""
    usd = month_usd.copy()
    box_rows = [i for i, name in enumerate(master.sheet.names) if name == "replicas fit"]
    boxes, windows = len(narrow.boxes), narrow.hours.size
    dual = -answer.row_dual[box_rows].reshape(windows, boxes)
    k = 0
    for b, box in enumerate(narrow.boxes):
        for _ in box.steps:
            if box.all_hours:
                value = np.maximum(dual[:, b] * box.chips, 0.0)
                total = float(month_usd[:, k].sum())
                value = value * min(1.0, total / max(float(value.sum()), 1e-12))
                rest = total - float(value.sum())
                usd[:, k] = value + rest * narrow.hours / narrow.hours.sum()
            k += 1
    return usd
