"""How much of a plan its reasons solve again: the whole problem where that is soon done, else its busiest window."""

from __future__ import annotations

from polyfleet.plan.dominance import without_dominated
from polyfleet.plan.problem import Problem
from polyfleet.plan.restrict import busiest_hour

MOST_WHOLE = 70_000
"""Size up to which a problem of several windows is solved again as a whole: about a second for every line and limit.
Larger ones can take minutes for each."""


def solve_size(problem: Problem) -> int:
    """How large a problem is to solve: windows x whole-number columns of a window (of options that none beats) x
    (losses + 1) x workloads squared, since caps tie workloads together. A count, not a time: the same plan has the
    same scope on every machine."""
    small = without_dominated(problem)
    columns = len(small.options) + sum(len(box.steps) for box in small.boxes)
    return problem.hours.size * columns * (len(problem.limits.losses) + 1) * len(problem.needs) ** 2


def solved_again(problem: Problem) -> tuple[Problem, str]:
    """What is solved again for the reasons, and its name."""
    if problem.hours.size == 1:
        return problem, "the whole month"
    if solve_size(problem) <= MOST_WHOLE:
        return problem, f"the whole month, {problem.hours.size} windows"
    busiest = busiest_hour(problem)
    return busiest, f"the busiest window ({busiest.windows[0]}), taken for the whole month"
