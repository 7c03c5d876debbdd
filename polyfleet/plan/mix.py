"""Which of the plans found for each window together make the cheapest month, and what the month's limits cost.

Dantzig-Wolfe decomposition (Oper. Res. 8, 1960): every window has some plans, the month picks one for each so that
caps and instances paid for all hours hold. The relaxed pick prices both; windows solved at these prices give new plans
and, by Lagrangian relaxation, a bound (Geoffrion, Math. Programming Study 2, 1974; any prices give a true one).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyfleet.plan.guide import step_usd
from polyfleet.plan.master import Master, all_hours_steps
from polyfleet.plan.problem import Floats, Problem, month_hours
from polyfleet.plan.routing import rows_of
from polyfleet.plan.sheet import Block
from polyfleet.plan.solver import Answer, Program, Status

Ints = NDArray[np.int64]


_DUST = 1e-7
"""Parts of a window too small to be one."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A plan for one window: its master's solution `x`, `usd` a month for what follows the day and for hosts, `tokens`
    (C,) a month on each cap, `all_hours` (K,) instances paid for all hours, and its whole numbers as a key."""

    window: int
    x: Floats
    usd: float
    tokens: Floats
    all_hours: Floats
    numbers: bytes


@dataclass(frozen=True, slots=True, eq=False)
class MonthPrices:
    """`toll` (C,) USD per token on a cap; `all_hours_usd` (T, K) USD a month for an all-hours instance in a window."""

    toll: Floats
    all_hours_usd: Floats

    def towards(self, other: MonthPrices, part: float) -> MonthPrices:
        """A part of the way to other prices."""
        toll = self.toll + part * (other.toll - self.toll)
        return MonthPrices(toll, self.all_hours_usd + part * (other.all_hours_usd - self.all_hours_usd))


@dataclass(frozen=True, slots=True, eq=False)
class Pick:
    """A whole month: `parts` (window, its share of the window's hours) in order, `x` each part's solution, `all_hours`
    (K,) instances, and what it costs."""

    parts: tuple[tuple[int, float], ...]
    x: tuple[Floats, ...]
    all_hours: Floats
    usd: float


def choice(master: Master, x: Floats) -> Choice:
    """A window's plan as one to pick from."""
    problem, (t,) = master.problem, master.block.windows
    hours, fixed = float(problem.hours[t]), all_hours_steps(problem)
    step = np.round(x[master.columns.step[0]])
    usd = hours * float(step @ np.where(fixed, 0.0, step_usd(problem)))
    for w, ids in enumerate(master.columns.spend):
        usd += float(np.maximum(x[ids[0]], 0.0).sum()) * hours / float(problem.needs[w].headroom[t])
    tokens = np.zeros(len(problem.limits.caps))
    for w, stack in enumerate(master.stacks):
        np.add.at(tokens, stack.caps, master.month_tokens(w) @ np.maximum(x[master.columns.share[w]], 0.0))
    numbers = np.round(x[master.program.whole]).astype(np.int32).tobytes()
    return Choice(t, x, usd, tokens, np.where(fixed, step, 0.0), numbers)


class Mix:
    """The plans found so far."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.choices: list[Choice] = []
        caps = problem.limits.caps
        self.budget = np.array([max(c.share * problem.cap_tokens(c), 1e-12) for c in caps])
        self.month_usd = step_usd(problem) * month_hours(problem)
        self.only = np.array([_only_window(problem, c.workloads) for c in caps], dtype=np.int64)

    def block(self, t: int, prices: MonthPrices) -> Block:
        """Window t with prices in place of what binds the month together. A cap on work of this window alone stays."""
        mine = self.only == t
        toll = np.where(mine, 0.0, prices.toll)
        return Block((t,), np.where(mine, self.budget, np.inf), toll, all_hours_usd=prices.all_hours_usd[t : t + 1])

    def add(self, new: Choice) -> bool:
        """Take a plan; False where it is known."""
        for old in self.choices:
            alike = old.window == new.window and old.numbers == new.numbers
            if alike and np.allclose(old.tokens, new.tokens, rtol=1e-4) and old.usd <= new.usd * (1 + 1e-6):
                return False
        self.choices.append(new)
        return True

    def of(self, t: int) -> list[Floats]:
        """The solutions known for a window."""
        return [c.x for c in self.choices if c.window == t]

    def constant(self, prices: MonthPrices) -> float:
        """What a bound on the windows at these prices lacks to be one on the month."""
        return -float(np.where(self.only < 0, prices.toll, 0.0) @ self.budget)

    def prices(self, before: MonthPrices) -> MonthPrices:
        """What caps and all-hours instances are worth in the cheapest relaxed pick; `before` for what none uses."""
        table = _Table(self, whole=False)
        answer = table.program.solve_relaxed()
        assert answer.status is Status.OPTIMAL  # caps can be broken at a penalty
        toll = np.maximum(-answer.row_dual[table.caps], 0.0) / self.budget
        usd = before.all_hours_usd.copy()
        hours = self.problem.hours
        if table.used.size:
            worth = np.maximum(answer.row_dual[table.fits], 0.0)
            rest = np.maximum(self.month_usd[table.used] - worth.sum(axis=0), 0.0)
            usd[:, table.used] = worth + hours[:, None] / hours.sum() * rest
        return MonthPrices(toll, usd)

    def pick(self) -> Pick | None:
        """The cheapest month of the plans known, one plan to a window; None where none keeps the caps."""
        table = _Table(self, whole=True)
        answer = table.program.solve_whole(gap=1e-4, nodes=5_000, seconds=60.0)
        return None if answer.status is Status.INFEASIBLE else self._picked(table, answer)

    def split(self) -> Pick | None:
        """The cheapest month where a window may have one plan for some of its hours and another for the rest: a window
        stands for many hours alike. None where no such month keeps the caps, or where instances are paid for all hours
        (they would have to be there for the part that needs most)."""
        table = _Table(self, whole=False)
        answer = table.program.solve_relaxed()
        broken = answer.x[table.over].any() or table.used.size
        return None if broken else self._picked(table, answer)

    def _picked(self, table: _Table, answer: Answer) -> Pick:
        """Plans of a window with the same whole numbers become one part."""
        shares: dict[tuple[int, bytes], list[tuple[float, Floats]]] = {}
        for part, c in zip(answer.x, self.choices, strict=False):
            if part > _DUST:
                shares.setdefault((c.window, c.numbers), []).append((float(part), c.x))
        whole = {t: sum(p for (s, _), mine in shares.items() if s == t for p, _ in mine) for t, _ in shares}
        parts, found = [], []
        for (t, _), mine in sorted(shares.items(), key=lambda item: item[0][0]):
            total = sum(p for p, _ in mine)
            parts.append((t, total / whole[t]))
            found.append(sum((p / total * x for p, x in mine), np.zeros(mine[0][1].size)))
        all_hours = np.zeros(self.month_usd.size)
        all_hours[table.used] = np.round(answer.x[table.counts])
        return Pick(tuple(parts), tuple(found), all_hours, answer.objective)


class _Table:
    """The pick as a program: a part of each plan, instances for all hours, and (relaxed only) by how much caps break.

    Plans of a window with the same whole numbers may be mixed: between them only routing differs, which is convex.
    """

    def __init__(self, mix: Mix, *, whole: bool) -> None:
        self.choices, self.windows, count = mix.choices, mix.problem.hours.size, mix.budget.size
        self.use = np.array([c.all_hours for c in mix.choices])
        self.used: Ints = np.flatnonzero(self.use.any(axis=0))
        self.groups = _groups(mix.choices)
        sizes = (len(mix.choices), self.used.size, count, int(self.groups.max()) + 1)
        self.parts, self.counts, self.over, self.picks = _in_a_row(*sizes)
        rows = (self.windows, count, self.windows * self.used.size, self.picks.size)
        self.one, self.caps, fits, self.grouped = _in_a_row(*rows)
        self.fits = fits.reshape(self.windows, self.used.size)
        self.program = self._columns(mix, whole)
        lower = np.concatenate([np.ones(rows[0]), np.full(rows[1], -np.inf), np.zeros(rows[2] + rows[3])])
        upper = np.concatenate([np.ones(rows[0] + rows[1]), np.full(rows[2], np.inf), np.zeros(rows[3])])
        r, c, v = (np.array(column) for column in zip(*self._entries(mix.budget), strict=True))
        self.program.add_rows(rows_of(r.astype(np.int64), c.astype(np.int64), v.astype(float), lower, upper))

    def _columns(self, mix: Mix, whole: bool) -> Program:
        usd = np.array([c.usd for c in self.choices])
        month = mix.month_usd[self.used]
        penalty = np.full(self.over.size, 10.0 * float(usd.sum() + month.sum()))
        cost = np.concatenate([usd, month, penalty, np.zeros(self.picks.size)])
        upper = np.full(cost.size, np.inf)
        upper[self.over] = 0.0 if whole else np.inf
        kind = np.zeros(cost.size, dtype=bool)
        kind[self.picks], kind[self.counts] = whole, whole
        return Program(cost, np.zeros(cost.size), upper, kind)

    def _entries(self, budget: Floats) -> Iterator[tuple[int, int, float]]:
        """(row, column, value): one plan's worth a window, shares within caps, instances there, parts in a group."""
        for i, c in enumerate(self.choices):
            yield int(self.one[c.window]), i, 1.0
            yield from ((int(self.caps[n]), i, float(v)) for n, v in enumerate(c.tokens / budget) if v)
            used = self.use[i, self.used]
            yield from ((int(self.fits[c.window, n]), i, -float(v)) for n, v in enumerate(used) if v)
            yield int(self.grouped[self.groups[i]]), i, 1.0
        yield from ((int(row), int(column), -1.0) for row, column in zip(self.caps, self.over, strict=True))
        yield from ((int(row), int(column), -1.0) for row, column in zip(self.grouped, self.picks, strict=True))
        for t in range(self.windows):
            yield from ((int(row), int(n), 1.0) for row, n in zip(self.fits[t], self.counts, strict=True))


def _in_a_row(*sizes: int) -> tuple[Ints, ...]:
    """Consecutive numbers, so many of each kind."""
    ends = np.cumsum(sizes)
    return tuple(np.arange(end - size, end) for end, size in zip(ends, sizes, strict=True))


def _only_window(problem: Problem, workloads: Sequence[int]) -> int:
    """The window that has all the work of some workloads; -1 where several have."""
    busy = np.zeros(problem.hours.size, dtype=bool)
    for w in workloads:
        busy |= problem.needs[w].rate_per_s.any(axis=1)
    return int(np.argmax(busy)) if busy.sum() == 1 else -1


def _groups(choices: Sequence[Choice]) -> Ints:
    """(J,) plans of one window with the same whole numbers share a number."""
    seen: dict[tuple[int, bytes], int] = {}
    return np.array([seen.setdefault((c.window, c.numbers), len(seen)) for c in choices], dtype=np.int64)
