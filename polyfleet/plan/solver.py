"""The one file that knows the solver (HiGHS): linear and whole-number programs in arrays.

Deterministic: one thread, a fixed seed, limits on nodes before any limit on time, and every status asserted.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import highspy
import numpy as np
from numpy.typing import NDArray

from polyfleet.errors import SolverError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Status(StrEnum):
    """How a solve ended. `LIMIT`: stopped by the node or time limit, with a solution in hand."""

    OPTIMAL = "optimal"
    LIMIT = "limit"
    INFEASIBLE = "infeasible"


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A solve's outcome. Dual values are of the relaxed program only (empty after a whole-number solve)."""

    status: Status
    objective: float
    bound: float
    x: Floats
    row_dual: Floats
    reduced_cost: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows in compressed form: lower <= A x <= upper, with `starts` (m,) into `columns` and `values`."""

    lower: Floats
    upper: Floats
    starts: Ints
    columns: Ints
    values: Floats


class Program:
    """min cost x, subject to rows and lower <= x <= upper, x whole where `whole` says so. Rows can be added."""

    def __init__(self, cost: Floats, lower: Floats, upper: Floats, whole: Bools) -> None:
        self.cost, self.lower, self.upper, self.whole = cost, lower, upper, whole
        self._rows: list[Rows] = []
        self._relaxed = self._loaded(None)

    @property
    def row_count(self) -> int:
        return int(self._relaxed.getNumRow())

    def row_bounds(self) -> Floats:
        """(m,) each row's right-hand side: its lower bound where it has one, else its upper."""
        lower = np.concatenate([r.lower for r in self._rows]) if self._rows else np.zeros(0)
        upper = np.concatenate([r.upper for r in self._rows]) if self._rows else np.zeros(0)
        return np.where(np.isfinite(lower), lower, upper)

    def add_rows(self, rows: Rows) -> None:
        """Add rows; the relaxed program keeps its basis."""
        if rows.lower.size:
            self._rows.append(rows)
            _add(self._relaxed, rows)

    def set_cost(self, cost: Floats) -> None:
        """Change the objective; the relaxed program keeps its basis."""
        self.cost = cost
        n = cost.size
        _must(self._relaxed.changeColsCost(n, np.arange(n, dtype=np.int32), cost), "changing costs")

    def set_bounds(self, lower: Floats, upper: Floats) -> None:
        """Change the bounds of all columns."""
        self.lower, self.upper = lower, upper
        n = lower.size
        _must(self._relaxed.changeColsBounds(n, np.arange(n, dtype=np.int32), lower, upper), "changing bounds")

    def solve_relaxed(self) -> Answer:
        """Solve with whole numbers relaxed.

        Raises SolverError where the solver ends without a proof.
        """
        _must(self._relaxed.run(), "the relaxed solve")
        status = self._relaxed.getModelStatus()
        if status in _INFEASIBLE:
            return _nothing(self.cost.size)
        if status == highspy.HighsModelStatus.kModelEmpty:
            return Answer(Status.OPTIMAL, 0.0, 0.0, np.zeros(0), np.zeros(self.row_count), np.zeros(0))
        if status != highspy.HighsModelStatus.kOptimal:
            raise SolverError(f"the relaxed solve ended as {self._relaxed.modelStatusToString(status)}", can_retry=True)
        solution = self._relaxed.getSolution()
        objective = float(self._relaxed.getInfo().objective_function_value)
        return Answer(
            Status.OPTIMAL, objective, objective, np.array(solution.col_value), np.array(solution.row_dual),
            np.array(solution.col_dual),
        )  # fmt: skip

    def solve_whole(self, *, gap: float, nodes: int, seconds: float, allowed: Bools | None = None) -> Answer:
        """Solve with whole numbers, columns outside `allowed` held at zero.

        `gap` is relative; `nodes` bounds the search first, `seconds` is the last resort.
        No start is handed in: given one, HiGHS 1.16 has returned a plan beside another plan's objective.
        Raises SolverError where the solver ends without a solution and without a proof that there is none.
        """
        highs = self._loaded(allowed, gap=gap, nodes=nodes, seconds=seconds)
        _must(highs.run(), "the whole-number solve")
        status, info = highs.getModelStatus(), highs.getInfo()
        if status in _INFEASIBLE:
            return _nothing(self.cost.size)
        has_solution = info.primal_solution_status == 2
        if status != highspy.HighsModelStatus.kOptimal and not (status in _STOPPED and has_solution):
            raise SolverError(f"the whole-number solve ended as {highs.modelStatusToString(status)}", can_retry=True)
        ended = Status.OPTIMAL if status == highspy.HighsModelStatus.kOptimal else Status.LIMIT
        bound = float(info.mip_dual_bound) if self.whole.any() else float(info.objective_function_value)
        none = np.zeros(0)
        x = np.array(highs.getSolution().col_value)
        objective = float(info.objective_function_value)
        if abs(float(self.cost @ x) - objective) > 1e-6 * max(1.0, abs(objective)):
            raise SolverError("the solver's plan does not cost what the solver says", can_retry=True)
        return Answer(ended, objective, bound, x, none, none)

    def _loaded(
        self, allowed: Bools | None, *, gap: float | None = None, nodes: int = 0, seconds: float = 0.0
    ) -> highspy.Highs:
        highs = _quiet()
        for name, value in _OPTIONS.items():
            _must(highs.setOptionValue(name, value), name)
        count = self.cost.size
        upper = self.upper if allowed is None else np.where(allowed, self.upper, np.maximum(self.lower, 0.0))
        empty = np.zeros(0, dtype=np.int32)
        _must(highs.addCols(count, self.cost, self.lower, upper, 0, empty, empty, np.zeros(0)), "adding columns")
        for rows in self._rows:
            _add(highs, rows)
        if gap is not None:
            which = np.flatnonzero(self.whole).astype(np.int32)
            kinds = np.full(which.size, highspy.HighsVarType.kInteger.value, dtype=np.uint8)
            if which.size:
                _must(highs.changeColsIntegrality(which.size, which, kinds), "whole columns")
            limits: dict[str, float] = {"mip_rel_gap": gap, "mip_max_nodes": nodes, "time_limit": seconds}
            for name, value in limits.items():
                _must(highs.setOptionValue(name, value), name)
        return highs


VERSION = f"HiGHS {importlib.metadata.version('highspy')}"
"""The solver that plans name."""

_OPTIONS: dict[str, bool | int | float | str] = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "random_seed": 1,
    "mip_abs_gap": 1e-9,
    "primal_feasibility_tolerance": 1e-8,
    "dual_feasibility_tolerance": 1e-8,
    "mip_feasibility_tolerance": 1e-7,
}
_INFEASIBLE = (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible)
_STOPPED = (
    highspy.HighsModelStatus.kTimeLimit,
    highspy.HighsModelStatus.kSolutionLimit,
    highspy.HighsModelStatus.kIterationLimit,
)


@cache
def _greet() -> None:
    """Let the library print its banner where nobody sees it: it comes with the first instance, whatever the options,
    and would spoil what a command prints."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        highspy.Highs()  # type: ignore[no-untyped-call]  # highspy has no types
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _quiet() -> highspy.Highs:
    _greet()
    return highspy.Highs()  # type: ignore[no-untyped-call]  # highspy has no types


def _add(highs: highspy.Highs, rows: Rows) -> None:
    starts, columns = rows.starts.astype(np.int32), rows.columns.astype(np.int32)
    done = highs.addRows(rows.lower.size, rows.lower, rows.upper, rows.values.size, starts, columns, rows.values)
    _must(done, "adding rows")


def _must(done: highspy.HighsStatus, what: str) -> None:
    if done == highspy.HighsStatus.kError:
        raise SolverError(f"the solver refused: {what}")


def _nothing(count: int) -> Answer:
    none = np.zeros(0)
    return Answer(Status.INFEASIBLE, np.inf, np.inf, np.zeros(count), none, none)
