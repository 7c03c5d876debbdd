"""A first plan, window by window: what each may use of what counts over the month."""

from __future__ import annotations

import numpy as np

from polyfleet.plan.guide import Guide
from polyfleet.plan.problem import Floats, Problem
from polyfleet.plan.sheet import Block

_LOAN = 0.1
"""How far, in share of the traffic still to come, early windows may run ahead of a cap."""


class Ledger:
    """What the windows planned so far have used of each cap."""

    def __init__(self, problem: Problem, guide: Guide) -> None:
        self.problem, self.guide = problem, guide
        self.used = np.zeros(len(problem.limits.caps))

    def limited(self, t: int) -> Block:
        """Window t with what it may use: tolls still steer it."""
        room = np.maximum(self._room(t), 0.0)
        return Block((t,), room, self.guide.toll, all_hours_count=self.guide.all_hours_count)

    def book(self, tokens: Floats) -> None:
        """Take a window's tokens (C,) into the account."""
        self.used += tokens

    def _room(self, t: int) -> Floats:
        """(C,) tokens that window t may put on each cap."""
        room = []
        for c, cap in enumerate(self.problem.limits.caps):
            served = sum((self._tokens(w) for w in cap.workloads), np.zeros(self.problem.hours.size))
            later = float(served[t + 1 :].sum())
            room.append(cap.share * float(served[: t + 1].sum()) + min(_LOAN, cap.share) * later - self.used[c])
        return np.array(room)

    def _tokens(self, w: int) -> Floats:
        """(T,) tokens a month of a workload."""
        need = self.problem.needs[w]
        return np.asarray(need.rate_per_s @ need.tokens * self.problem.hours * 3600.0)
