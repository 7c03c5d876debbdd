"""Requests made up from a rate and two length distributions, arriving evenly or in bursts."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np

from polyfleet.terms.demand import Burstiness, Floats, Ints, Trace
from polyfleet.terms.lengths import Lengths
from polyfleet.traffic.bursts import RateNoise
from polyfleet.traffic.read import trace_start
from polyfleet.traffic.shapes import Shape, shape_named

MONDAY = "2024-01-01T00:00:00Z"
_MOST_REQUESTS = 200_000_000


def generate(
    rate_per_s: float,
    input_lengths: Lengths,
    output_lengths: Lengths,
    *,
    duration_s: float,
    seed: int,
    shape: Shape | str = "flat",
    dispersion: float | Burstiness = 1.0,
    start: str = MONDAY,
) -> Trace:
    """Requests at a mean rate, lengths of prompt and answer drawn independently.

    `dispersion`: 1 is a Poisson process; above, arrivals counted per second have that variance over mean at the mean
    rate (and so do longer counts, unless a `Burstiness` says otherwise). `start` ISO 8601 UTC, a whole second: the
    shape is read from there. The same seed gives the same trace. Raises ValueError for a rate, duration or dispersion
    out of range, and where no request came.
    """
    bursts = _checked(rate_per_s, duration_s, dispersion)
    rng = np.random.default_rng(seed)
    shape = shape_named(shape) if isinstance(shape, str) else shape
    begin_s = int(datetime.fromisoformat(start.removesuffix("Z")).replace(tzinfo=UTC).timestamp())
    second = begin_s + np.arange(math.ceil(duration_s), dtype=np.int64)
    length_s = np.minimum(duration_s - np.arange(len(second)), 1.0)
    noise = RateNoise.for_dispersion(rate_per_s, bursts).multipliers(len(second), rng)
    time_ns = arrivals_ns(second, rate_per_s * shape.at(second) * noise, length_s, rng)
    if not len(time_ns):
        raise ValueError(f"no request came in {duration_s:g} s at {rate_per_s:g} requests/s; lengthen duration_s")
    count = len(time_ns)
    inp, out = input_lengths.sample(rng, count), output_lengths.sample(rng, count)
    origin_ns = int(time_ns[0])
    nothing = np.zeros(count, dtype=np.int64)
    return Trace((time_ns - origin_ns) / 1e9, inp, out, nothing, trace_start(origin_ns), "generated")


def _checked(rate_per_s: float, duration_s: float, dispersion: float | Burstiness) -> Burstiness:
    for name, value in (("rate_per_s", rate_per_s), ("duration_s", duration_s)):
        if not (0 < value < math.inf):
            raise ValueError(f"{name} must be positive and finite, not {value}")
    if rate_per_s * duration_s > _MOST_REQUESTS:
        raise ValueError(f"{rate_per_s * duration_s:.3g} requests are more than fit in memory; shorten duration_s")
    if isinstance(dispersion, Burstiness):
        return dispersion
    if not (1 <= dispersion < math.inf):
        raise ValueError(f"dispersion must be at least 1 (Poisson), not {dispersion}")
    return Burstiness(dispersion, None, None, None)


def arrivals_ns(second: Ints, rate_per_s: Floats, length_s: Floats, rng: np.random.Generator, late: int = 0) -> Ints:
    """(n,) sorted moments of a Poisson process whose rate is constant over each second. `length_s` of each second
    counts; the first begins `late` nanoseconds in."""
    counts = rng.poisson(rate_per_s * length_s)
    within = rng.random(int(counts.sum())) * np.repeat(length_s, counts)
    time_ns = np.repeat(second, counts) * 10**9 + np.floor(within * 1e9).astype(np.int64)
    time_ns[: counts[0]] += late
    return np.sort(time_ns)
