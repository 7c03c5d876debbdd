"""What is in a trace, for a table and a plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from polyfleet.terms.demand import Bucket, Burstiness, Demand, Floats
from polyfleet.traffic import clock
from polyfleet.traffic.buckets import WORK_TOLERANCE, Buckets, bucket_work, choose_buckets
from polyfleet.traffic.read import trace_start
from polyfleet.traffic.sketch import CELLS_PER_OCTAVE, Sketch, cell_axes
from polyfleet.traffic.summarise import Source, demand_of, rate_by_window, sketch_of, source_name
from polyfleet.traffic.work import Work, kv_residency, prefill

QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
_SERIES_POINTS = 1000


@dataclass(frozen=True, slots=True)
class BucketRow:
    """One size bucket: its mean request, its share of requests and of each measure of work (0 to 1).
    `input_range`, `output_range`: lowest and highest tokens, to the edges of the histogram's cells (12 % apart)."""

    bucket: Bucket
    input_range: tuple[int, int]
    output_range: tuple[int, int]
    share_requests: float
    share_prefill: float
    share_decode: float
    share_kv_residency: float


@dataclass(frozen=True, slots=True, eq=False)
class TraceSummary:
    """What one pass over a trace shows; `demand` is what the plan takes.

    `quantiles` (3, 8) tokens of input, output and cached at `QUANTILES`. `peak_rate_per_s`: the busiest minute (the
    busiest second in traces below two minutes). `prefix_share`: cached over input tokens. `work_error`: signed relative
    error of planning with bucket means; `worst_window_error`: the largest of any measure in any window.
    For plots: `rate_per_s` (n,) mean rates of bins `rate_bin_s` wide from the first request on; `size_counts`
    (input cells, output cells) requests, between `input_edges` and `output_edges` tokens.
    """

    source: str
    start: str | None
    duration_s: float
    requests: int
    dropped: int
    unsorted: int
    mean_rate_per_s: float
    peak_rate_per_s: float
    mean_input_tokens: float
    mean_output_tokens: float
    quantiles: Floats
    prefix_share: float
    burstiness: Burstiness
    buckets: tuple[BucketRow, ...]
    work_error: Work
    worst_window_error: float
    demand: Demand
    rate_bin_s: int
    rate_per_s: Floats
    input_edges: Floats
    output_edges: Floats
    size_counts: Floats

    @property
    def is_sorted(self) -> bool:
        return not self.unsorted


def describe(
    source: Source,
    *,
    buckets: int | None = None,
    windows: int | None = None,
    scale: float = 1.0,
    growth: float = 1.0,
    tolerance: float = WORK_TOLERANCE,
) -> TraceSummary:
    """What is in a trace file, a trace or its stretches; parameters and errors as `summarise`.

    `scale` and `growth` move the demand only: all other figures are the trace's own.
    """
    sketch, name = sketch_of(source), source_name(source)
    found = choose_buckets(sketch.moments, sketch.cells, buckets, tolerance)
    demand = demand_of(sketch, found, asked=buckets, windows=windows, factor=scale * growth, source=name)
    assert sketch.first_ns is not None  # demand_of has refused a trace without two moments
    return TraceSummary(
        source=name,
        start=trace_start(sketch.first_ns) if sketch.dated else None,
        duration_s=sketch.span_s,
        requests=sketch.requests,
        dropped=sketch.dropped,
        unsorted=sketch.unsorted,
        quantiles=sketch.quantiles(QUANTILES),
        burstiness=sketch.seconds.burstiness(),
        buckets=_bucket_rows(sketch, found),
        work_error=found.error,
        worst_window_error=worst_window_error(sketch, found),
        demand=demand,
        **_rates(sketch),
        **_means_of_all(found),
        **_histogram(sketch),
    )


def _rates(sketch: Sketch) -> dict[str, Any]:
    """Requests a second: mean, peak and series."""
    minutes = sketch.seconds.per_bin(60) / 60
    bin_s, series = sketch.seconds.series(_SERIES_POINTS)
    return {
        "mean_rate_per_s": sketch.requests / sketch.span_s,
        "peak_rate_per_s": float(minutes.max() if len(minutes) >= 2 else sketch.seconds.series(10**6)[1].max()),
        "rate_bin_s": bin_s,
        "rate_per_s": series,
    }


def _means_of_all(found: Buckets) -> dict[str, Any]:
    sums = found.sums.sum(axis=1)
    return {
        "mean_input_tokens": float(sums[1] / sums[0]),
        "mean_output_tokens": float(sums[2] / sums[0]),
        "prefix_share": float(sums[3] / sums[1]),
    }


def worst_window_error(sketch: Sketch, found: Buckets) -> float:
    """The largest relative error of any measure of work in any natural window: a bucket's mean is over the whole trace,
    an hour's own requests differ from it."""
    count = clock.natural_windows(sketch.span_s)
    true = clock.folded(sketch.work_by_hour, count)
    rate = rate_by_window(sketch, found, count)
    requests = clock.folded(sketch.by_hour.sum(axis=1).astype(float), count)
    worst = 0.0
    for window in np.flatnonzero(requests):
        planned = rate[window] * requests[window] / rate[window].sum()
        exact = Work(*(float(v) for v in true[window]))
        worst = max(worst, exact.error_of(bucket_work(*_means(found), planned)).largest)
    return worst


def _means(found: Buckets) -> tuple[Floats, Floats, Floats]:
    n = found.sums[0]
    return found.sums[1] / n, found.sums[2] / n, found.sums[3] / n


def _bucket_rows(sketch: Sketch, found: Buckets) -> tuple[BucketRow, ...]:
    inp, out, cached = _means(found)
    n = found.sums[0]
    shares = [part / (part.sum() or 1.0) for part in (n, n * prefill(inp, cached), n * out, n * kv_residency(inp, out))]
    cell_in, cell_out, _ = cell_axes(sketch.cells)
    rows = []
    for place, bucket in enumerate(found.buckets):
        here = found.of_cell == place
        ranges = [
            (_edge(int(cell[here].min())), max(_edge(int(cell[here].max()) + 1) - 1, 1)) for cell in (cell_in, cell_out)
        ]
        rows.append(BucketRow(bucket, ranges[0], ranges[1], *(float(s[place]) for s in shares)))
    return tuple(rows)


def _edge(cell: int) -> int:
    """The smallest whole length that falls in a cell."""
    return int(np.ceil(2 ** (cell / CELLS_PER_OCTAVE) - 1e-6))


def _histogram(sketch: Sketch) -> dict[str, Any]:
    step = CELLS_PER_OCTAVE // 2  # half an octave a cell is fine enough for the eye
    axes = [cell // step for cell in cell_axes(sketch.cells)[:2]]
    low = [int(a.min()) for a in axes]
    counts = np.zeros((int(axes[0].max()) - low[0] + 1, int(axes[1].max()) - low[1] + 1))
    np.add.at(counts, (axes[0] - low[0], axes[1] - low[1]), sketch.moments.count)
    octaves = [(low[a] + np.arange(counts.shape[a] + 1)) * step / CELLS_PER_OCTAVE for a in (0, 1)]
    return {"input_edges": 2.0 ** octaves[0], "output_edges": 2.0 ** octaves[1], "size_counts": counts}
