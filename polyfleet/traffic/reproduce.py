"""A trace made after the likeness of another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from polyfleet.terms.demand import Burstiness, Floats, Ints, Trace
from polyfleet.traffic.bursts import RateNoise, SecondCounts, free_of_grid, time_grid_s
from polyfleet.traffic.clock import HOUR_S
from polyfleet.traffic.generate import arrivals_ns
from polyfleet.traffic.read import trace_start
from polyfleet.traffic.summarise import start_ns


def reproduce(trace: Trace, *, seed: int, scale: float = 1.0) -> Trace:
    """A new trace with the statistics of another, over the same span. The same seed gives the same trace.

    Kept: input, output and cached tokens together (drawn from the requests of the same clock hour), the rate of each
    clock hour times `scale`, the dispersion over 1, 10 and 60 seconds, the grid that times were rounded to. Not kept:
    the order of requests within the hour and which of them share a prefix. Raises ValueError for a scale that is not
    positive, a trace of one moment, and where no request came.
    """
    if not (0 < scale < math.inf):
        raise ValueError(f"scale must be positive and finite, not {scale}")
    if trace.duration_s <= 0:
        raise ValueError("a trace of a single moment has no rate to reproduce")
    like = _likeness(start_ns(trace) + np.rint(trace.arrival_s * 1e9).astype(np.int64))
    time_ns = _arrivals(like, scale, scale * trace.requests / trace.duration_s, np.random.default_rng(seed))
    if not len(time_ns):
        raise ValueError(f"no request came at {scale:g} times the trace's rate; raise scale")
    drawn = _draw(like, time_ns, np.random.default_rng([seed, 1]))
    origin_ns = int(time_ns[0])
    return Trace(
        (time_ns - origin_ns) / 1e9,
        trace.input_tokens[drawn],
        trace.output_tokens[drawn],
        trace.cached_tokens[drawn],
        None if trace.start is None else trace_start(origin_ns),
        f"reproduced from {trace.source}" if trace.source else "reproduced",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Likeness:
    """When a trace's requests came. `second` (n,) each whole second of its span, `length_s` (n,) the part of it within
    the span, `hour` (n,) its clock hour, counted from the first. `bounds` (hours + 1,) requests before each hour."""

    second: Ints
    length_s: Floats
    hour: Ints
    bounds: Ints
    late_ns: int
    grid_ns: int
    bursts: Burstiness

    def hour_of(self, time_ns: Ints) -> Ints:
        return time_ns // (HOUR_S * 10**9) - int(self.second[0]) // HOUR_S


def _likeness(time_ns: Ints) -> _Likeness:
    counts = SecondCounts()
    counts.add(time_ns // 10**9)
    first, last = int(time_ns[0] // 10**9), int(time_ns[-1] // 10**9)
    second = np.arange(first, last + 1, dtype=np.int64)
    length_s = np.ones(len(second))
    late_ns = int(time_ns[0] % 10**9)
    length_s[-1] = max(time_ns[-1] % 10**9 / 1e9, 1e-6)
    length_s[0] = max(length_s[0] - late_ns / 1e9, 1e-6)
    hour = second // HOUR_S - first // HOUR_S
    hours = np.arange(int(hour[-1]) + 2)
    bounds = np.searchsorted(time_ns // (HOUR_S * 10**9) - first // HOUR_S, hours)
    grid_s = time_grid_s(time_ns)
    grid_ns = round(grid_s * 1e9) if grid_s >= 1 else 0
    return _Likeness(second, length_s, hour, bounds, late_ns, grid_ns, free_of_grid(counts.burstiness(), grid_s))


def _arrivals(like: _Likeness, scale: float, mean_rate_per_s: float, rng: np.random.Generator) -> Ints:
    rate = scale * np.diff(like.bounds) / np.bincount(like.hour, like.length_s)
    noise = RateNoise.for_dispersion(mean_rate_per_s, like.bursts).multipliers(len(like.second), rng)
    in_hour = np.bincount(like.hour, noise) / np.bincount(like.hour)
    noise /= np.where(in_hour > 0, in_hour, 1.0)[like.hour]  # an hour's rate is known: only its course is chance
    time_ns = arrivals_ns(like.second, rate[like.hour] * noise, like.length_s, rng, like.late_ns)
    if not like.grid_ns:
        return time_ns
    zero_ns = int(like.second[0]) * 10**9 + like.late_ns
    return zero_ns + (time_ns - zero_ns) // like.grid_ns * like.grid_ns


def _draw(like: _Likeness, time_ns: Ints, rng: np.random.Generator) -> Ints:
    """(n,) for each moment one of the trace's requests of the same hour."""
    hour = like.hour_of(time_ns)
    low, high = like.bounds[hour], like.bounds[hour + 1]
    none = high <= low  # the grid moved a request over the hour's edge into an empty hour
    low, high = np.where(none, 0, low), np.where(none, like.bounds[-1], high)
    return np.asarray(low + np.floor(rng.random(len(time_ns)) * (high - low)), dtype=np.int64)
