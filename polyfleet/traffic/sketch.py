"""A trace's sizes and times in bounded memory: a histogram with logarithmic cells that keeps exact sums."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from polyfleet.terms.demand import Floats, Ints
from polyfleet.traffic import work
from polyfleet.traffic.bursts import SecondCounts, time_grid_s
from polyfleet.traffic.clock import HOURS_PER_WEEK, hour_of_week

CELLS_PER_OCTAVE = 6
AXIS_CELLS = 27 * CELLS_PER_OCTAVE  # up to 2^27 tokens
CACHED_CELLS = 8  # none, then sevenths of the prompt
CELLS = AXIS_CELLS * AXIS_CELLS * CACHED_CELLS
_EXACT = 4096  # marginal counts are exact to here, then to 1/512 of an octave
_FINE_CELLS = _EXACT + 512 * 15


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over the requests of each cell, (cells,) each: count, tokens and their products."""

    count: Floats
    input: Floats
    output: Floats
    cached: Floats
    input2: Floats
    output2: Floats
    cached2: Floats
    input_output: Floats

    @staticmethod
    def of(cell: Ints, cells: int, inp: Floats, out: Floats, cached: Floats) -> Moments:
        """Sums by cell over n requests."""
        weights = (None, inp, out, cached, inp * inp, out * out, cached * cached, inp * out)
        return Moments(*(np.bincount(cell, w, minlength=cells).astype(np.float64) for w in weights))

    def table(self) -> Floats:
        """(8, cells), rows as the fields."""
        return np.stack([getattr(self, name) for name in self.__dataclass_fields__])

    def plus(self, other: Moments) -> Moments:
        return Moments(*(a + b for a, b in zip(self.table(), other.table(), strict=True)))

    def work(self) -> work.Work:
        """The true work of all requests, exact: the measures are polynomials of degree two."""
        n = self.table().sum(axis=1)
        return work.Work(float(n[1] - n[3] + work.QUADRATIC * (n[4] - n[6])), float(n[2]), float(n[7] + n[5] / 2))


def size_cell(inp: Ints, out: Ints, cached: Ints) -> Ints:
    """(n,) cell of the histogram: by input, output and the cached share of the input."""
    share = np.where(cached > 0, 1 + np.floor((CACHED_CELLS - 1) * cached / inp), 0).astype(np.int64)
    return (axis_cell(inp) * AXIS_CELLS + axis_cell(out)) * CACHED_CELLS + np.minimum(share, CACHED_CELLS - 1)


def cell_axes(cell: Ints) -> tuple[Ints, Ints, Ints]:
    """Input, output and cached-share cell of each histogram cell."""
    both = cell // CACHED_CELLS
    return both // AXIS_CELLS, both % AXIS_CELLS, cell % CACHED_CELLS


def axis_cell(tokens: Floats | Ints) -> Ints:
    """(n,) cell along one axis, of lengths >= 1."""
    cell = np.floor(np.log2(tokens) * CELLS_PER_OCTAVE + 1e-9).astype(np.int64)
    return np.clip(cell, 0, AXIS_CELLS - 1)


def _fine_cell(tokens: Ints) -> Ints:
    fine = _EXACT + np.floor((np.log2(np.maximum(tokens, _EXACT)) - 12) * 512).astype(np.int64)
    return np.where(tokens < _EXACT, tokens, np.minimum(fine, _FINE_CELLS - 1))


def _fine_tokens(cell: Ints) -> Floats:
    return np.where(cell < _EXACT, cell, 2.0 ** (12 + (cell - _EXACT + 0.5) / 512))


@dataclass(slots=True, eq=False)
class Sketch:
    """What one pass over a trace leaves. Memory goes with the number of different sizes (0.7 kB each; a long trace
    has some ten thousand) and with the hours that hold requests (0.9 MB for each 64).

    `cells` (k,) the occupied cells in order of discovery; `moments` and the columns of `by_hour` follow them.
    """

    dated: bool = True
    first_ns: int | None = None
    last_ns: int | None = None
    requests: int = 0
    dropped: int = 0
    unsorted: int = 0
    cells: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    moments: Moments = field(default_factory=lambda: Moments(*np.zeros((8, 0))))
    by_hour: Ints = field(default_factory=lambda: np.zeros((HOURS_PER_WEEK, 0), dtype=np.int64))
    work_by_hour: Floats = field(default_factory=lambda: np.zeros((HOURS_PER_WEEK, 3)))
    marginals: Ints = field(default_factory=lambda: np.zeros((3, _FINE_CELLS), dtype=np.int64))
    seconds: SecondCounts = field(default_factory=SecondCounts)
    time_grid_s: float = 0.0
    _slot: Ints = field(default_factory=lambda: np.full(CELLS, -1, dtype=np.int64))

    def add(self, time_ns: Ints, inp: Ints, out: Ints, cached: Ints) -> None:
        """n requests, any order, lengths >= 1."""
        if not len(time_ns):
            return
        if self.first_ns is None:
            self.time_grid_s = time_grid_s(time_ns[:100_000])
        self.first_ns = min(int(time_ns.min()), self.first_ns if self.first_ns is not None else 2**63 - 1)
        self.last_ns = max(int(time_ns.max()), self.last_ns if self.last_ns is not None else -1)
        self.requests += len(time_ns)
        second = time_ns // 10**9
        self.seconds.add(second)
        slot = self._slots(size_cell(inp, out, cached))
        known = len(self.cells)
        added = Moments.of(slot, known, inp.astype(float), out.astype(float), cached.astype(float))
        self.moments = self.moments.plus(added)
        hour = hour_of_week(second, self.dated)
        self.by_hour += np.bincount(hour * known + slot, minlength=HOURS_PER_WEEK * known).reshape(-1, known)
        for column, measure in enumerate((work.prefill(inp, cached), out, work.kv_residency(inp, out))):
            self.work_by_hour[:, column] += np.bincount(hour, measure, minlength=HOURS_PER_WEEK)
        for row, tokens in enumerate((inp, out, cached)):
            self.marginals[row] += np.bincount(_fine_cell(tokens), minlength=_FINE_CELLS)

    def _slots(self, cell: Ints) -> Ints:
        """The place of each request's cell among the occupied ones, new cells taken up."""
        new = np.unique(cell[self._slot[cell] < 0])
        if len(new):
            self._slot[new] = len(self.cells) + np.arange(len(new))
            self.cells = np.concatenate([self.cells, new])
            self.moments = Moments(*np.pad(self.moments.table(), ((0, 0), (0, len(new)))))
            self.by_hour = np.pad(self.by_hour, ((0, 0), (0, len(new))))
        return self._slot[cell]

    @property
    def span_s(self) -> float:
        """Seconds from the first to the last request."""
        return 0.0 if self.first_ns is None or self.last_ns is None else (self.last_ns - self.first_ns) / 1e9

    def quantiles(self, at: tuple[float, ...]) -> Floats:
        """(3, len(at)) tokens of input, output and cached: the smallest length that at least that share of requests
        does not exceed; exact below 4,096 tokens, within 0.1 % above."""
        upto = np.cumsum(self.marginals, axis=1)
        ranks = np.maximum(np.ceil(np.array(at) * self.requests), 1)
        return np.stack([_fine_tokens(np.searchsorted(row, ranks, side="left")) for row in upto])
