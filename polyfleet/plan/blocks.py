"""The block of a whole month, and what its relaxed program says of each limit."""

from __future__ import annotations

import numpy as np

from polyfleet.plan.master import Master
from polyfleet.plan.problem import Problem
from polyfleet.plan.sheet import Block
from polyfleet.plan.solver import Answer, Status


def whole_block(problem: Problem) -> Block:
    """All windows, with all limits as rows."""
    caps = problem.limits.caps
    budget = np.array([c.share * problem.cap_tokens(c) for c in caps])
    return Block(tuple(range(problem.hours.size)), budget, np.zeros(len(caps)))


def duals_by_name(master: Master, answer: Answer) -> dict[str, float]:
    """What the rows of a name add to the relaxed cost, USD per month: sum of dual x right-hand side."""
    found: dict[str, float] = {}
    if answer.status is Status.INFEASIBLE:
        return found
    known = answer.row_dual.size  # rows added since have no dual here
    bounds = master.program.row_bounds()[:known]
    for name, dual, bound in zip(master.sheet.names[:known], answer.row_dual, bounds, strict=True):
        found[name] = found.get(name, 0.0) + float(dual) * float(bound)
    return found
