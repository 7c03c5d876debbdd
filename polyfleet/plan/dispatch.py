"""With the whole numbers held: hosted spend and shares at once, workload by workload, where no cap ties them."""

from __future__ import annotations

import numpy as np

from polyfleet.plan.limits.share import token_scale
from polyfleet.plan.master import Master
from polyfleet.plan.problem import Floats
from polyfleet.plan.routing import ENOUGH, Served, cheapest_tolled
from polyfleet.plan.separate import candidate


def dispatch(master: Master, numbers: Floats, toll: Floats) -> Floats | None:
    """A full solution x for whole numbers, routed at the least spend and tolls (C,) USD per capped token.

    None where it breaks a cap of the block, or where the replicas do not suffice. Either way the master learns, for
    each workload, what these replicas cannot do without that spend.
    """
    x, short = numbers.copy(), False
    for f in range(len(master.block.windows)):
        for w, stack in enumerate(master.stacks):
            if not master.has_demand(f, w):
                continue
            point = candidate(master, numbers, f, w)
            each = toll[stack.caps] if stack.caps.size else toll[:0]
            served = cheapest_tolled(stack, point.demand, point.replicas, each)
            master.pool.add_base(w, served.prices)
            master.add_base(f, w, len(master.pool.base[w]) - 1)
            short |= served.share < ENOUGH - 2e-7
            _book(master, x, f, w, served)
    master.flush()
    return x if not short and _within_caps(master, x) else None


def _book(master: Master, x: Floats, f: int, w: int, served: Served) -> None:
    """Write a workload's spend and shares into the solution."""
    stack, columns = master.stacks[w], master.columns
    spend = np.where(np.isfinite(stack.spend), stack.spend, 0.0)
    grow = 1 + 1e-6  # so that the rounding of the routing LP does not leave the demand a hair short
    x[columns.spend[w][f]] = (spend * served.hosted).sum(axis=1) * 3600.0 * grow
    if stack.caps.size:
        own, rent = served.own @ stack.need.tokens, served.hosted @ stack.need.tokens
        tokens = stack.capped_own @ own + stack.capped_hosted @ rent
        x[columns.share[w][f]] = tokens / token_scale(master.sheet, w)[f] * grow


def _within_caps(master: Master, x: Floats) -> bool:
    used = np.zeros(master.block.cap_tokens.size)
    for w, stack in enumerate(master.stacks):
        np.add.at(used, stack.caps, master.month_tokens(w) @ x[master.columns.share[w]])
    return bool((used <= master.block.cap_tokens * (1 + 1e-9)).all())
