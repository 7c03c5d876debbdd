"""In which hours batch work runs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from polyfleet.plan.problem import Floats
from polyfleet.terms.demand import Bucket

CLOCKS = (24, 168)
"""Counts of windows that are the hours of a day or of a week, in order."""


@dataclass(frozen=True, slots=True)
class BatchRun:
    """Batch work: `requests` of one size every `every_h`, done at an even rate in `run_h` of them."""

    bucket: Bucket
    requests: float
    every_h: float
    run_h: float

    @property
    def share(self) -> float:
        return self.run_h / self.every_h

    @property
    def per_s(self) -> float:
        """Requests per second while it runs."""
        return self.requests / self.run_h / 3600.0


def shortest_run_h(requests: float, within_h: float, per_s: float) -> float:
    """Hours that requests take the fewest whole replicas that can finish `within_h`, at a rate `per_s` each. Whole
    replicas are paid for whether full or not: a shorter run fills them."""
    hours = requests / per_s / 3600.0
    return hours / math.ceil(hours / within_h - 1e-9)


def running_share(load: Floats, hours: Floats, run: BatchRun) -> Floats:
    """(T,) the share of each window in which batch work runs, for windows of a load (T,) and hours a month (T,).

    Where windows are the hours of a day or a week, the quietest consecutive hours of every period; else the quietest
    windows. A period that does not divide the day or week evenly has its part of every window.
    """
    count = load.size
    if count not in CLOCKS:
        return _quietest(load, hours, run.share)
    period = min(run.every_h, float(count))
    if period < 1 or period % 1 or count % period:
        return np.full(count, run.share)
    chunks = load.reshape(-1, int(period))
    return np.concatenate([_consecutive(chunk, run.share * period) for chunk in chunks])


def _consecutive(load: Floats, length: float) -> Floats:
    """The quietest run of a length, round the clock."""
    whole = int(length + 1e-9)
    shape = np.zeros(load.size)
    shape[:whole] = 1.0
    if length - whole > 1e-9:
        shape[whole] = length - whole
    shifted = np.stack([np.roll(shape, s) for s in range(load.size)])
    return np.asarray(shifted[int(np.argmin(shifted @ load))])


def _quietest(load: Floats, hours: Floats, share: float) -> Floats:
    left, found = share * float(hours.sum()), np.zeros(load.size)
    for t in np.argsort(load, kind="stable"):
        found[t] = min(1.0, left / float(hours[t]))
        left = max(left - float(hours[t]), 0.0)
    return found
