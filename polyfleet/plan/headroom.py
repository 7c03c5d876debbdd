"""Headroom for a promise at a percentile: few replicas need more of it than many.

Square-root staffing. Requests in flight are taken as an infinite-server queue: normal with mean L (Little's law) and
variance D L, where D is the dispersion of arrivals (1 = Poisson). Capacity for L + z_p sqrt(D L) keeps the probability
of more in flight than fit at 1 - p. Sources: Halfin and Whitt, Operations Research 29 (1981), heavy-traffic limits
for queues with many servers; Whitt, Management Science 38 (1992), understanding the efficiency of multi-server
service systems (peakedness as the variance ratio). Approximations: D is counted per second while requests stay in
flight for longer, service times do not react to load, and pooling is over the whole workload.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from polyfleet.plan.problem import Floats
from polyfleet.terms.slo import Slo


def headroom_factor(in_flight: Floats, dispersion: float, percentile: float | None) -> Floats:
    """(T,) factors >= 1 on mean rates, for `in_flight` (T,) mean requests in flight. None = no promise: 1."""
    if percentile is None or percentile <= 50.0:
        return np.ones(in_flight.size)
    z = NormalDist().inv_cdf(percentile / 100.0)
    floor = np.maximum(in_flight, 1e-3)  # a workload without traffic needs no capacity; keep the factor finite
    factor: Floats = 1.0 + z * np.sqrt(max(dispersion, 1.0) / floor)
    return factor


def promised_percentile(slo: Slo) -> float | None:
    """The strictest percentile that a promise names."""
    named = [p for ms, p in ((slo.ttft_ms, slo.ttft_percentile), (slo.tpot_ms, slo.tpot_percentile)) if ms is not None]
    return max(named) if named else None
