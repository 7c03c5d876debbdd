"""One timeline for all workloads: hours of a common month, traffic and batch work in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polyfleet.errors import SpecError
from polyfleet.plan.batch_hours import BatchRun, running_share
from polyfleet.plan.problem import Floats
from polyfleet.terms.demand import Demand, Window
from polyfleet.terms.units import HOURS_PER_MONTH
from polyfleet.traffic.windows import aggregate_windows

MOST_WINDOWS = 24
"""Windows planned; hours of like demand are merged down to them."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """`windows` names and `hours` (T,) of the month; `rates[w]` (T, B) requests per second of each workload."""

    windows: tuple[str, ...]
    hours: Floats
    rates: Mapping[str, Floats]
    notes: tuple[str, ...] = ()


def common_timeline(
    demands: Mapping[str, Demand], batches: Mapping[str, BatchRun] | None = None, most: int = MOST_WINDOWS
) -> Timeline:
    """Bring all demands to the same windows: all hours, hours of the day and hours of the week go together. Batch work
    runs in the quietest hours, and its windows stay apart from the others.

    Raises SpecError where two demands have windows that cannot be laid over each other.
    """
    names, hours, spread = _laid_over(demands)
    batches = batches or {}
    load = _load(hours, spread)
    shares = [running_share(load, hours, run) for run in batches.values()]
    windows, origin, running = _cut(names, hours, shares)
    rates = {name: rate[origin] for name, rate in spread.items()}
    for (name, run), on in zip(batches.items(), running, strict=True):
        rates[name] = np.where(on, run.per_s, 0.0)[:, None]
    buckets = [b for d in demands.values() for b in d.buckets] + [run.bucket for run in batches.values()]
    if len(windows) == 1:
        return Timeline((windows[0].name,), np.array([windows[0].hours_per_month]), rates)
    together = Demand(windows, tuple(buckets), np.concatenate(list(rates.values()), axis=1))
    kinds = [sum(2**i for i, on in enumerate(running) if on[t]) for t in range(len(windows))]
    return _apart(aggregate_windows(together, most, kinds), rates, len(windows))


def _laid_over(demands: Mapping[str, Demand]) -> tuple[list[str], Floats, dict[str, Floats]]:
    """Names and hours of the finest windows, and each demand's rates in them."""
    if not demands:
        return ["all hours"], np.array([HOURS_PER_MONTH]), {}
    finest = max(demands.values(), key=lambda d: len(d.windows))
    hours = np.array([w.hours_per_month for w in finest.windows])
    return [w.name for w in finest.windows], hours, {n: _spread(n, d, finest) for n, d in demands.items()}


def _spread(name: str, demand: Demand, finest: Demand) -> Floats:
    count, own = len(finest.windows), len(demand.windows)
    if own == count or count % own == 0:
        return np.tile(demand.rate_per_s, (count // own, 1))
    raise SpecError(
        f"the traffic of workload {name!r} has {own} windows, another has {count}: they cannot be laid over each other",
        hint="use traces of a day, a week, or less than a day",
    )


def _load(hours: Floats, rates: Mapping[str, Floats]) -> Floats:
    """(T,) all traffic, each workload over its own mean, added up."""
    total = np.zeros(hours.size)
    for rate in rates.values():
        by_window = rate.sum(axis=1)
        mean = float(hours @ by_window / hours.sum())
        total += by_window / mean if mean > 0 else 0.0
    return total


def _cut(
    names: Sequence[str], hours: Floats, shares: Sequence[Floats]
) -> tuple[tuple[Window, ...], list[int], list[list[bool]]]:
    """Windows cut where batch work runs for a part of them: the window each is a part of, and by batch workload whether
    it runs there."""
    windows, origin = [], []
    running: list[list[bool]] = [[] for _ in shares]
    for t, name in enumerate(names):
        ends = sorted({round(float(s[t]), 9) for s in shares if 1e-6 < s[t] < 1 - 1e-6} | {1.0})
        start = 0.0
        for end in ends:
            on = [bool(s[t] > end - 1e-6) for s in shares]
            told = "" if len(ends) == 1 else " (batch runs)" if any(on) else " (rest)"
            windows.append(Window(name + told, (end - start) * float(hours[t])))
            origin.append(t)
            for mine, runs in zip(running, on, strict=True):
                mine.append(runs)
            start = end
    return tuple(windows), origin, running


def _apart(demand: Demand, rates: Mapping[str, Floats], before: int) -> Timeline:
    """The workloads of a demand that holds all of them side by side."""
    found, start = {}, 0
    for name, rate in rates.items():
        found[name] = demand.rate_per_s[:, start : start + rate.shape[1]]
        start += rate.shape[1]
    hours = np.array([w.hours_per_month for w in demand.windows])
    note = f"{before} hours or parts of hours are planned as {len(demand.windows)} windows of like demand"
    notes = (note,) if len(demand.windows) < before else ()
    return Timeline(tuple(w.name for w in demand.windows), hours, found, notes)
