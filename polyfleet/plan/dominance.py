"""Options that another option beats whatever the plan: left out before solving, with no loss.

Option B stands in for A where both depend on the same supplier, are bought alike, and B carries at least as much of
every bucket, for no more money than A's part of its box, in pieces at least as small:
whole boxes (one replica fills B's instance), or boxes of which a whole number make up one of A's.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from polyfleet.plan.problem import Bools, Box, Floats, Problem


def without_dominated(problem: Problem) -> Problem:
    """The problem with fewer options; its cheapest plan costs the same."""
    kept = _Kept(problem)
    order = sorted(range(len(problem.boxes)), key=lambda b: (-problem.boxes[b].chips, -_usd(problem.boxes[b]), b))
    for b in order:
        kept.drop_within(b)
        kept.drop_full(b)
        kept.drop_partial(b)
    options = tuple(o for i, o in enumerate(problem.options) if kept.alive[i])
    return _without_empty_boxes(dataclasses.replace(problem, options=options))


class _Kept:
    """Which options are still alive."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.alive: Bools = np.ones(len(problem.options), dtype=bool)
        boxes = [problem.boxes[o.box] for o in problem.options]
        self.box = np.array([o.box for o in problem.options], dtype=np.int64)
        self.workload = np.array([o.workload for o in problem.options], dtype=np.int64)
        self.packed = np.array([float(o.packed_chips) for o in problem.options])
        self.size = np.array([float(b.chips) for b in boxes])
        self.usd = np.array([_usd(b) for b in boxes])
        kinds: dict[object, int] = {}
        keys = [(b.supplier, b.purchase) for b in boxes]
        self.kind = np.array([kinds.setdefault(k, len(kinds)) for k in keys], dtype=np.int64)
        self.free = np.array([_unlimited(problem, b) for b in boxes], dtype=bool)
        self.carries: list[Floats] = [np.concatenate([o.capacity, o.capacity_lost]) for o in problem.options]

    def drop_within(self, b: int) -> None:
        """On one box, a build that takes no fewer chips and carries no more."""
        for i in self._on(b):
            rivals = [j for j in self._on(b) if j != i and self.workload[j] == self.workload[i]]
            if any(self.packed[j] <= self.packed[i] and self._carries_more(j, i) for j in rivals):
                self.alive[i] = False

    def drop_full(self, b: int) -> None:
        """A replica that fills its instance, where another fills a cheaper one."""
        for i in self._on(b):
            if self.packed[i] == self.size[i] and self._whole_rival(i):
                self.alive[i] = False

    def drop_partial(self, b: int) -> None:
        """Replicas that share an instance: all or none, since each may be there only because another is."""
        part = [i for i in self._on(b) if self.packed[i] < self.size[i]]
        if part and (all(self._whole_rival(i) for i in part) or self._smaller_box(b, part)):
            self.alive[part] = False

    def _on(self, b: int) -> list[int]:
        return [int(i) for i in np.flatnonzero(self.alive & (self.box == b))]

    def _alike(self, i: int) -> Bools:
        """Alive options of other boxes that depend on the same supplier, are bought alike and are not limited."""
        same = (self.kind == self.kind[i]) & (self.workload == self.workload[i]) & (self.box != self.box[i])
        found: Bools = self.alive & self.free & same
        return found

    def _whole_rival(self, i: int) -> bool:
        part = self.usd[i] * self.packed[i] / self.size[i]
        rivals = self._alike(i) & (self.packed == self.size) & (self.usd <= part * (1 + 1e-12))
        return any(self._carries_more(int(j), i) for j in np.flatnonzero(rivals))

    def _smaller_box(self, b: int, part: list[int]) -> bool:
        """Whether boxes that divide this one take every partial replica."""
        first = part[0]
        for c in sorted(set(self.box[self.free & self.alive & (self.kind == self.kind[first]) & (self.box != b)])):
            count, rest = divmod(self.problem.boxes[b].chips, self.problem.boxes[c].chips)
            if rest or count * _usd(self.problem.boxes[c]) > _usd(self.problem.boxes[b]) * (1 + 1e-12):
                continue
            if all(self._has_rival_on(i, int(c)) for i in part):
                return True
        return False

    def _has_rival_on(self, i: int, c: int) -> bool:
        rivals = [j for j in self._on(c) if self.workload[j] == self.workload[i] and self.packed[j] <= self.packed[i]]
        return any(self._carries_more(j, i) for j in rivals)

    def _carries_more(self, j: int, i: int) -> bool:
        return bool((self.carries[j] >= self.carries[i]).all())


def _usd(box: Box) -> float:
    return box.steps[0].usd_per_hour


def _unlimited(problem: Problem, box: Box) -> bool:
    """Whether a box can be rented without bound, so that it may stand in for another."""
    limited = {(q.provider, q.chip) for q in problem.limits.quotas}
    return box.steps[0].quota is None and (box.supplier.provider, box.chip) not in limited


def _without_empty_boxes(problem: Problem) -> Problem:
    used = sorted({o.box for o in problem.options})
    place = {b: i for i, b in enumerate(used)}
    options = tuple(dataclasses.replace(o, box=place[o.box]) for o in problem.options)
    return dataclasses.replace(problem, boxes=tuple(problem.boxes[b] for b in used), options=options)
