"""The elastic program behind `explain`: who may serve what, and by how much each limit would have to give."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from polyfleet.plan.problem import Floats, Problem, Supplier
from polyfleet.plan.routing import rows_of
from polyfleet.plan.solver import Program, Status
from polyfleet.terms.offer import Purchase

_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class Reason:
    """A limit that had to give: by `excess` beyond `bound`."""

    name: str
    kind: str
    bound: float
    excess: float


@dataclass(frozen=True, slots=True)
class Tight:
    """The limits that had to give, in the order of the spec."""

    broken: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """One kind of supply for a workload: `per_chip` (B,) requests per second of a chip (inf = not counted), `lost`
    the same in a loss; `limit` (B,) of a host."""

    workload: int
    supplier: Supplier
    purchase: Purchase
    quota: int | None
    base: Floats
    lost: Floats


def named_limits(problem: Problem) -> list[str]:
    """The limits that may clash, each kind of cap and loss as one."""
    limits = problem.limits
    names = [f"max_share {k}" for k in dict.fromkeys(c.kind for c in limits.caps)]
    names += [f"survive {k}" for k in dict.fromkeys(s.kind for s in limits.losses)]
    return names + [q.name for q in limits.quotas]


def tightness(problem: Problem, names: Collection[str]) -> Tight:
    """By how much the named limits must give so that a plan exists; limits not named do not bind."""
    ways = _ways(problem)
    model = _Elastic(problem, ways, set(names))
    return Tight(model.solve())


def _ways(problem: Problem) -> list[_Way]:
    found: dict[tuple[object, ...], _Way] = {}
    quotas = {(q.provider, q.chip): i for i, q in enumerate(problem.limits.quotas)}
    for option in problem.options:
        box = problem.boxes[option.box]
        quota = quotas.get((box.supplier.provider, box.chip))
        base, lost = option.capacity / option.packed_chips, option.capacity_lost / option.packed_chips
        key = (option.workload, box.supplier, box.purchase, quota)
        if key in found:
            base, lost = np.maximum(base, found[key].base), np.maximum(lost, found[key].lost)
        found[key] = _Way(option.workload, box.supplier, box.purchase, quota, base, lost)
    ways = list(found.values())
    for host in problem.hosted:
        can = np.where(np.isfinite(host.usd_per_request), host.limit_per_s, 0.0)
        ways.append(_Way(host.workload, host.supplier, Purchase.PER_TOKEN, None, can, can))
    return ways


class _Elastic:
    """min sum of what gives. Columns: requests by way and bucket (base, then each loss), unserved, one per limit."""

    def __init__(self, problem: Problem, ways: list[_Way], names: set[str]) -> None:
        self.problem, self.ways, self.names = problem, ways, names
        self.t = int(np.argmax(sum((n.staffed_per_s @ n.tokens for n in problem.needs), np.zeros(problem.hours.size))))
        self.count = 0
        self.cost: list[float] = []
        self.r: list[int] = []
        self.c: list[int] = []
        self.v: list[float] = []
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.give: dict[str, tuple[int, str, float, float]] = {}

    def solve(self) -> tuple[Reason, ...]:
        self._case(None)
        for loss in dict.fromkeys((s.kind, s.supplier) for s in self.problem.limits.losses):
            if f"survive {loss[0]}" in self.names:
                self._case(loss)
        n = self.count
        program = Program(np.array(self.cost), np.zeros(n), np.full(n, np.inf), np.zeros(n, dtype=bool))
        r, c, v = np.array(self.r), np.array(self.c), np.array(self.v)
        program.add_rows(rows_of(r, c, v, np.array(self.lower), np.array(self.upper)))
        answer = program.solve_relaxed()
        assert answer.status is Status.OPTIMAL  # everything may give
        found = []
        for name, (column, kind, bound, unit) in self.give.items():
            excess = float(answer.x[column])
            if excess > _EPS:
                found.append(Reason(name, kind, bound, excess * unit))
        return tuple(found)

    def _case(self, loss: tuple[str, str] | None) -> None:
        """One copy of the flows: the base case, or a loss."""
        columns: dict[tuple[int, int], int] = {}
        for i, way in enumerate(self.ways):
            if loss is not None and way.supplier.named(loss[0]) == loss[1]:
                continue
            rates = way.base if loss is None else way.lost
            for b in np.flatnonzero(rates > 0):
                columns[i, int(b)] = self._column(0.0)
        self._demand(columns, loss)
        self._quotas(columns, loss)
        self._host_limits(columns)
        if loss is None:
            self._caps(columns)

    def _demand(self, columns: dict[tuple[int, int], int], loss: tuple[str, str] | None) -> None:
        for w, need in enumerate(self.problem.needs):
            if need.is_batch and loss is not None:
                continue
            wanted = self._wanted(w)
            for b in np.flatnonzero(wanted > 0):
                serving = [c for (i, bucket), c in columns.items() if bucket == b and self.ways[i].workload == w]
                keep = 1.0 if loss is None else self.problem.limits.keep
                if loss is None:
                    gives = self._give(f"demand of {need.name}", "demand", 1.0, 1e3)
                else:
                    gives = self._give(f"survive {loss[0]}", "survive", keep, 1.0)
                # flows count in shares of the bucket's demand
                self._row([*serving, gives], [*[1.0] * len(serving), 1.0], keep, np.inf)

    def _wanted(self, w: int) -> Floats:
        need = self.problem.needs[w]
        return np.asarray(need.staffed_per_s[self.t])

    def _quotas(self, columns: dict[tuple[int, int], int], loss: tuple[str, str] | None) -> None:
        for q, quota in enumerate(self.problem.limits.quotas):
            used = [(c, i, b) for (i, b), c in columns.items() if self.ways[i].quota == q]
            if not used or quota.name not in self.names:
                continue
            chips = []
            for _, i, b in used:
                way = self.ways[i]
                rate = (way.base if loss is None else way.lost)[b]
                chips.append(float(self._wanted(way.workload)[b] / rate))
            unit = max(float(quota.chips), 1.0)
            gives = self._give(quota.name, "quota", float(quota.chips), 1.0, unit)
            columns_used = [c for c, _, _ in used]
            self._row([*columns_used, gives], [*[x / unit for x in chips], -1.0], -np.inf, quota.chips / unit)

    def _host_limits(self, columns: dict[tuple[int, int], int]) -> None:
        for i, way in enumerate(self.ways):
            if way.purchase is Purchase.PER_TOKEN and np.isfinite(way.base).any():
                mine = [(c, b) for (j, b), c in columns.items() if j == i and np.isfinite(way.base[b])]
                loads = [float(self._wanted(way.workload)[b] / way.base[b]) for _, b in mine]
                if mine:
                    self._row([c for c, _ in mine], loads, -np.inf, 1.0)

    def _caps(self, columns: dict[tuple[int, int], int]) -> None:
        for cap in self.problem.limits.caps:
            name = f"max_share {cap.kind}"
            if name not in self.names:
                continue
            total = sum(self._tokens(w).sum() for w in cap.workloads)
            used, parts = [], []
            for (i, b), c in columns.items():
                way = self.ways[i]
                if self.problem.is_capped(cap, way.workload, way.supplier, way.purchase):
                    used.append(c)
                    parts.append(float(self._tokens(way.workload)[b] / max(total, 1e-300)))
            if used:
                gives = self._give(name, "share", cap.share, 1.0)
                self._row([*used, gives], [*parts, -1.0], -np.inf, cap.share)

    def _tokens(self, w: int) -> Floats:
        """(B,) tokens that count in the month."""
        need = self.problem.needs[w]
        return np.asarray(self.problem.hours @ need.rate_per_s * need.tokens * 3600.0)

    def _give(self, name: str, kind: str, bound: float, price: float, unit: float = 1.0) -> int:
        """The column by which a limit gives, the same for all rows of the limit."""
        if name not in self.give:
            self.give[name] = (self._column(price), kind, bound, unit)
        return self.give[name][0]

    def _column(self, cost: float) -> int:
        self.cost.append(cost)
        self.count += 1
        return self.count - 1

    def _row(self, columns: list[int], values: list[float], lower: float, upper: float) -> None:
        row = len(self.lower)
        self.r += [row] * len(columns)
        self.c += columns
        self.v += values
        self.lower.append(lower)
        self.upper.append(upper)
