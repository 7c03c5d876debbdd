"""Burstiness: how arrivals clump at 1, 10 and 60 seconds, measured and made.

The generator's arrivals are a Poisson process whose rate is multiplied by three independent gamma variables of mean 1,
redrawn every 1, 10 and 60 seconds (a Cox process). With v the variances, L the rate and m(T) the second moment of the
multiplier's mean over T seconds, counts over T have the index of dispersion 1 + L T (m(T) - 1), where
m(1) = (1+v1)(1+v10)(1+v60), m(10) = (1+v1/10)(1+v10)(1+v60), m(60) = (1+v60)(1 + ((1+v1/10)(1+v10) - 1)/6).
That is solved for v in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyfleet.errors import TraceError
from polyfleet.terms.demand import Burstiness, Floats, Ints
from polyfleet.traffic.clock import HOUR_S

SCALES_S = (1, 10, 60)
_CHUNK_S = 64 * HOUR_S
_MOST_CHUNKS = 300  # 300 x 64 hours: a little over two years, 276 MB


class SecondCounts:
    """Requests per second of a trace in any order: memory goes with the hours that hold requests."""

    def __init__(self) -> None:
        self._chunks: dict[int, Ints] = {}

    def add(self, second: Ints) -> None:
        """(n,) whole seconds. Raises TraceError when a trace spreads over more than two years."""
        chunk = second // _CHUNK_S
        low = int(chunk.min())
        near = int(chunk.max()) - low < 10_000  # else a sort is cheaper than a long histogram
        for key in np.flatnonzero(np.bincount(chunk - low)) + low if near else np.unique(chunk):
            if int(key) not in self._chunks and len(self._chunks) >= _MOST_CHUNKS:
                hint = "check the unit of the time column"
                raise TraceError("the trace spreads over more than two years", hint=hint)
            counts = np.bincount(second[chunk == key] - int(key) * _CHUNK_S, minlength=_CHUNK_S)
            before = self._chunks.get(int(key))
            self._chunks[int(key)] = counts.astype(np.int32) if before is None else before + counts.astype(np.int32)

    def per_bin(self, bin_s: int) -> Floats:
        """(bins,) requests per `bin_s` seconds, over the whole bins (aligned to the clock) between the first and the
        last request; empty when there is none."""
        first, last = self._span()
        begin, end = -(-first // bin_s), (last + 1) // bin_s
        if bin_s == 1:
            begin, end = first + 1, last  # the first and the last second are cut
        if end <= begin:
            return np.zeros(0)
        counts = self._line(begin * bin_s, end * bin_s).reshape(-1, bin_s).sum(axis=1)
        return np.asarray(counts, dtype=np.float64)

    def series(self, most_points: int) -> tuple[int, Floats]:
        """Width of a bin in seconds, and (n <= most_points,) mean requests per second from the first request on."""
        first, last = self._span()
        nice = (1, 2, 5, 10, 30, 60, 300, 900, HOUR_S, 6 * HOUR_S, 24 * HOUR_S, 168 * HOUR_S)
        width = next((w for w in nice if (last + 1 - first) <= w * most_points), nice[-1])
        bins = -(-(last + 1 - first) // width)
        counts = self._line(first, first + bins * width).reshape(-1, width).sum(axis=1)
        return width, counts / width

    def dispersion(self, bin_s: int) -> float | None:
        """Index of dispersion of counts around the mean of each clock hour; None below 30 bins."""
        counts = self.per_bin(bin_s)
        if len(counts) < 30 or not counts.sum():
            return None
        begin = -(-self._span()[0] // bin_s) if bin_s > 1 else self._span()[0] + 1
        hour = (begin + np.arange(len(counts))) * bin_s // HOUR_S
        hour -= hour[0]
        size = np.bincount(hour)
        full = size >= max(2, min(int(size.max()), HOUR_S // bin_s) // 2)  # a stub of an hour has no mean of its own
        total = np.bincount(hour, counts)
        squares = np.bincount(hour, counts * counts) - total * total / np.maximum(size, 1)
        unbiased = squares[full] * size[full] / (size[full] - 1)
        return float(unbiased.sum() / total[full].sum()) if total[full].sum() else None

    def burstiness(self) -> Burstiness:
        minutes = self.per_bin(60)
        peak = float(minutes.max() / minutes.mean()) if len(minutes) >= 2 and minutes.sum() else None
        return Burstiness(self.dispersion(1), self.dispersion(10), self.dispersion(60), peak)

    def _span(self) -> tuple[int, int]:
        low, high = min(self._chunks), max(self._chunks)
        first = low * _CHUNK_S + int(np.flatnonzero(self._chunks[low])[0])
        return first, high * _CHUNK_S + int(np.flatnonzero(self._chunks[high])[-1])

    def _line(self, begin: int, end: int) -> Ints:
        line = np.zeros(end - begin, dtype=np.int32)
        for key, counts in self._chunks.items():
            low, high = max(begin, key * _CHUNK_S), min(end, (key + 1) * _CHUNK_S)
            if low < high:
                line[low - begin : high - begin] = counts[low - key * _CHUNK_S : high - key * _CHUNK_S]
        return line.astype(np.int64)


def time_grid_s(time_ns: Ints) -> float:
    """The step in seconds that times were rounded to, where most requests share theirs with another; else 0."""
    times = np.unique(time_ns)
    if len(times) < 2 or len(times) > len(time_ns) / 2:
        return 0.0
    return float(np.median(np.diff(times)) / 1e9)


def free_of_grid(measured: Burstiness, grid_s: float) -> Burstiness:
    """What is left when times stand on a grid: counts over less than five steps show the grid, not the traffic."""
    known = (measured.dispersion_1s, measured.dispersion_10s, measured.dispersion_60s)
    at_1s, at_10s, at_60s = (d if t >= 5 * grid_s else None for d, t in zip(known, SCALES_S, strict=True))
    return Burstiness(at_1s, at_10s, at_60s, measured.peak_to_mean_60s)


@dataclass(frozen=True, slots=True)
class RateNoise:
    """Variances of the gamma multipliers redrawn every 1, 10 and 60 seconds."""

    every_1s: float
    every_10s: float
    every_60s: float

    @staticmethod
    def for_dispersion(rate_per_s: float, measured: Burstiness) -> RateNoise:
        """The noise that gives arrivals at `rate_per_s` this dispersion, as near as variances >= 0 allow.

        A longer scale that was not measured takes the dispersion of the next shorter one, as if seconds were
        independent; a shorter one takes the noise of the next longer one and adds none.
        """
        m1, m10, m60 = _second_moments(rate_per_s, measured)
        ratio = min(max(m10 / m1, 0.1 + 1e-3), 1.0)
        v1 = (1 - ratio) / (ratio - 0.1)
        v60 = min(max((m60 - m10 / 6) * 6 / 5 - 1, 0.0), m10 - 1)
        v10 = max(m10 / ((1 + v60) * (1 + v1 / 10)) - 1, 0.0)
        if v10 < 1e-9:  # the seconds alone are too uneven for ten of them to be so even: keep the seconds
            v1, v10 = max(m1 / (1 + v60) - 1, 0.0), 0.0
        return RateNoise(v1, v10, v60)

    def multipliers(self, seconds: int, rng: np.random.Generator) -> Floats:
        """(seconds,) factors of the rate, mean 1."""
        factor = np.ones(seconds)
        for variance, every in zip((self.every_1s, self.every_10s, self.every_60s), SCALES_S, strict=True):
            if variance > 0:
                drawn = rng.gamma(1 / variance, variance, size=-(-seconds // every))
                factor *= np.repeat(drawn, every)[:seconds]
        return factor


def _second_moments(rate_per_s: float, measured: Burstiness) -> tuple[float, float, float]:
    """m(1), m(10) and m(60) of the multiplier's mean, from the dispersions; at least 1."""
    known = (measured.dispersion_1s, measured.dispersion_10s, measured.dispersion_60s)
    filled = list(known)
    for place in (1, 2):
        filled[place] = filled[place - 1] if filled[place] is None else filled[place]
    moments = [
        None if d is None else 1 + max(d - 1, 0.0) / (rate_per_s * t) for d, t in zip(filled, SCALES_S, strict=True)
    ]
    m60 = moments[2] or 1.0
    m10 = moments[1] or m60
    return moments[0] or m10, m10, m60
