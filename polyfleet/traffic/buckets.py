"""Size buckets that keep the work: rectangles of input x output, cut where the mean size tells least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyfleet.terms.demand import Bucket, Floats, Ints
from polyfleet.traffic.sketch import Moments, cell_axes
from polyfleet.traffic.work import QUADRATIC, Work, kv_residency, prefill

WORK_TOLERANCE = 0.02
LEAST_BUCKETS = 8
"""Work alone is often kept by three buckets, but latency is not linear in size: time to first token follows the length
of the prompt, and a chip that is best for short prompts need not be for long ones."""
MOST_BUCKETS = 256
_SPREAD_WEIGHT = 0.02
"""Weight of the spread of (log) sizes beside the error in work: buckets should be alike in latency too, not in
throughput only, and this also breaks ties among the many small requests that hold little work."""


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """`buckets` in order of input, then output. `of_cell` (n,) the bucket that each occupied cell of the histogram went
    to. `sums` (8, buckets) as `Moments`. `error` of all buckets together against the exact sums, signed."""

    buckets: tuple[Bucket, ...]
    of_cell: Ints
    sums: Floats
    error: Work


def choose_buckets(
    moments: Moments, cells: Ints, count: int | None = None, tolerance: float = WORK_TOLERANCE
) -> Buckets:
    """`count` buckets (fewer where there are not so many sizes), or the fewest (at least 8) that keep each measure of
    work within `tolerance` of the exact sum over requests, errors of single buckets added up without regard to sign.

    `moments` of the occupied `cells` (n,), as in a `Sketch`.
    """
    table = moments.table()
    split = _Splitting(table, cells)
    wanted = MOST_BUCKETS if count is None else count
    while len(split.groups) < wanted and not (count is None and split.enough(tolerance)):
        if not split.step():
            break
    return _finished(split.groups, table)


def _finished(groups: list[Ints], table: Floats) -> Buckets:
    sums = np.stack([table[:, g].sum(axis=1) for g in groups], axis=1)
    mean = sums / sums[0]
    order = np.lexsort((mean[2], mean[1]))
    of_cell = np.empty(table.shape[1], dtype=np.int64)
    for place, group in enumerate(order):
        of_cell[groups[group]] = place
    made = tuple(Bucket(float(mean[1, g]), float(mean[2, g]), float(mean[3, g])) for g in order)
    return Buckets(made, of_cell, sums[:, order], _error(sums, table))


def _error(sums: Floats, table: Floats) -> Work:
    exact = Moments(*table).work()
    return exact.error_of(bucket_work(sums[1] / sums[0], sums[2] / sums[0], sums[3] / sums[0], sums[0]))


def bucket_work(inp: Floats, out: Floats, cached: Floats, count: Floats) -> Work:
    """The work of `count` requests of each mean size, (buckets,) each."""
    return Work(float(count @ prefill(inp, cached)), float(count @ out), float(count @ kv_residency(inp, out)))


class _Splitting:
    """Greedy: the group whose best cut saves most is cut next."""

    def __init__(self, table: Floats, cells: Ints) -> None:
        self._table = table
        self._axes = cell_axes(cells)
        total = Moments(*table).work()
        self._prefill = total.prefill or 1.0  # none where every prompt is cached whole
        self._kv, self._count = total.kv_residency, float(table[0].sum())
        mean_in, mean_out = np.log(table[1] / table[0]), np.log(table[2] / table[0])
        n = table[0]
        self._sums = np.vstack([table, n * mean_in, n * mean_in**2, n * mean_out, n * mean_out**2])
        self.groups: list[Ints] = [np.arange(len(cells))]
        self._best = [self._best_cut(self.groups[0])]

    def sums(self) -> Floats:
        return np.stack([self._table[:, g].sum(axis=1) for g in self.groups], axis=1)

    def enough(self, tolerance: float) -> bool:
        """Whether no measure of work is off by more, the sizes of errors added up."""
        if len(self.groups) < LEAST_BUCKETS:
            return False
        return max(float(e.sum()) for e in self._work_errors(self.sums())) <= tolerance

    def step(self) -> bool:
        """One more group; False when no group can be cut."""
        place = int(np.argmax([saved for saved, _, _ in self._best]))
        saved, low, high = self._best[place]
        if saved == -np.inf:
            return False
        self.groups[place : place + 1] = [low, high]
        self._best[place : place + 1] = [self._best_cut(low), self._best_cut(high)]
        return True

    def _best_cut(self, group: Ints) -> tuple[float, Ints, Ints]:
        best = (-np.inf, group, group)
        whole = float(self._cost(self._sums[:, group].sum(axis=1, keepdims=True))[0])
        for axis in self._axes:
            order = group[np.argsort(axis[group], kind="stable")]
            ends = np.flatnonzero(np.diff(axis[order]))
            if not len(ends):
                continue
            upto = np.cumsum(self._sums[:, order], axis=1)
            left, all_ = upto[:, ends], upto[:, -1:]
            saved = whole - self._cost(left) - self._cost(all_ - left)
            at = int(np.argmax(saved))
            if saved[at] > best[0]:
                best = (float(saved[at]), order[: ends[at] + 1], order[ends[at] + 1 :])
        return best

    def _work_errors(self, s: Floats) -> tuple[Floats, Floats]:
        """(k,) errors in prefill and KV residency that planning (8 or more, k) groups by their means makes, over the
        whole work. Decode has none: it is linear."""
        n = s[0]
        var_in, var_out, var_cached = (np.maximum(s[q] - s[m] ** 2 / n, 0) for m, q in ((1, 4), (2, 5), (3, 6)))
        cov = np.abs(s[7] - s[1] * s[2] / n)
        return QUADRATIC * (var_in + var_cached) / self._prefill, (cov + var_out / 2) / self._kv

    def _cost(self, s: Floats) -> Floats:
        """(k,) what is lost by planning (12, k) groups by their means."""
        spread = np.maximum(s[9] - s[8] ** 2 / s[0], 0) + np.maximum(s[11] - s[10] ** 2 / s[0], 0)
        prefill_error, kv_error = self._work_errors(s)
        return np.asarray(prefill_error + kv_error + _SPREAD_WEIGHT * spread / self._count)
