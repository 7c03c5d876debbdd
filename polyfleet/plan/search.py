"""The search in one block: relax, then whole numbers on the promising columns, then on all that can still matter.

Every bound is a relaxation's, so it stays true however few cuts are known; every plan has been routed in the base case
and in every loss before it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from polyfleet.plan.dispatch import dispatch
from polyfleet.plan.master import Master
from polyfleet.plan.problem import Bools, Floats
from polyfleet.plan.separate import add_broken, add_broken_losses
from polyfleet.plan.solver import Answer, Status

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to look. `gap` is relative; nodes and rounds bound each solve before seconds do. `unit_usd` is what the
    problem counts money in, for messages."""

    gap: float = 0.01
    nodes: int = 20_000
    seconds: float = 120.0
    rounds: int = 60
    unit_usd: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The best plan of a block (`x` None = there is none), what it costs, a proven lower bound, and the relaxed
    answer with its duals."""

    x: Floats | None
    objective: float
    bound: float
    relaxed: Answer


def relax(master: Master, rounds: int = 100, *, stall: float = 0.0) -> Answer:
    """Solve with whole numbers relaxed, adding broken cuts until none is left, or until a few rounds together gain
    less than `stall` of the objective."""
    answer = master.program.solve_relaxed()
    history = [answer.objective]
    for _ in range(rounds):
        if answer.status is not Status.OPTIMAL or not add_broken(master, answer.x):
            break
        answer = master.program.solve_relaxed()
        history.append(answer.objective)
        if stall and len(history) > 4 and history[-1] - history[-4] < stall * abs(history[-1]):
            break
    return answer


def search(master: Master, effort: Effort, progress: Progress | None = None, known: Sequence[Floats] = ()) -> Found:
    """The cheapest plan of a block within the gap. `known` are plans that keep all its limits, to start from."""
    relaxed = relax(master, stall=effort.gap / 5)
    if relaxed.status is Status.INFEASIBLE:
        return Found(None, np.inf, np.inf, relaxed)
    state = _State(master, effort, relaxed, progress)
    state.start(known)
    if master.program.whole.any() and not known:
        state.run(_promising(master, relaxed), until_feasible=True)
    state.run(None, until_feasible=False)
    return Found(state.best, state.cost, min(state.bound, state.cost), relaxed)


_REPAIRS = 6
"""Times that replicas are added to a master's plan before the master is asked again."""


class _State:
    """Best plan and bound so far."""

    def __init__(self, master: Master, effort: Effort, relaxed: Answer, progress: Progress | None) -> None:
        self.master, self.effort, self.relaxed, self.progress = master, effort, relaxed, progress
        self.best: Floats | None = None
        self.cost = np.inf
        self.bound = relaxed.objective
        self.toll = _tolls(master, relaxed)

    def start(self, known: Sequence[Floats]) -> None:
        """Take the cheapest of the plans known."""
        for x in known:
            cost = float(self.master.program.cost @ x)
            if cost < self.cost:
                self.best, self.cost = x, cost

    @property
    def closed(self) -> bool:
        return self.cost <= self.bound * (1 + self.effort.gap) + 1e-9

    def run(self, allowed: Bools | None, *, until_feasible: bool) -> None:
        """Solve, route, add cuts, again; on `allowed` columns, or (None) on all that can still be in a better plan."""
        for _ in range(self.effort.rounds):
            if self.closed:
                return
            columns = self._can_matter() if allowed is None else allowed
            part = 0.5 if allowed is None else 0.35
            answer = self.master.program.solve_whole(
                gap=self.effort.gap * part, nodes=self.effort.nodes, seconds=self.effort.seconds, allowed=columns
            )
            if allowed is None:
                self.bound = max(self.bound, min(answer.bound, self.cost))
            if answer.status is Status.INFEASIBLE:
                if allowed is None:
                    self.bound = max(self.bound, self.cost)
                return
            self._settle(answer.x, columns)
            self._tell()
            if until_feasible and self.cost <= answer.bound * (1 + self.effort.gap * 0.4):
                return

    def _settle(self, x: Floats, columns: Bools) -> None:
        """Make a plan of these whole numbers, or learn cuts that rule them out and add replicas until it is one."""
        whole = self.master.program.whole
        for _ in range(_REPAIRS):
            numbers = np.where(whole, np.round(x), 0.0)
            if self._holds(numbers):
                return
            added = self._at_least(numbers, columns)
            if added.status is Status.INFEASIBLE or added.objective >= self.cost:
                return
            x = added.x

    def _holds(self, numbers: Floats) -> bool:
        """Hold the whole numbers, let the rest move: whether that is a plan."""
        if add_broken_losses(self.master, numbers):
            return False
        if self._dispatched(numbers):
            return True
        program = self.master.program
        lower, upper = program.lower, program.upper
        program.set_bounds(np.where(program.whole, numbers, lower), np.where(program.whole, numbers, upper))
        answer = relax(self.master)
        program.set_bounds(lower, upper)
        if answer.status is not Status.OPTIMAL or add_broken(self.master, answer.x):
            return False
        if answer.objective < self.cost:
            self.best, self.cost = answer.x, answer.objective
        return True

    def _dispatched(self, numbers: Floats) -> bool:
        """Whether routing each workload by itself already gives a plan that closes the gap, or that cannot be bettered
        with these numbers because no cap ties the workloads together."""
        x = dispatch(self.master, numbers, self.toll)
        if x is None:
            return False
        cost = float(self.master.program.cost @ x)
        exact = np.array_equal(self.toll, self.master.block.toll)
        if not exact and cost > self.bound * (1 + self.effort.gap) and cost < self.cost:
            return False
        if cost < self.cost:
            self.best, self.cost = x, cost
        return True

    def _at_least(self, numbers: Floats, columns: Bools) -> Answer:
        """The cheapest whole numbers that keep the cuts known now and only add to these."""
        program = self.master.program
        lower = program.lower
        program.set_bounds(np.where(program.whole, numbers, lower), program.upper)
        answer = program.solve_whole(
            gap=self.effort.gap * 0.1, nodes=self.effort.nodes, seconds=self.effort.seconds, allowed=columns
        )
        program.set_bounds(lower, program.upper)
        return answer

    def _can_matter(self) -> Bools:
        """Columns that a plan cheaper than the best one could use (reduced cost fixing)."""
        room = self.cost - self.relaxed.objective
        may: Bools = (self.relaxed.reduced_cost <= room + 1e-9) | ~self.master.program.whole
        return may

    def _tell(self) -> None:
        if self.progress is not None:
            unit = self.effort.unit_usd
            best = f"best plan {self.cost * unit:,.0f} USD a month" if self.best is not None else "no plan yet"
            self.progress(f"{best}, none below {self.bound * unit:,.0f}")


def _tolls(master: Master, relaxed: Answer) -> Floats:
    """(C,) USD per token: the block's tolls, and what its cap rows are worth in the relaxed plan."""
    toll = master.block.toll.copy()
    names = master.sheet.names[: relaxed.row_dual.size]
    for c, cap in enumerate(master.problem.limits.caps):
        if np.isfinite(master.block.cap_tokens[c]):
            dual = sum(d for n, d in zip(names, relaxed.row_dual, strict=True) if n == cap.name)
            toll[c] += max(-dual, 0.0) / max(master.problem.cap_tokens(cap), 1e-12)
    return toll


def _promising(master: Master, relaxed: Answer, per_workload: int = 16) -> Bools:
    """The whole-number columns that the relaxed plan uses or nearly uses: by workload, and the boxes they need."""
    whole, columns = master.program.whole, master.columns
    may: Bools = ~whole | (relaxed.x > 1e-9)
    boxes: set[int] = set()
    for w, ids in enumerate(columns.replica):
        for row in ids:
            best = row[np.argsort(relaxed.reduced_cost[row] - relaxed.x[row] * 1e-9, kind="stable")[:per_workload]]
            may[best] = True
            boxes.update(int(b) for b in master.stacks[w].box[np.isin(row, best)])
    first = np.cumsum([0] + [len(b.steps) for b in master.problem.boxes])
    for b in sorted(boxes):
        may[columns.step[:, first[b] : first[b + 1]]] = True
    return may
