"""A decision with its routing: who serves which request, in the base case and in every loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyfleet.errors import SolverError
from polyfleet.plan.month import Decision
from polyfleet.plan.problem import Floats, Problem
from polyfleet.plan.routing import Served, cheapest_base, cheapest_loss
from polyfleet.plan.stack import Stack, stack_up


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Requests per second of one workload and window, without headroom: `own` (O, B), `hosted` (H, B)."""

    own: Floats
    hosted: Floats

    @property
    def by_bucket(self) -> Floats:
        """(B,) requests served."""
        return np.asarray(self.own.sum(axis=0) + self.hosted.sum(axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """`base[t][w]`, and `lost[loss][t][w]` for losses that touch the plan. `steps` (T, K), `replicas[w]` (T, O)."""

    problem: Problem
    stacks: tuple[Stack, ...]
    steps: Floats
    replicas: tuple[Floats, ...]
    base: list[list[Flow]]
    lost: dict[int, list[list[Flow]]]


def route(problem: Problem, decision: Decision) -> Fleet:
    """Route a decision's requests at the least hosted spend.

    Raises SolverError where something cannot be served after all, which the search has ruled out.
    """
    stacks = stack_up(problem)
    windows = range(problem.hours.size)
    base = [[_base(stacks[w], decision, t, w) for w in range(len(stacks))] for t in windows]
    fleet = Fleet(problem, stacks, decision.steps, decision.replicas, base, {})
    for loss in range(len(problem.limits.losses)):
        if touches(fleet, loss):
            fleet.lost[loss] = [
                [_lost(problem, stacks[w], decision, t, w, loss) for w in range(len(stacks))] for t in windows
            ]
    return fleet


def touches(fleet: Fleet, loss: int) -> bool:
    """Whether the plan rents from, or routes to, what is lost."""
    for w, stack in enumerate(fleet.stacks):
        if (fleet.replicas[w][:, stack.lost_own[loss]] > 0).any():
            return True
        if any((row[w].hosted[stack.lost_hosted[loss]] > 1e-12).any() for row in fleet.base):
            return True
    return False


def _base(stack: Stack, decision: Decision, t: int, w: int) -> Flow:
    need = stack.need
    staffed = need.staffed_per_s[t]
    if not staffed.any():
        return _nothing(stack)
    served = cheapest_base(stack, staffed, decision.replicas[w][t], decision.shares[w][t])
    return _exactly(served, staffed, float(need.headroom[t]))


def _lost(problem: Problem, stack: Stack, decision: Decision, t: int, w: int, loss: int) -> Flow:
    need = stack.need
    staffed = problem.limits.keep * need.staffed_per_s[t]
    if need.is_batch or not staffed.any():
        return _nothing(stack)
    served = cheapest_loss(stack, staffed, decision.replicas[w][t], loss)
    return _exactly(served, staffed, float(need.headroom[t]))


def _nothing(stack: Stack) -> Flow:
    return Flow(np.zeros(stack.capacity.shape), np.zeros(stack.spend.shape))


def _exactly(served: Served, staffed: Floats, headroom: float) -> Flow:
    """Flows that serve each bucket exactly, in requests without headroom."""
    if served.share < 1.0 - 1e-6:
        raise SolverError(f"the plan serves only {served.share:.6f} of a demand that it was proven to serve")
    total = served.own.sum(axis=0) + served.hosted.sum(axis=0)
    scale = np.where(total > 0, staffed / np.maximum(total, 1e-300), 0.0) / headroom
    own, hosted = served.own * scale, served.hosted * scale
    dust = staffed / headroom * 1e-9
    return Flow(np.where(own > dust, own, 0.0), np.where(hosted > dust, hosted, 0.0))
