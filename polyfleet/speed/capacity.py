"""The highest load of a size bucket that one replica sustains under a latency promise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np

from polyfleet.speed.constants import Table
from polyfleet.speed.predict import Indices
from polyfleet.speed.rates import Rates
from polyfleet.speed.serve import Work, at_concurrency, slots_of
from polyfleet.speed.shape import Floats, Shape
from polyfleet.terms.demand import Bucket
from polyfleet.terms.evidence import Band, Evidence
from polyfleet.terms.slo import Slo
from polyfleet.terms.speed import Speed

_GRID = 28  # loads tried per bucket, evenly spaced in the logarithm
_MOST_IN_FLIGHT = 4096.0  # beyond it a scheduler's own limits bind
_CASES = (2, 1, 0)  # latency factors of the slow, the typical and the fast case: (p90, p50, p10)

Scaled = Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class Limits:
    """The promise in ms (inf = none), and the factor from the middle to the promised percentile."""

    ttft_ms: float
    tpot_ms: float
    ttft_factor: float
    tpot_factor: float

    @classmethod
    def of(cls, slo: Slo, table: Table) -> Limits:
        """Latencies are taken as log-normal around their median; spreads are fitted on rows that state P50 and P99."""
        return cls(
            math.inf if slo.ttft_ms is None else slo.ttft_ms,
            math.inf if slo.tpot_ms is None else slo.tpot_ms,
            percentile_factor(slo.ttft_percentile, table["ttft_spread"]["all"]),
            percentile_factor(slo.tpot_percentile, table["tpot_spread"]["all"]),
        )


@cache
def percentile_factor(percentile: float, spread: float) -> float:
    """Value at `percentile` over the median, for a log-normal of this spread in ln."""
    share = min(max(percentile, 0.01), 99.99) / 100
    return math.exp(NormalDist().inv_cdf(share) * spread)


def capacities(
    shape: Shape,
    rates: Rates,
    buckets: Sequence[Bucket],
    limits: Limits,
    *,
    scaled: Scaled,
    evidence: Evidence,
    memory_gap: str,
) -> tuple[Speed, ...]:
    """One Speed per bucket; `scaled` as the speed model gives it, `memory_gap` as `fits` says."""
    if memory_gap:
        return tuple(_none(evidence, memory_gap) for _ in buckets)
    work = _work(buckets)
    grid = _grid(shape, work)
    seen = at_concurrency(shape, rates, work, grid)
    ttft = seen.ttft_s * 1e3 * limits.ttft_factor
    tpot = seen.tpot_s * 1e3 * limits.tpot_factor
    rate = seen.tokens_per_s / work.output_tokens
    best = [_best(rate, ttft, tpot, limits, scaled=scaled, case=case) for case in _CASES]
    found = best[1][1]
    rows = np.arange(len(buckets))
    at = (grid[rows, found], ttft[rows, found] * scaled["ttft"][1], tpot[rows, found] * scaled["tpot"][1])
    return tuple(
        _speed([b[0][i] for b in best], [float(column[i]) for column in at], limits, evidence)
        for i in range(len(buckets))
    )


def _work(buckets: Sequence[Bucket]) -> Work:
    sizes = np.array([(b.input_tokens, b.output_tokens, b.cached_tokens) for b in buckets], dtype=np.float64)
    sizes = sizes.reshape(-1, 3)
    return Work(sizes[:, :1], np.maximum(sizes[:, 1:2], 1.0), np.minimum(sizes[:, 2:], sizes[:, :1]))


def _grid(shape: Shape, work: Work) -> Floats:
    most = np.minimum(slots_of(shape, work), _MOST_IN_FLIGHT)
    return np.exp(np.log(most) * np.linspace(0.0, 1.0, _GRID)[None, :])


def _best(
    rate: Floats, ttft: Floats, tpot: Floats, limits: Limits, *, scaled: Scaled, case: int
) -> tuple[Floats, Indices]:
    """Highest rate that keeps the promise in a case, and the load where it is reached; 0 where none keeps it."""
    kept = (ttft * scaled["ttft"][case] <= limits.ttft_ms) & (tpot * scaled["tpot"][case] <= limits.tpot_ms)
    value = np.where(kept, rate * scaled["throughput"][2 - case], 0.0)
    at = value.argmax(axis=1)
    return value[np.arange(len(at)), at], at


def _speed(rates: Sequence[float], at: Sequence[float], limits: Limits, evidence: Evidence) -> Speed:
    slow, typical, fast = (float(r) for r in rates)
    in_flight, ttft, tpot = at
    why = "" if typical > 0 else _why_not(ttft, tpot, limits)
    if why:
        return Speed(Band(0.0, 0.0, 0.0), 0.0, ttft, tpot, evidence, why)
    return Speed(Band(min(slow, typical), typical, max(fast, typical)), in_flight, ttft, tpot, evidence)


def _why_not(ttft: float, tpot: float, limits: Limits) -> str:
    """What a single request alone already breaks."""
    broken = []
    if ttft > limits.ttft_ms:
        broken.append(f"TTFT {ttft:.0f} ms > {limits.ttft_ms:.0f} ms")
    if tpot > limits.tpot_ms:
        broken.append(f"TPOT {tpot:.1f} ms > {limits.tpot_ms:.1f} ms")
    return " and ".join(broken) + " with one request alone"


def _none(evidence: Evidence, why: str) -> Speed:
    return Speed(Band(0.0, 0.0, 0.0), 0.0, 0.0, 0.0, evidence, why)
