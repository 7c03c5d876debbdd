"""Small routing LPs: does what stands serve the demand, and if not, at which prices does it fall short."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyfleet.plan.cuts import Prices
from polyfleet.plan.problem import Floats
from polyfleet.plan.solver import Program, Rows, Status
from polyfleet.plan.stack import Stack

Ints = NDArray[np.int64]
ENOUGH = 1.0 - 1e-7
"""Served share from which demand counts as met."""


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """How much of the demand can be served (`share`, at most 1), by whom, and the prices where it falls short.

    `own` (O, B) and `hosted` (H, B) are requests per second.
    """

    share: float
    own: Floats
    hosted: Floats
    prices: Prices


def serve_base(stack: Stack, demand: Floats, replicas: Floats, spend: Floats, shares: Floats) -> Served:
    """The largest share of a window's staffed demand (B,) that replicas (O,), hosted spend (H,) USD per second and
    capped tokens per second (S,) can carry."""
    own = np.flatnonzero(replicas > 1e-9)
    rent = np.flatnonzero(spend > 1e-12)
    grid = _Grid(stack, own, rent, stack.capacity, demand)
    grid.load_rows(replicas[own])
    grid.spend_rows(spend[rent])
    grid.limit_rows()
    grid.cap_rows(shares)
    return grid.solve()


def serve_loss(stack: Stack, demand: Floats, replicas: Floats, loss: int) -> Served:
    """The same for what survives a loss, under the loosened promise; hosts without a limit carry their buckets."""
    own = np.flatnonzero((replicas > 1e-9) & ~stack.lost_own[loss])
    rent = np.flatnonzero(stack.limited & ~stack.lost_hosted[loss])
    grid = _Grid(stack, own, rent, stack.capacity_lost, np.where(stack.open_buckets[loss], demand, 0.0))
    grid.load_rows(replicas[own])
    grid.limit_rows()
    return grid.solve()


class _Grid:
    """Columns x (own and hosted option x bucket) and the served share; rows added family by family."""

    def __init__(self, stack: Stack, own: Ints, rent: Ints, capacity: Floats, demand: Floats) -> None:
        self.stack, self.own, self.rent, self.demand = stack, own, rent, demand
        wanted = demand > 0
        can_own = (capacity[own] > 0) & wanted
        can_rent = np.isfinite(stack.spend[rent]) & (stack.limit[rent] > 0) & wanted
        self.oi, self.ob = np.nonzero(can_own)
        self.hi, self.hb = np.nonzero(can_rent)
        self.load = 1.0 / capacity[own][self.oi, self.ob]
        self.n_own, self.n = self.oi.size, self.oi.size + self.hi.size
        self._r: list[Ints] = []
        self._c: list[Ints] = []
        self._v: list[Floats] = []
        self._lower: list[Floats] = []
        self._upper: list[Floats] = []
        self._parts: dict[str, slice] = {}
        self.toll: Floats | None = None
        self.rows = 0
        self._demand_rows(np.flatnonzero(wanted))

    def _demand_rows(self, wanted: Ints) -> None:
        """sum x - share * demand >= 0 by bucket, scaled by the demand."""
        place = np.full(self.demand.size, -1)
        place[wanted] = np.arange(wanted.size)
        self.wanted = wanted
        buckets = np.concatenate([self.ob, self.hb])
        r = np.concatenate([place[buckets], np.arange(wanted.size)])
        c = np.concatenate([np.arange(self.n), np.full(wanted.size, self.n)])
        v = np.concatenate([1.0 / self.demand[buckets], -np.ones(wanted.size)])
        self._family("demand", r, c, v, np.zeros(wanted.size), np.full(wanted.size, np.inf))

    def load_rows(self, replicas: Floats) -> None:
        self._at_most("load", self.oi, np.arange(self.n_own), self.load, replicas)

    def spend_rows(self, spend: Floats) -> None:
        cost = self.stack.spend[self.rent][self.hi, self.hb]
        self._at_most("spend", self.hi, self._hosted_columns(), cost, spend)

    def limit_rows(self) -> None:
        limited = self.stack.limited[self.rent]
        place = np.cumsum(limited) - 1
        reach = self.stack.limit[self.rent][self.hi, self.hb]
        keep = limited[self.hi] & np.isfinite(reach)
        self._limited = np.flatnonzero(limited)
        self._at_most(
            "limit", place[self.hi[keep]], self._hosted_columns()[keep], 1.0 / reach[keep], np.ones(self._limited.size)
        )

    def cap_rows(self, shares: Floats) -> None:
        in_own = self.stack.capped_own[:, self.own][:, self.oi]
        in_rent = self.stack.capped_hosted[:, self.rent][:, self.hi]
        r, c = np.nonzero(np.concatenate([in_own, in_rent], axis=1))
        tokens = self.stack.need.tokens[np.concatenate([self.ob, self.hb])]
        self._at_most("cap", r, c, tokens[c], shares)

    def solve(self, *, cheapest: bool = False, most: float = 1.0, toll: Floats | None = None) -> Served:
        """The largest share of the demand (at most `most`); with `cheapest`, at the least spend and tolls as well."""
        cost = np.zeros(self.n + 1)
        if cheapest:
            cost[: self.n] = self._usd(toll)
            # serving counts for more than any spend: no request may be dropped to save money
            unit = 1.0 / max(float(cost.max() * self.demand.sum()) * 4.0, 1e-300)
            cost *= unit
            self.toll = None if toll is None else toll * unit
        cost[-1] = 0.0 if cheapest else -1.0
        upper = np.full(self.n + 1, np.inf)
        upper[-1] = most
        lower = np.zeros(self.n + 1)
        if cheapest:
            lower[-1] = upper[-1] = ENOUGH - 1e-7  # a hair below what counts as met, so that rounding cannot refuse it
        program = Program(cost, lower, upper, np.zeros(self.n + 1, dtype=bool))
        program.add_rows(self._all_rows())
        answer = program.solve_relaxed()
        if answer.status is Status.INFEASIBLE:
            cost[-1] = -1.0
            upper[-1] = most
            program.set_cost(cost)
            program.set_bounds(np.zeros(self.n + 1), upper)
            answer = program.solve_relaxed()
        assert answer.status is Status.OPTIMAL  # serving nothing is always feasible
        return self._served(answer.x, answer.row_dual)

    def _usd(self, toll: Floats | None) -> Floats:
        """(n,) USD per request: what hosts charge, and tolls on capped tokens."""
        usd = np.zeros(self.n)
        usd[self.n_own :] = self.stack.spend[self.rent][self.hi, self.hb]
        if toll is not None and toll.size:
            own, rent = toll @ self.stack.capped_own, toll @ self.stack.capped_hosted
            each = np.concatenate([own[self.own][self.oi], rent[self.rent][self.hi]])
            usd += each * self.stack.need.tokens[np.concatenate([self.ob, self.hb])]
        return usd

    def _served(self, x: Floats, dual: Floats) -> Served:
        stack = self.stack
        own, hosted = np.zeros(stack.capacity.shape), np.zeros(stack.spend.shape)
        own[self.own[self.oi], self.ob] = np.maximum(x[: self.n_own], 0.0)
        hosted[self.rent[self.hi], self.hb] = np.maximum(x[self.n_own : self.n], 0.0)
        bucket, capped, host = np.zeros(self.demand.size), np.zeros(stack.caps.size), np.zeros(stack.hosted.size)
        bucket[self.wanted] = np.maximum(dual[self._parts["demand"]], 0.0) / self.demand[self.wanted]
        if self.toll is not None:
            capped = self.toll
        if "cap" in self._parts:
            capped = np.maximum(-dual[self._parts["cap"]], 0.0)
        if "limit" in self._parts:
            host[self.rent[self._limited]] = np.maximum(-dual[self._parts["limit"]], 0.0)
        return Served(float(x[self.n]), own, hosted, Prices(bucket, capped, host))

    def _hosted_columns(self) -> Ints:
        return self.n_own + np.arange(self.hi.size)

    def _at_most(self, name: str, r: Ints, c: Ints, v: Floats, upper: Floats) -> None:
        self._family(name, r, c, v, np.full(upper.size, -np.inf), upper)

    def _family(self, name: str, r: Ints, c: Ints, v: Floats, lower: Floats, upper: Floats) -> None:
        self._r.append(r + self.rows)
        self._c.append(c)
        self._v.append(v)
        self._lower.append(lower)
        self._upper.append(upper)
        self._parts[name] = slice(self.rows, self.rows + upper.size)
        self.rows += upper.size

    def _all_rows(self) -> Rows:
        r, c, v = np.concatenate(self._r), np.concatenate(self._c), np.concatenate(self._v)
        return rows_of(r, c, v, np.concatenate(self._lower), np.concatenate(self._upper))


def rows_of(r: Ints, c: Ints, v: Floats, lower: Floats, upper: Floats) -> Rows:
    """Rows from (row, column, value) entries."""
    order = np.lexsort((c, r))
    counts = np.bincount(r, minlength=lower.size)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]) if lower.size else np.zeros(0)
    return Rows(lower, upper, starts.astype(np.int64), c[order].astype(np.int64), v[order].astype(float))


def cheapest_base(stack: Stack, demand: Floats, replicas: Floats, tokens: Floats) -> Served:
    """Who serves a window's staffed demand (B,) for the least hosted spend, within capped tokens per second (S,)."""
    own = np.flatnonzero(replicas > 1e-9)
    rent = np.arange(stack.hosted.size)
    grid = _Grid(stack, own, rent, stack.capacity, demand)
    grid.load_rows(replicas[own])
    grid.limit_rows()
    grid.cap_rows(tokens * (1 + 1e-6) + 1e-9)
    return grid.solve(cheapest=True)


def cheapest_tolled(stack: Stack, demand: Floats, replicas: Floats, toll: Floats) -> Served:
    """Who serves a window's staffed demand (B,) for the least hosted spend and tolls (S,) USD per capped token."""
    own = np.flatnonzero(replicas > 1e-9)
    grid = _Grid(stack, own, np.arange(stack.hosted.size), stack.capacity, demand)
    grid.load_rows(replicas[own])
    grid.limit_rows()
    return grid.solve(cheapest=True, toll=toll)


def cheapest_loss(stack: Stack, demand: Floats, replicas: Floats, loss: int) -> Served:
    """Who takes over in a loss: what stands first, then the cheapest surviving hosts."""
    own = np.flatnonzero((replicas > 1e-9) & ~stack.lost_own[loss])
    rent = np.flatnonzero(~stack.lost_hosted[loss])
    grid = _Grid(stack, own, rent, stack.capacity_lost, demand)
    grid.load_rows(replicas[own])
    grid.limit_rows()
    return grid.solve(cheapest=True)


def most_of(stack: Stack, demand: Floats, replicas: Floats, capacity: Floats, most: float = 1e3) -> float:
    """How many times a mix of demand (B,) the replicas alone could serve, at most `most`."""
    grid = _Grid(stack, np.flatnonzero(replicas > 1e-9), np.zeros(0, dtype=np.int64), capacity, demand)
    grid.load_rows(replicas[grid.own])
    return grid.solve(most=most).share
