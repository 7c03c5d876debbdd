"""Windows solved one by one: what they may use, what they have used, cost and prove."""

from __future__ import annotations

import numpy as np

from polyfleet.plan.guide import Guide, step_usd
from polyfleet.plan.master import Master, all_hours_steps
from polyfleet.plan.problem import Floats, Problem, month_hours
from polyfleet.plan.sheet import Block

_LOAN = 0.1
"""How far, in share of the traffic still to come, early windows may run ahead of a cap."""


class Ledger:
    """What the windows solved so far have used of each cap, cost, and prove."""

    def __init__(self, problem: Problem, guide: Guide) -> None:
        self.problem, self.guide = problem, guide
        self.used = np.zeros(len(problem.limits.caps))
        self.usd = float(guide.all_hours_count @ step_usd(problem)) * month_hours(problem)
        self.constant = _charged_back(problem, guide)
        self.floor = np.full(problem.hours.size, -np.inf)
        self.spent = np.zeros(problem.hours.size)
        self.fixed = all_hours_steps(problem)

    def priced(self, t: int) -> Block:
        """Window t with prices in place of what binds the month together: its optimum is part of the bound."""
        guide = self.guide
        free = np.full(guide.toll.size, np.inf)
        return Block((t,), free, guide.toll, reward=guide.reward, all_hours_usd=guide.all_hours_usd[t : t + 1])

    def limited(self, t: int) -> Block:
        """Window t with what it may use: tolls still steer it."""
        room = np.maximum(self._room(t), 0.0)
        return Block((t,), room, self.guide.toll, self.guide.work[t], all_hours_count=self.guide.all_hours_count)

    def prove(self, t: int, bound: float) -> None:
        """Take a bound on window t at the guide's prices."""
        self.floor[t] = max(self.floor[t], bound)

    @property
    def bound(self) -> float:
        """No plan costs less."""
        return self.constant + float(self.floor.sum())

    def loosest(self) -> list[int]:
        """Windows, those first whose cost lies furthest above what is proven."""
        return [int(t) for t in np.argsort(self.floor - self.spent, kind="stable")]

    def book(self, master: Master, x: Floats, t: int) -> None:
        """Take a window's plan into the account, without its tolls."""
        self.used += used_tokens(master, x, self.problem)
        before = self.usd
        step = x[master.columns.step[0]]
        price = step_usd(self.problem) * float(self.problem.hours[t])
        self.usd += float(np.round(step) @ np.where(self.fixed, 0.0, price))
        for w, ids in enumerate(master.columns.spend):
            cost = float(self.problem.hours[t]) / float(self.problem.needs[w].headroom[t])
            self.usd += float(x[ids[0]].sum()) * cost
        self.spent[t] = self.usd - before

    def _room(self, t: int) -> Floats:
        """(C,) tokens that window t may put on each cap."""
        room = []
        for c, cap in enumerate(self.problem.limits.caps):
            served = [
                sum(_tokens_in(self.problem, self.guide, w, s) for w in cap.workloads)
                for s in range(self.problem.hours.size)
            ]
            later = sum(served[t + 1 :])
            room.append(cap.share * sum(served[: t + 1]) + min(_LOAN, cap.share) * later - self.used[c])
        return np.array(room)


def used_tokens(master: Master, x: Floats, problem: Problem) -> Floats:
    """(C,) tokens a month that a block's plan puts on each cap."""
    used = np.zeros(len(problem.limits.caps))
    for w, stack in enumerate(master.stacks):
        tokens = master.month_tokens(w)
        np.add.at(used, stack.caps, tokens @ np.maximum(x[master.columns.share[w]], 0.0))
    return used


def _tokens_in(problem: Problem, guide: Guide, w: int, t: int) -> float:
    need = problem.needs[w]
    if need.is_batch:
        return guide.work[t].get(w, 0.0) * float(need.tokens[0])
    return float(need.rate_per_s[t] @ need.tokens) * float(problem.hours[t]) * 3600.0


def _charged_back(problem: Problem, guide: Guide) -> float:
    """What the priced windows pay in tolls at most, and are paid for batch work: the constant of the relaxation."""
    caps = problem.limits.caps
    tolls = sum(guide.toll[c] * cap.share * problem.cap_tokens(cap) for c, cap in enumerate(caps))
    return sum(r * problem.needs[w].requests_per_month for w, r in guide.reward.items()) - float(tolls)
