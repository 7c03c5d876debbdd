"""The master problem: instances, replicas and hosted spend, with routing projected out into cuts."""

from __future__ import annotations

import numpy as np

from polyfleet.plan.cuts import Cut
from polyfleet.plan.limits.box_fits import limit_box_fits
from polyfleet.plan.limits.demand import limit_demand, limit_survive, limit_survive_any
from polyfleet.plan.limits.quota import limit_quota
from polyfleet.plan.limits.share import (
    limit_share_by_chip_vendor,
    limit_share_by_provider,
    limit_share_by_region,
    limit_spot_share,
    share_tokens,
    token_scale,
)
from polyfleet.plan.pool import Pool, needs_standby, own_usd_per_hour
from polyfleet.plan.problem import Bools, Floats, Problem, month_hours
from polyfleet.plan.sheet import Block, Columns, Ints, Sheet
from polyfleet.plan.solver import Program
from polyfleet.plan.stack import Stack

TIDY = 1e-6
"""A replica costs this part of its chips' price beside its box's, so that no plan keeps replicas it does not need."""


_FIRST_CUTS = 16


class Master:
    """One block's program, and the cuts it has taken from the pool so far."""

    def __init__(self, problem: Problem, stacks: tuple[Stack, ...], pool: Pool, block: Block) -> None:
        self.problem, self.stacks, self.pool, self.block = problem, stacks, pool, block
        self.columns = _lay_out(problem, stacks, block)
        self.sheet = Sheet(problem, stacks, block, self.columns)
        lower, upper = self._bounds()
        self.program = Program(self._cost(), lower, upper, self._whole())
        self._seen_base: set[tuple[int, int, int]] = set()
        self._seen_loss: set[tuple[int, int, int, int]] = set()
        for limit in (limit_box_fits, limit_quota, limit_share_by_provider, limit_share_by_chip_vendor,
                      limit_share_by_region, limit_spot_share):  # fmt: skip
            limit(self.sheet)
        self.flush()

    def flush(self) -> None:
        """Hand the new rows to the solver."""
        self.program.add_rows(self.sheet.take())

    def reprice(self, block: Block) -> None:
        """Take another block's prices for the same windows; rows stay."""
        self.block = block
        self.program.set_cost(self._cost())

    def add_base(self, f: int, w: int, index: int) -> bool:
        """Take a base cut of the pool; False where it is already here."""
        if (f, w, index) in self._seen_base:
            return False
        self._seen_base.add((f, w, index))
        limit_demand(self.sheet, f, w, self.pool.base[w][index])
        return True

    def add_loss(self, f: int, w: int, loss: int, index: int) -> bool:
        """Take a loss cut of the pool; False where it is already here."""
        if (f, w, loss, index) in self._seen_loss:
            return False
        self._seen_loss.add((f, w, loss, index))
        limit_survive(self.sheet, f, w, self.pool.lost[w][loss][index], loss)
        return True

    def start(self) -> None:
        """Take the pool's first base cuts for every window; the others, and losses, follow where they are broken."""
        for f in range(len(self.block.windows)):
            for w in range(len(self.stacks)):
                if self.has_demand(f, w):
                    for index in range(min(len(self.pool.base[w]), _FIRST_CUTS)):
                        self.add_base(f, w, index)
                    self._round_losses(f, w)
        self.flush()

    def _round_losses(self, f: int, w: int) -> None:
        losses, standby = self.problem.limits.losses, self.standby(w)
        for kind in sorted({losses[s].kind for s in standby}):
            lost = [self.pool.lost[w][s] for s in standby if losses[s].kind == kind]
            for index in range(min(_FIRST_CUTS, *(len(cuts) for cuts in lost))):
                limit_survive_any(self.sheet, f, w, [cuts[index] for cuts in lost], kind)

    def has_demand(self, f: int, w: int) -> bool:
        """Whether workload w has anything to serve in the block's window f."""
        return bool(self.stacks[w].need.rate_per_s[self.block.windows[f]].any())

    def standby(self, w: int) -> list[int]:
        """Losses for which workload w needs chips of its own."""
        return [s for s in range(self.pool.losses) if needs_standby(self.stacks[w], s)]

    def scales(self, w: int) -> Floats:
        """(F,) staffed tokens per second in a share of 1."""
        return token_scale(self.sheet, w)

    def month_tokens(self, w: int) -> Floats:
        """(F,) tokens a month, without headroom, in a share of 1."""
        return share_tokens(self.sheet, w)

    def _cost(self) -> Floats:
        """USD per month by column, tolls on capped tokens included."""
        problem, block, columns = self.problem, self.block, self.columns
        cost = np.zeros(columns.count)
        price = np.array([s.usd_per_hour for b in problem.boxes for s in b.steps])
        fixed = all_hours_steps(problem)
        for f, t in enumerate(block.windows):
            usd = price * problem.hours[t]
            if block.all_hours_count is not None:
                usd = np.where(fixed, 0.0, usd)
            elif block.all_hours_usd is not None:
                usd = np.where(fixed, block.all_hours_usd[f], usd)
            else:
                usd = np.where(fixed, price * month_hours(problem), usd)
            cost[columns.step[f]] = usd
            for w, stack in enumerate(self.stacks):
                cost[columns.replica[w][f]] = TIDY * own_usd_per_hour(problem, stack) * problem.hours[t]
                cost[columns.spend[w][f]] = problem.hours[t] / stack.need.headroom[t]
                cost[columns.share[w][f]] = block.toll[stack.caps] * share_tokens(self.sheet, w)[f]
        return cost

    def _bounds(self) -> tuple[Floats, Floats]:
        problem, columns = self.problem, self.columns
        lower, upper = np.zeros(columns.count), np.full(columns.count, np.inf)
        quota = np.array([np.inf if s.quota is None else float(s.quota) for b in problem.boxes for s in b.steps])
        fixed = all_hours_steps(problem)
        for f in range(len(self.block.windows)):
            upper[columns.step[f]] = quota
            if self.block.all_hours_count is not None:
                ids = columns.step[f, fixed]
                lower[ids] = upper[ids] = self.block.all_hours_count[fixed]
        return lower, upper

    def _whole(self) -> Bools:
        whole = np.zeros(self.columns.count, dtype=bool)
        whole[self.columns.step.ravel()] = True
        for ids in self.columns.replica:
            whole[ids.ravel()] = True
        return whole


def all_hours_steps(problem: Problem) -> Bools:
    """(K,) whether a price step is paid for all hours."""
    return np.array([b.all_hours for b in problem.boxes for _ in b.steps], dtype=bool)


def _lay_out(problem: Problem, stacks: tuple[Stack, ...], block: Block) -> Columns:
    frames, steps, count = len(block.windows), sum(len(b.steps) for b in problem.boxes), 0

    def take(*shape: int) -> Ints:
        nonlocal count
        ids = np.arange(count, count + int(np.prod(shape)), dtype=np.int64).reshape(shape)
        count += ids.size
        return ids

    step = take(frames, steps)
    if block.all_hours_usd is None and block.all_hours_count is None and frames > 1:
        fixed = all_hours_steps(problem)
        step[:, fixed] = step[0, fixed]  # one count for all windows; the unused columns stay empty
    replica = tuple(take(frames, s.options.size) for s in stacks)
    spend = tuple(take(frames, s.hosted.size) for s in stacks)
    share = tuple(take(frames, s.caps.size) for s in stacks)
    return Columns(step, replica, spend, share, count)


__all__ = ["Block", "Cut", "Master", "all_hours_steps"]
