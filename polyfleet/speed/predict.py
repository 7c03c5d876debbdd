"""Points in, throughput, TTFT and TPOT out: all regimes over arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from polyfleet.speed.point import Load, Point, Regime
from polyfleet.speed.rates import Rates
from polyfleet.speed.serve import Outcome, Work, at_concurrency, burst, saturated, slots_of, static_batch
from polyfleet.speed.shape import Floats, Shape, column, stack

T = TypeVar("T", Shape, Work, Rates)
Indices = NDArray[np.int64]
METRICS = ("throughput", "ttft", "tpot")
_GRID = 40  # loads tried where a regime asks for the load itself
_UNKNOWN_RATE_SHARE = 0.5  # of the highest load, where a row states neither its rate nor what is in flight (assumed)
_ENOUGH = 0.97  # share of the highest throughput at which a run under a promise stops adding load (assumed)
_TPOT_TAIL = 1.1  # P99 over the median in runs under a promise (MLPerf v5.1 server rows, about)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """n points as arrays: `shape`, the loads' fields, and which regime each is in."""

    shape: Shape
    work: Work
    in_flight: Floats
    rate_per_s: Floats
    limit_s: Floats
    replicas: Floats
    regimes: tuple[Regime, ...]

    @classmethod
    def of(cls, points: Sequence[Point]) -> Batch:
        """The arrays of these points."""
        loads = [p.load for p in points]
        return cls(
            stack([p.shape for p in points]),
            Work(
                _column(loads, "input_tokens"), _column(loads, "output_tokens"), _column(loads, "cached_tokens"),
                _column(loads, "compiled_batch"), _column(loads, "slots"),
                _column(loads, "drafts"),
            ),
            _column(loads, "in_flight"),
            _column(loads, "rate_per_s"),
            _column(loads, "tpot_limit_ms") / 1e3,
            np.array([p.replicas for p in points], dtype=np.float64),
            tuple(load.regime for load in loads),
        )  # fmt: skip

    def where(self, regime: Regime) -> Indices:
        return np.array([i for i, r in enumerate(self.regimes) if r is regime], dtype=np.int64)


def _column(loads: Sequence[Load], name: str) -> Floats:
    return np.array([getattr(load, name) for load in loads], dtype=np.float64)


def take(values: T, index: Indices) -> T:
    """The entries `index` of every array field."""
    picked = {f.name: np.asarray(getattr(values, f.name))[index] for f in fields(values)}
    return type(values)(**picked)


def predict(batch: Batch, rates: Rates) -> dict[str, Floats]:
    """`throughput` (output tokens/s over all replicas), `ttft` and `tpot` (ms), each (n,)."""
    found = {metric: np.full(len(batch.regimes), np.nan) for metric in METRICS}
    for regime in set(batch.regimes):
        at = batch.where(regime)
        part = replace(
            batch, shape=take(batch.shape, at), work=take(batch.work, at), in_flight=batch.in_flight[at],
            rate_per_s=batch.rate_per_s[at], limit_s=batch.limit_s[at], replicas=batch.replicas[at],
        )  # fmt: skip
        outcome = _outcome(regime, part, take(rates, at))
        found["throughput"][at] = outcome.tokens_per_s * part.replicas
        found["ttft"][at] = outcome.ttft_s * 1e3
        found["tpot"][at] = outcome.tpot_s * 1e3
    return found


def _outcome(regime: Regime, part: Batch, rates: Rates) -> Outcome:
    shape, work = part.shape, part.work
    if regime is Regime.STATIC:
        return static_batch(shape, rates, work, part.in_flight)
    if regime is Regime.BURST:
        return burst(shape, rates, work, part.in_flight)
    if regime is Regime.SATURATED:
        return saturated(shape, rates, work, np.where(part.in_flight > 0, part.in_flight, np.inf))
    if regime is Regime.RATE:
        return _at_rate(shape, rates, work, part.rate_per_s)
    if regime is Regime.PROMISE:
        return _under_limit(shape, rates, work, part.limit_s)
    return at_concurrency(shape, rates, work, part.in_flight)


def load_grid(shape: Shape, work: Work, points: int = _GRID) -> Floats:
    """(n, points) numbers of running requests from 1 to what memory and slots hold, evenly spaced in the logarithm."""
    most = np.minimum(slots_of(shape, work), 8192.0)
    return np.exp(np.log(most)[:, None] * np.linspace(0.0, 1.0, points)[None, :])


def _over_grid(shape: Shape, rates: Rates, work: Work) -> tuple[Floats, Outcome]:
    grid = load_grid(shape, work)
    return grid, at_concurrency(column(shape), _columns(rates), _columns(work), grid)


def _columns(values: T) -> T:
    return type(values)(**{f.name: np.asarray(getattr(values, f.name))[:, None] for f in fields(values)})


def _at_rate(shape: Shape, rates: Rates, work: Work, rate_per_s: Floats) -> Outcome:
    """Where throughput meets the arrivals; at the highest load where it never does."""
    _, seen = _over_grid(shape, rates, work)
    best = np.maximum.accumulate(seen.tokens_per_s, axis=1)
    wanted = np.where(rate_per_s > 0, rate_per_s * work.output_tokens, _UNKNOWN_RATE_SHARE * best[:, -1])
    over = best >= wanted[:, None]
    index = np.where(over.any(axis=1), over.argmax(axis=1), best.shape[1] - 1)
    found = _pick(seen, index)
    return replace(found, tokens_per_s=np.minimum(wanted, best[:, -1]))


def _under_limit(shape: Shape, rates: Rates, work: Work, limit_s: Floats) -> Outcome:
    """The highest throughput whose TPOT keeps the limit."""
    _, seen = _over_grid(shape, rates, work)
    kept = seen.tpot_s * _TPOT_TAIL <= limit_s[:, None]
    value = np.where(kept, seen.tokens_per_s, -1.0 / seen.tpot_s)
    best = value.max(axis=1, keepdims=True)
    # More load for the last few per cent of throughput would only add latency.
    enough = value >= np.where(best > 0, best * _ENOUGH, best)
    return _pick(seen, enough.argmax(axis=1))


def _pick(outcome: Outcome, index: Indices) -> Outcome:
    rows = np.arange(len(index))
    return Outcome(**{f.name: getattr(outcome, f.name)[rows, index] for f in fields(Outcome)})
