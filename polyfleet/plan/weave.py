"""A month of many windows: plans for single windows, put together and priced again until the gap is closed.

Windows are bound together by what counts over the month: shares of traffic, and instances paid for all hours. A guide
(the relaxed month, on its promising columns) gives the first prices of each; the mix of the plans found so far gives
better ones.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from polyfleet.plan.guide import Guide
from polyfleet.plan.ledger import Ledger
from polyfleet.plan.master import Master
from polyfleet.plan.mix import Mix, MonthPrices, Pick, choice
from polyfleet.plan.pool import Pool
from polyfleet.plan.problem import Problem
from polyfleet.plan.search import Effort, Progress, relax, search
from polyfleet.plan.sheet import Block
from polyfleet.plan.stack import Stack

_ROUNDS = 12
_STEP = 0.6
"""How far prices move from the best ones known towards the mix's: all the way makes them swing."""


class Weave:
    """The search. `masters[t]` is window t's, at the prices last tried; `bound` what no month costs less than."""

    def __init__(
        self, problem: Problem, stacks: tuple[Stack, ...], pool: Pool, effort: Effort, progress: Progress | None
    ) -> None:
        self.problem, self.stacks, self.pool = problem, stacks, pool
        self.effort, self.progress = effort, progress
        self.mix = Mix(problem)
        self.masters: list[Master] = []
        self.bound = 0.0

    def run(self, guide: Guide) -> Pick | None:
        """The cheapest month within the gap, or the best found; None where a window cannot be served or no month
        keeps the caps. Windows are split only where the gap cannot be closed without."""
        prices = MonthPrices(guide.toll, guide.all_hours_usd)
        if not self._start(guide, prices):
            return None
        best, pick = prices, self.mix.pick()
        for _ in range(_ROUNDS):
            bound, new = self._prove(prices, pick)
            better = bound > self.bound
            if better:
                best, self.bound = prices, bound
            pick = self.mix.pick() if new else pick
            if not self._closed(pick, self.bound):
                parted = self.mix.split()
                pick = parted if self._closed(parted, self.bound) or (not (new or better) and parted) else pick
            if self._closed(pick, self.bound) or not (new or better):
                break
            prices = best.towards(self.mix.prices(best), _STEP)
        return pick

    def _start(self, guide: Guide, prices: MonthPrices) -> bool:
        """A plan for every window within its part of the caps, or where there is none, at the guide's prices."""
        ledger = Ledger(self.problem, guide)
        count = self.problem.hours.size
        for t in range(count):
            self._tell(f"window {t + 1} of {count}: {self.problem.windows[t]}")
            priced = self._master(self.mix.block(t, prices))
            self.masters.append(priced)
            master = self._master(ledger.limited(t))
            found = search(master, self.effort)
            if found.x is None:
                master, found = priced, search(priced, self.effort)
            if found.x is None:
                return False
            new = choice(master, found.x)
            ledger.book(new.tokens)
            self.mix.add(new)
        return True

    def _prove(self, prices: MonthPrices, pick: Pick | None) -> tuple[float, bool]:
        """A bound on the month at these prices, and whether plans were found on the way that were not known. The
        loosest windows are proven first, until the gap is closed."""
        for t, master in enumerate(self.masters):
            master.reprice(self.mix.block(t, prices))
        floor = np.array([relax(m, stall=self.effort.gap / 5).objective for m in self.masters])
        cost = np.array([min(float(m.program.cost @ x) for x in self.mix.of(t)) for t, m in enumerate(self.masters)])
        constant, new = self.mix.constant(prices), False
        for t in np.argsort(floor - cost, kind="stable"):
            bound = constant + float(floor.sum())
            if self._closed(pick, bound):
                break
            self._standing(pick, bound)
            found = search(self.masters[t], self._effort(cost, int(t)), known=self.mix.of(int(t)))
            floor[t] = max(floor[t], found.bound)
            if found.x is not None:
                new |= self.mix.add(choice(self.masters[t], found.x))
        return constant + float(floor.sum()), new

    def _effort(self, cost: np.ndarray[tuple[int], np.dtype[np.float64]], t: int) -> Effort:
        """A window may be as loose as its even part of the month's gap allows."""
        part = 0.5 * self.effort.gap * float(cost.sum()) / cost.size / max(float(cost[t]), 1e-12)
        return dataclasses.replace(self.effort, gap=min(max(part, 0.3 * self.effort.gap), 0.1))

    def _master(self, block: Block) -> Master:
        master = Master(self.problem, self.stacks, self.pool, block)
        master.start()
        return master

    def _closed(self, pick: Pick | None, bound: float) -> bool:
        return pick is not None and pick.usd <= bound * (1 + self.effort.gap)

    def _standing(self, pick: Pick | None, bound: float) -> None:
        unit = self.effort.unit_usd
        best = f"best plan {pick.usd * unit:,.0f} USD a month" if pick is not None else "no plan yet"
        self._tell(f"{best}, none below {max(bound, self.bound) * unit:,.0f}")

    def _tell(self, text: str) -> None:
        if self.progress is not None:
            self.progress(text)
