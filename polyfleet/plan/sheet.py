"""Columns of a master problem, and rows with names."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from polyfleet.plan.problem import Floats, Problem
from polyfleet.plan.solver import Rows
from polyfleet.plan.stack import Stack

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Where each decision stands. F windows of this block, K price steps over all boxes.

    `step` (F, K) instances rented; `replica[w]` (F, O) replicas; `spend[w]` (F, H) USD per hour of staffed traffic on
    hosts; `share[w]` (F, S) traffic on capped suppliers, as a share of the window's staffed tokens; `count` columns in
    all.
    """

    step: Ints
    replica: tuple[Ints, ...]
    spend: tuple[Ints, ...]
    share: tuple[Ints, ...]
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A part of the problem solved at once: some windows, with what the others leave it.

    `cap_tokens` (C,) most tokens a month on each cap in these windows (inf = not limited here), `toll` (C,) USD per
    token charged instead. `all_hours_usd` (F, K) what an instance of a step paid for
    all hours costs in a window; None = one count for all windows at its monthly price. `all_hours_count` (K,) counts
    already decided, at no cost here.
    """

    windows: tuple[int, ...]
    cap_tokens: Floats
    toll: Floats
    all_hours_usd: Floats | None = None
    all_hours_count: Floats | None = None


@dataclass(slots=True)
class Sheet:
    """Named rows in the making."""

    problem: Problem
    stacks: tuple[Stack, ...]
    block: Block
    columns: Columns
    names: list[str] = field(default_factory=list)
    _lower: list[float] = field(default_factory=list)
    _upper: list[float] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _columns: list[Ints] = field(default_factory=list)
    _values: list[Floats] = field(default_factory=list)
    _size: int = 0

    def row(self, name: str, columns: Ints, values: Floats, lower: float = -np.inf, upper: float = np.inf) -> None:
        """Add lower <= values @ x[columns] <= upper under a name."""
        keep = values != 0.0
        self.names.append(name)
        self._lower.append(lower)
        self._upper.append(upper)
        self._starts.append(self._size)
        self._columns.append(columns[keep])
        self._values.append(values[keep])
        self._size += int(keep.sum())

    def take(self) -> Rows:
        """The rows since the last take."""
        lower, upper = np.array(self._lower), np.array(self._upper)
        columns = np.concatenate(self._columns) if self._columns else np.zeros(0)
        values = np.concatenate(self._values) if self._values else np.zeros(0)
        rows = Rows(
            lower, upper, np.array(self._starts, dtype=np.int64), columns.astype(np.int64), values.astype(float)
        )
        self._lower, self._upper, self._starts, self._columns, self._values = [], [], [], [], []
        self._size = 0
        return rows
