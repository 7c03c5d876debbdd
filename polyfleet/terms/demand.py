"""Traffic: requests as they came, and their summary."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Requests in order of arrival.

    `arrival_s` (n,) seconds since the first request, ascending; `input_tokens` and `output_tokens` (n,).
    `cached_tokens` (n,) input tokens whose prefix block was seen earlier in the trace (0 where the trace tells no
    prefixes). `start` ISO 8601 UTC of the first request, None where the trace tells no date. `dropped` counts requests
    left out because they have no input or no output; `unsorted` counts requests that stood later in the file than one
    that arrived after them (they have been put in order).
    """

    arrival_s: Floats
    input_tokens: Ints
    output_tokens: Ints
    cached_tokens: Ints
    start: str | None = None
    source: str = ""
    dropped: int = 0
    unsorted: int = 0

    @property
    def requests(self) -> int:
        return len(self.arrival_s)

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last request; 0 for fewer than two."""
        return float(self.arrival_s[-1] - self.arrival_s[0]) if len(self.arrival_s) else 0.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """Requests of like size, planned as if each had the mean size. `cached_tokens`: mean input served from a prefix
    cache, part of `input_tokens`."""

    input_tokens: float
    output_tokens: float
    cached_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the week in which demand is taken as constant. `hours_per_month` sums to 730 over all windows."""

    name: str
    hours_per_month: float


@dataclass(frozen=True, slots=True)
class Burstiness:
    """How far arrivals are from even. `dispersion_*`: index of dispersion of counts (variance over mean, 1 = Poisson)
    of arrivals counted per 1, 10 and 60 seconds, around the mean of each clock hour, so that the daily rise and fall
    does not count. `peak_to_mean_60s`: the busiest minute over the mean minute of the whole trace. None = the trace is
    too short to tell."""

    dispersion_1s: float | None
    dispersion_10s: float | None
    dispersion_60s: float | None
    peak_to_mean_60s: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """What must be served: `rate_per_s` (windows, buckets) requests per second, mean over each window.

    `dispersion` >= 1: variance over mean of arrivals counted per second (1 = Poisson), for headroom. `burstiness` says
    more where a trace was measured. `work_error`: the largest relative error that planning with bucket means instead of
    the requests makes in prefill, decode or KV residency, over the whole trace (0 where nothing was bucketed).
    `requests` and `dropped` count what was read; both 0 where no trace was.
    """

    windows: tuple[Window, ...]
    buckets: tuple[Bucket, ...]
    rate_per_s: Floats
    dispersion: float = 1.0
    source: str = ""
    notes: tuple[str, ...] = field(default=())
    burstiness: Burstiness | None = None
    work_error: float = 0.0
    requests: int = 0
    dropped: int = 0

    def scaled(self, factor: float) -> Demand:
        """`factor` times as many requests of the same sizes. The dispersion stays: more of the same independent users
        leave variance over mean unchanged. Raises ValueError unless factor is positive and finite."""
        if not (0 < factor < math.inf):
            raise ValueError(f"demand can be scaled by a positive number only, not {factor}")
        return replace(self, rate_per_s=self.rate_per_s * factor)

    @property
    def window_rate_per_s(self) -> Floats:
        """(windows,) requests per second of all buckets together."""
        return np.asarray(self.rate_per_s.sum(axis=1), dtype=np.float64)

    @property
    def peak_window(self) -> int:
        """Index of the window with most requests per second."""
        return int(np.argmax(self.window_rate_per_s))

    @property
    def mean_rate_per_s(self) -> float:
        """Requests per second over the month, windows weighted by their hours."""
        hours = np.array([w.hours_per_month for w in self.windows])
        return float(hours @ self.window_rate_per_s / hours.sum())
