"""Finding the cuts that a candidate breaks: first in the pool, then by routing LPs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyfleet.plan.cuts import Cut
from polyfleet.plan.limits.share import token_scale
from polyfleet.plan.master import Master
from polyfleet.plan.problem import Floats
from polyfleet.plan.routing import ENOUGH, serve_base, serve_loss

_BROKEN = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A master's point for one workload and window: `demand` (B,) staffed requests per second, `replicas` (O,),
    `spend` (H,) USD per second of staffed traffic, `tokens` (S,) capped tokens per second."""

    demand: Floats
    replicas: Floats
    spend: Floats
    tokens: Floats


def candidate(master: Master, x: Floats, f: int, w: int) -> Candidate:
    """Read a master's solution."""
    columns, need = master.columns, master.stacks[w].need
    demand = need.staffed_per_s[master.block.windows[f]]
    tokens = x[columns.share[w][f]] * token_scale(master.sheet, w)[f]
    return Candidate(
        demand, np.maximum(x[columns.replica[w][f]], 0.0), np.maximum(x[columns.spend[w][f]], 0.0) / 3600.0,
        np.maximum(tokens, 0.0),
    )  # fmt: skip


def add_broken(master: Master, x: Floats) -> int:
    """Add to the master the cuts that x breaks; the number added. 0 means that x can be routed in the base case and
    in every loss."""
    added = 0
    for f in range(len(master.block.windows)):
        for w in range(len(master.stacks)):
            if master.has_demand(f, w):
                added += _base(master, f, w, candidate(master, x, f, w))
    return added + add_broken_losses(master, x)


def add_broken_losses(master: Master, x: Floats) -> int:
    """The same for the losses alone."""
    added = 0
    for f in range(len(master.block.windows)):
        for w in range(len(master.stacks)):
            if master.has_demand(f, w) and (losses := master.standby(w)):
                point = candidate(master, x, f, w)
                added += sum(_loss(master, f, w, loss, point) for loss in losses)
    master.flush()
    return added


def _base(master: Master, f: int, w: int, point: Candidate) -> int:
    pool = master.pool
    if not point.demand.any():
        return 0
    known = [i for i, c in enumerate(pool.base[w]) if _shortfall(c, point, 1.0) > _BROKEN]
    added = sum(master.add_base(f, w, i) for i in known)
    if added:
        return added
    served = serve_base(master.stacks[w], point.demand, point.replicas, point.spend, point.tokens)
    if served.share >= ENOUGH:
        return 0
    pool.add_base(w, served.prices)
    return int(master.add_base(f, w, len(pool.base[w]) - 1))


def _loss(master: Master, f: int, w: int, loss: int, point: Candidate) -> int:
    pool, keep = master.pool, master.problem.limits.keep
    known = [i for i, c in enumerate(pool.lost[w][loss]) if _shortfall(c, point, keep) > _BROKEN]
    added = sum(master.add_loss(f, w, loss, i) for i in known)
    if added:
        return added
    stack = master.stacks[w]
    if not (stack.lost_own[loss] & (point.replicas > 1e-9)).any() and not _may_need_host(master, w, loss, point):
        return 0
    served = serve_loss(stack, keep * point.demand, point.replicas, loss)
    if served.share >= ENOUGH:
        return 0
    pool.add_loss(w, loss, served.prices.bucket)
    return int(master.add_loss(f, w, loss, len(pool.lost[w][loss]) - 1))


def _may_need_host(master: Master, w: int, loss: int, point: Candidate) -> bool:
    """Whether a host that is lost may serve buckets that no other host could take over. Its spend does not tell: who
    serves is settled after the whole numbers are. Where it turns out not to be used, the check is kept anyway."""
    stack = master.stacks[w]
    return bool(stack.lost_hosted[loss].any() and (stack.open_buckets[loss] & (point.demand > 0)).any())


def _shortfall(cut: Cut, point: Candidate, keep: float) -> float:
    """How far a cut is from being kept, as a share of the demand's value."""
    due = keep * float(cut.bucket @ point.demand)
    if due <= 0.0:
        return 0.0
    worth = float(cut.own @ point.replicas + cut.hosted @ point.spend + cut.capped @ point.tokens) + cut.constant
    return (due - worth) / due
