"""Cuts found so far, shared by all windows. They hold no prices of offers and no demand, so they never go stale."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from polyfleet.plan.cuts import Cut, Prices, base_cut, loss_cut
from polyfleet.plan.problem import Floats, Problem
from polyfleet.plan.stack import Stack


@dataclass(slots=True)
class Pool:
    """Cuts by workload: `base[w]`, and `lost[w][loss]`."""

    stacks: tuple[Stack, ...]
    losses: int
    base: list[list[Cut]] = field(default_factory=list)
    lost: list[list[list[Cut]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.base = [[] for _ in self.stacks]
        self.lost = [[[] for _ in range(self.losses)] for _ in self.stacks]

    def add_base(self, w: int, prices: Prices) -> Cut:
        """Keep the base cut that prices give."""
        cut = base_cut(self.stacks[w], prices)
        self.base[w].append(cut)
        return cut

    def add_loss(self, w: int, loss: int, bucket: Floats) -> Cut:
        """Keep the cut of a loss that bucket prices give."""
        cut = loss_cut(self.stacks[w], bucket, loss)
        self.lost[w][loss].append(cut)
        return cut


def seeded(problem: Problem, stacks: tuple[Stack, ...], per_workload: int = 16) -> Pool:
    """A pool that starts from the prices of each workload's best options: a bucket costs what it takes of a replica."""
    pool = Pool(stacks, len(problem.limits.losses))
    for w, stack in enumerate(stacks):
        for bucket in _seed_prices(problem, stack, per_workload):
            prices = Prices(bucket, np.zeros(stack.caps.size), np.zeros(stack.hosted.size))
            pool.add_base(w, prices)
            for loss in range(pool.losses):
                if needs_standby(stack, loss):
                    pool.add_loss(w, loss, bucket)
    return pool


def needs_standby(stack: Stack, loss: int) -> bool:
    """Whether own chips must stand by for a loss of this supplier: batch work waits, and a loss that touches nothing
    of the workload needs no more than the base case does."""
    touched = stack.lost_own[loss].any() or stack.lost_hosted[loss].any()
    return bool(touched and not stack.need.is_batch and stack.open_buckets[loss].any())


def _seed_prices(problem: Problem, stack: Stack, most: int) -> list[Floats]:
    """1 / capacity of the options that are cheapest for some bucket, or cheapest for the mean demand."""
    wanted = problem.hours @ stack.need.staffed_per_s
    found: list[Floats] = []
    if stack.options.size:
        usd = own_usd_per_hour(problem, stack)
        with np.errstate(divide="ignore"):
            per_request = usd[:, None] / stack.capacity
            whole = np.where(stack.capacity > 0, per_request, np.inf) @ np.ones(wanted.size)
            order = list(np.argsort(whole, kind="stable")[: most // 2]) + list(per_request.argmin(axis=0))
        for o in dict.fromkeys(order):
            capacity = stack.capacity[o]
            price = np.where(capacity > 0, 1.0 / np.maximum(capacity, 1e-12), 0.0)
            _keep(found, price, wanted)
    if stack.hosted.size:
        spend = np.where(np.isfinite(stack.spend), stack.spend, np.inf)
        best = spend.min(axis=0)
        _keep(found, np.where(np.isfinite(best), best, 0.0), wanted)
    return found[:most]


def _keep(found: list[Floats], price: Floats, wanted: Floats) -> None:
    value = float(price @ wanted)
    if value > 0:
        price = price / value
        if not any(np.allclose(price, other, rtol=0.02, atol=0.0) for other in found):
            found.append(price)


def own_usd_per_hour(problem: Problem, stack: Stack) -> Floats:
    """(O,) a replica's part of its box's cheapest price."""
    boxes = [problem.boxes[b] for b in stack.box]
    return np.array([p / b.chips * b.steps[0].usd_per_hour for p, b in zip(stack.packed, boxes, strict=True)])
