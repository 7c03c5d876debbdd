"""One workload's ways to be served, stacked into arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from polyfleet.plan.problem import Bools, Floats, Need, Problem
from polyfleet.terms.offer import Purchase

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Stack:
    """Axes: O own options and H hosted offers of this workload, B buckets, S caps and L losses that touch it.

    `options` (O,) and `hosted` (H,) index the problem's; `capacity`, `capacity_lost` (O, B); `spend` (H, B) USD per
    request; `limit` (H, B) requests per second; `capped_own` (S, O), `capped_hosted` (S, H) whether traffic counts
    against cap `caps[s]`; `lost_own` (L, O), `lost_hosted` (L, H) whether it goes with a loss.
    """

    need: Need
    options: Ints
    hosted: Ints
    box: Ints
    packed: Floats
    capacity: Floats
    capacity_lost: Floats
    spend: Floats
    limit: Floats
    caps: Ints
    capped_own: Bools
    capped_hosted: Bools
    lost_own: Bools
    lost_hosted: Bools

    @cached_property
    def open_buckets(self) -> Bools:
        """(L, B) buckets that no surviving host without a limit takes, so that own chips must stand by for them."""
        unlimited = np.isinf(self.limit) & np.isfinite(self.spend)
        carried = np.asarray(((~self.lost_hosted)[:, :, None] & unlimited[None]).any(axis=1))
        return np.logical_not(carried)

    @cached_property
    def limited(self) -> Bools:
        """(H,) hosts with a published limit."""
        return np.asarray(np.isfinite(self.limit).any(axis=1))


def stack_up(problem: Problem) -> tuple[Stack, ...]:
    """A stack for every workload of the problem."""
    return tuple(_stack(problem, w) for w in range(len(problem.needs)))


def _stack(problem: Problem, w: int) -> Stack:
    need, limits = problem.needs[w], problem.limits
    buckets = need.tokens.size
    options = [i for i, o in enumerate(problem.options) if o.workload == w]
    hosted = [i for i, h in enumerate(problem.hosted) if h.workload == w]
    own = [problem.options[i] for i in options]
    rent = [problem.hosted[i] for i in hosted]
    boxes = [problem.boxes[o.box] for o in own]
    caps, in_own, in_hosted = [], [], []
    for c, cap in enumerate(limits.caps):
        row = [problem.is_capped(cap, w, b.supplier, b.purchase) for b in boxes]
        rented = [problem.is_capped(cap, w, h.supplier, Purchase.PER_TOKEN) for h in rent]
        if any(row) or any(rented):
            caps.append(c)
            in_own.append(row)
            in_hosted.append(rented)
    return Stack(
        need=need,
        options=np.array(options, dtype=np.int64),
        hosted=np.array(hosted, dtype=np.int64),
        box=np.array([o.box for o in own], dtype=np.int64),
        packed=np.array([float(o.packed_chips) for o in own]),
        capacity=_table([o.capacity for o in own], buckets),
        capacity_lost=_table([o.capacity_lost for o in own], buckets),
        spend=_table([h.usd_per_request for h in rent], buckets),
        limit=_table([h.limit_per_s for h in rent], buckets),
        caps=np.array(caps, dtype=np.int64),
        capped_own=np.array(in_own, dtype=bool).reshape(len(caps), len(own)),
        capped_hosted=np.array(in_hosted, dtype=bool).reshape(len(caps), len(rent)),
        lost_own=_flags([[b.supplier.named(s.kind) == s.supplier for b in boxes] for s in limits.losses], len(own)),
        lost_hosted=_flags([[h.supplier.named(s.kind) == s.supplier for h in rent] for s in limits.losses], len(rent)),
    )


def _table(rows: list[Floats], buckets: int) -> Floats:
    return np.array(rows, dtype=float).reshape(len(rows), buckets)


def _flags(rows: list[list[bool]], width: int) -> Bools:
    return np.array(rows, dtype=bool).reshape(len(rows), width)
