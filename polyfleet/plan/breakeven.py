"""Own chips or tokens: from which request rate own chips are cheaper, by workload and day shape.

Own chips: the best single build and offer, whole replicas and whole instances that follow the day, on demand, with the
headroom of `headroom`, without share caps or standby for losses. Tokens: the cheapest single host that takes every
request within its published limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from polyfleet.catalog.store import Catalog
from polyfleet.plan.build_problem import build_problem
from polyfleet.plan.headroom import headroom_factor, promised_percentile
from polyfleet.plan.own_options import FindModel
from polyfleet.plan.problem import Floats, Need, Option, Problem
from polyfleet.plan.search import Progress
from polyfleet.plan.why import way_name
from polyfleet.speed import SpeedModel
from polyfleet.terms.demand import Demand
from polyfleet.terms.offer import Purchase
from polyfleet.terms.spec import Spec
from polyfleet.traffic.shapes import SHAPES

_POINTS, _REACH = 241, 900.0  # rates from today's over 900 to 900 times today's


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A workload's curve for one day shape, over `rate_per_s` (n,) mean request rates around today's.

    `own_usd` (3, n) USD a month on own chips at the P90, P50 and P10 of speed (fast, middle, slow); `hosted_usd` (n,);
    inf where it cannot be done. `crossing_per_s` per speed: the lowest rate of the grid from which own chips stay no
    dearer, None = none. `build` and `host` name the best at today's rate.
    """

    workload: str
    model: str
    shape: str
    today_per_s: float
    rate_per_s: Floats
    own_usd: Floats
    hosted_usd: Floats
    crossing_per_s: tuple[float | None, float | None, float | None]
    build: str
    host: str


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """One workload: its size mix (B,) of requests, and how it is staffed."""

    problem: Problem
    w: int
    mix: Floats
    seconds_in_flight: float
    dispersion: float
    percentile: float | None

    def staffed(self, rate: Floats) -> Floats:
        """Rates with headroom."""
        if self.seconds_in_flight <= 0.0:
            return rate
        flat = rate.ravel()
        head = headroom_factor(flat * self.seconds_in_flight, self.dispersion, self.percentile)
        return np.asarray((flat * head).reshape(rate.shape))


def breakeven(
    spec: Spec,
    demands: Mapping[str, Demand],
    catalog: Catalog,
    speed: SpeedModel,
    find_model: FindModel,
    *,
    progress: Progress | None = None,
) -> tuple[Curve, ...]:
    """Curves for every workload with traffic: flat, an office's week, and its own shape where it has one.

    Hosts are weighed whatever `policy.hosted` says: that is the question.
    Raises as `make_plan` does where the inputs are wrong.
    """
    allowed = spec.model_copy(update={"policy": spec.policy.model_copy(update={"hosted": "allowed"})})
    problem = build_problem(allowed, demands, catalog, speed, find_model).problem
    curves: list[Curve] = []
    for w, need in enumerate(problem.needs):
        if not need.is_batch:
            if progress is not None:
                progress(f"own chips or tokens: {need.name}")
            curves += _curves(spec, problem, w, demands[need.name].dispersion)
    return tuple(curves)


def _curves(spec: Spec, problem: Problem, w: int, dispersion: float) -> list[Curve]:
    need = problem.needs[w]
    workload = spec.workloads[need.name]
    requests = problem.hours @ need.rate_per_s
    percentile = promised_percentile(workload.slo.slo)
    mix = requests / max(float(requests.sum()), 1e-300)
    case = _Case(problem, w, mix, _seconds_in_flight(need, dispersion, percentile), dispersion, percentile)
    today = float(requests.sum() / problem.hours.sum())
    grid = max(today, 1e-9) * _REACH ** np.linspace(-1.0, 1.0, _POINTS)
    even = np.array([1.0])
    week = np.array(SHAPES["weekday"].factors)
    shapes = [("flat", even, even), ("weekday", week, np.full(week.size, 1.0 / week.size))]
    by_window = need.rate_per_s.sum(axis=1)
    if float(np.ptp(by_window)) > 1e-9 * max(today, 1e-300):
        shapes.append(("its own", by_window / max(today, 1e-300), problem.hours / problem.hours.sum()))
    return [_curve(case, workload.model, name, today, grid, factors, share) for name, factors, share in shapes]


def _seconds_in_flight(need: Need, dispersion: float, percentile: float | None) -> float:
    """Seconds a request is in flight, read back from the headroom worked out for the spec's own rates."""
    t = int(np.argmax(need.rate_per_s.sum(axis=1)))
    extra = float(need.headroom[t]) - 1.0
    unit = float(headroom_factor(np.ones(1), dispersion, percentile)[0]) - 1.0
    if extra <= 0.0 or unit <= 0.0:
        return 0.0
    return (unit / extra) ** 2 / max(float(need.rate_per_s[t].sum()), 1e-300)


def _curve(case: _Case, model: str, shape: str, today: float, grid: Floats, factors: Floats, share: Floats) -> Curve:
    own, build = _own(case, grid, factors, share)
    hosted, host = _hosted(case, grid, float(factors.max()))
    fast, middle, slow = (_crossing(grid, row, hosted) for row in own)
    return Curve(
        case.problem.needs[case.w].name, model, shape, today, grid, own, hosted, (fast, middle, slow), build, host
    )


def _own(case: _Case, grid: Floats, factors: Floats, share: Floats) -> tuple[Floats, str]:
    """(3, n) USD a month, and the build that is best at today's rate."""
    levels, place = np.unique(factors, return_inverse=True)
    hours: Floats = np.bincount(place.ravel(), weights=share).astype(np.float64) * float(case.problem.hours.sum())
    staffed = case.staffed(grid[:, None] * levels[None, :])
    best = np.full((3, grid.size), np.inf)
    name = ""
    for option in case.problem.options:
        if option.workload == case.w and case.problem.boxes[option.box].purchase is Purchase.ON_DEMAND:
            usd = _option_usd(case, option, staffed, hours)
            if usd[1, grid.size // 2] < best[1, grid.size // 2]:
                name = way_name(case.problem, option).removesuffix(", on_demand")
            best = np.minimum(best, usd)
    return best, name


def _option_usd(case: _Case, option: Option, staffed: Floats, hours: Floats) -> Floats:
    """(3, n) USD a month of one build on one offer."""
    wanted = case.mix > 0
    if (option.capacity[wanted] <= 0).any():
        return np.full((3, staffed.shape[0]), np.inf)
    box = case.problem.boxes[option.box]
    load = float((case.mix[wanted] / option.capacity[wanted]).sum())
    rows = []
    for factor in (option.band[1], 1.0, option.band[0]):
        if factor <= 0:
            rows.append(np.full(staffed.shape[0], np.inf))
            continue
        replicas = np.ceil(staffed * load / factor - 1e-9)
        instances = np.ceil(replicas * option.packed_chips / box.chips - 1e-9)
        rows.append(instances @ hours * box.steps[0].usd_per_hour)
    return np.array(rows)


def _hosted(case: _Case, grid: Floats, peak: float) -> tuple[Floats, str]:
    """(n,) USD a month at the cheapest host that takes all, and the host that is cheapest at today's rate."""
    month_s = float(case.problem.hours.sum()) * 3600.0
    best, name = np.full(grid.size, np.inf), ""
    wanted = case.mix > 0
    for host in case.problem.hosted:
        if host.workload != case.w or not np.isfinite(host.usd_per_request[wanted]).all():
            continue
        load = float((case.mix[wanted] / host.limit_per_s[wanted]).sum())
        each = float(case.mix[wanted] @ host.usd_per_request[wanted])
        usd = np.where(grid * peak * load <= 1.0, grid * month_s * each, np.inf)
        if usd[grid.size // 2] < best[grid.size // 2]:
            name = host.supplier.provider
        best = np.minimum(best, usd)
    return best, name


def _crossing(grid: Floats, own: Floats, hosted: Floats) -> float | None:
    """The lowest rate of the grid from which own chips stay no dearer than tokens; None where nobody sells any."""
    if not np.isfinite(hosted).any():
        return None
    dearer = ~(np.isfinite(own) & (own <= hosted))
    if dearer[-1]:
        return None
    last = np.flatnonzero(dearer)
    return float(grid[0 if last.size == 0 else int(last[-1]) + 1])
