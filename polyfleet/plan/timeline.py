"""One timeline for all workloads: hours of a common month, and where batch work may run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from polyfleet.errors import SpecError
from polyfleet.plan.problem import Bools, Floats
from polyfleet.terms.demand import Demand
from polyfleet.terms.spec import Batch
from polyfleet.terms.units import HOURS_PER_MONTH
from polyfleet.traffic.windows import aggregate_windows

MOST_WINDOWS = 24
"""Windows planned; hours of like demand are merged down to them."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """`windows` names and `hours` (T,) of the month; `rates[w]` (T, B) requests per second of each traffic workload."""

    windows: tuple[str, ...]
    hours: Floats
    rates: Mapping[str, Floats]
    notes: tuple[str, ...] = ()

    def load(self) -> Floats:
        """(T,) all traffic, each workload over its own mean, added up."""
        total = np.zeros(self.hours.size)
        for rate in self.rates.values():
            by_window = rate.sum(axis=1)
            mean = float(self.hours @ by_window / self.hours.sum())
            total += by_window / mean if mean > 0 else 0.0
        return total


def common_timeline(demands: Mapping[str, Demand], most: int = MOST_WINDOWS) -> Timeline:
    """Bring all demands to the same windows: all hours, hours of the day and hours of the week go together.

    Raises SpecError where two demands have windows that cannot be laid over each other.
    """
    if not demands:
        return Timeline(("all hours",), np.array([HOURS_PER_MONTH]), {})
    finest = max(demands.values(), key=lambda d: len(d.windows))
    count = len(finest.windows)
    spread = {name: _spread(name, demand, finest) for name, demand in demands.items()}
    if count <= most:
        hours = np.array([w.hours_per_month for w in finest.windows])
        return Timeline(tuple(w.name for w in finest.windows), hours, spread)
    return _merged(demands, spread, finest, most)


def _spread(name: str, demand: Demand, finest: Demand) -> Floats:
    count, own = len(finest.windows), len(demand.windows)
    if own == count or count % own == 0:
        return np.tile(demand.rate_per_s, (count // own, 1))
    raise SpecError(
        f"the traffic of workload {name!r} has {own} windows, another has {count}: they cannot be laid over each other",
        hint="use traces of a day, a week, or less than a day",
    )


def _merged(demands: Mapping[str, Demand], spread: Mapping[str, Floats], finest: Demand, most: int) -> Timeline:
    """Merge all workloads' windows together, so that they stay the same for all."""
    buckets = tuple(b for d in demands.values() for b in d.buckets)
    together = replace(finest, buckets=buckets, rate_per_s=np.concatenate(list(spread.values()), axis=1))
    fewer = aggregate_windows(together, most)
    rates, start = {}, 0
    for name, rate in spread.items():
        rates[name] = fewer.rate_per_s[:, start : start + rate.shape[1]]
        start += rate.shape[1]
    hours = np.array([w.hours_per_month for w in fewer.windows])
    note = f"{len(finest.windows)} hours of the week are planned as {len(fewer.windows)} windows of like demand"
    return Timeline(tuple(w.name for w in fewer.windows), hours, rates, (note,))


def with_batch_window(timeline: Timeline, batch: Batch) -> Timeline:
    """The timeline with one window split where needed, so that batch work's share of the time is whole windows."""
    wanted = batch.within / batch.every * float(timeline.hours.sum())
    filled = 0.0
    for t in _quietest_first(timeline):
        hours = float(timeline.hours[t])
        if filled + hours <= wanted * (1 + 1e-9):
            filled += hours
        elif wanted - filled > 1e-6 * hours:
            return _split(timeline, t, wanted - filled)
        else:
            break
    return timeline


def batch_windows(timeline: Timeline, batch: Batch) -> Bools:
    """(T,) where batch work may run: the quietest windows, as long as it is given."""
    wanted = batch.within / batch.every * float(timeline.hours.sum())
    may = np.zeros(timeline.hours.size, dtype=bool)
    for t in _quietest_first(timeline):
        if float(timeline.hours[may].sum() + timeline.hours[t]) <= wanted * (1 + 1e-6):
            may[t] = True
    return may


def _quietest_first(timeline: Timeline) -> list[int]:
    return [int(t) for t in np.argsort(timeline.load(), kind="stable")]


def _split(timeline: Timeline, t: int, hours: float) -> Timeline:
    """Window t in two: its first `hours`, and the rest."""
    names = list(timeline.windows)
    names[t : t + 1] = [f"{names[t]} (batch runs)", f"{names[t]} (rest)"]
    split = np.insert(timeline.hours, t, hours)
    split[t + 1] -= hours
    rates = {name: np.insert(rate, t, rate[t], axis=0) for name, rate in timeline.rates.items()}
    return Timeline(tuple(names), split, rates, timeline.notes)
