"""A trace to demand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from polyfleet.errors import TraceError
from polyfleet.terms.demand import Burstiness, Demand, Floats, Ints, Trace
from polyfleet.traffic import clock
from polyfleet.traffic.buckets import WORK_TOLERANCE, Buckets, choose_buckets
from polyfleet.traffic.bursts import free_of_grid
from polyfleet.traffic.read import moved, scan_rows
from polyfleet.traffic.rows import Rows
from polyfleet.traffic.sketch import Sketch
from polyfleet.traffic.windows import aggregate_windows

Source = str | Path | Trace | Iterable[Trace]


def summarise(
    source: Source,
    *,
    buckets: int | None = None,
    windows: int | None = None,
    scale: float = 1.0,
    growth: float = 1.0,
    tolerance: float = WORK_TOLERANCE,
) -> Demand:
    """The demand of a trace file, a trace, or the stretches of one: one pass, bounded memory, any order.

    `buckets`: how many; default the fewest that keep prefill, decode and KV residency each within `tolerance`.
    `windows`: the hours of the week (a trace of a week or more), of the day (a day or more) or one window, merged to at
    most this many. Rates are multiplied by `scale` x `growth`. Raises TraceError for a trace that cannot be read or has
    no rate (a single moment), ValueError for a count below 1 or a factor that is not positive.
    """
    if buckets is not None and buckets < 1:
        raise ValueError(f"at least one bucket is needed, not {buckets}")
    sketch, name = sketch_of(source), source_name(source)
    return demand_of(
        sketch,
        choose_buckets(sketch.moments, sketch.cells, buckets, tolerance),
        asked=buckets,
        windows=windows,
        factor=scale * growth,
        source=name,
    )


def sketch_of(source: Source) -> Sketch:
    """One pass over the source. Raises TraceError."""
    if isinstance(source, str | Path):
        return _sketch_of_file(source)
    sketch = _sketch_of_traces([source] if isinstance(source, Trace) else source)
    if not sketch.requests:
        raise TraceError("no requests", hint="a demand needs at least two requests at different times")
    return sketch


def _sketch_of_file(source: str | Path) -> Sketch:
    sketch, latest_ns, zero_ns = Sketch(), -1, 0
    for rows in scan_rows(source):
        sketch.dropped += rows.dropped
        if not len(rows):
            continue
        if sketch.first_ns is None:
            sketch.dated = rows.dated
            zero_ns = 0 if rows.dated else int(rows.time_ns.min())
        sketch.unsorted += moved(rows.time_ns, latest_ns)
        latest_ns = max(latest_ns, int(rows.time_ns.max()))
        try:
            sketch.add(rows.time_ns - zero_ns, rows.input_tokens, rows.output_tokens, rows.cached_tokens)
        except TraceError as error:
            raise error.at(str(source), rows.line) from None
    return sketch


def _sketch_of_traces(traces: Iterable[Trace]) -> Sketch:
    sketch = Sketch()
    for trace in traces:
        sketch.dropped += trace.dropped
        sketch.unsorted += trace.unsorted
        sketch.dated = trace.start is not None
        time_ns = start_ns(trace) + _ns(trace.arrival_s)
        tokens = trace.input_tokens, trace.output_tokens, trace.cached_tokens
        rows = Rows(time_ns, *tokens, dated=sketch.dated, line=0).without_empty()
        sketch.dropped += rows.dropped
        sketch.add(rows.time_ns, rows.input_tokens, rows.output_tokens, rows.cached_tokens)
    return sketch


def start_ns(trace: Trace) -> int:
    """Nanoseconds since 1970 of `arrival_s` = 0; 0 where the trace tells no date. Raises TraceError."""
    if trace.start is None:
        return 0
    whole, _, fraction = trace.start.removesuffix("Z").partition(".")
    try:
        second = datetime.fromisoformat(whole).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        return second // timedelta(seconds=1) * 10**9 + int((fraction or "0")[:9].ljust(9, "0"))
    except ValueError as error:
        hint = "ISO 8601 UTC is expected, as 2024-05-10T00:00:00Z"
        raise TraceError("a trace's start is not a date", value=trace.start, hint=hint) from error


def demand_of(
    sketch: Sketch, found: Buckets, *, asked: int | None, windows: int | None, factor: float, source: str
) -> Demand:
    """The demand that a sketch holds, in the buckets found. Raises TraceError, ValueError as `summarise`."""
    if sketch.span_s <= 0:
        hint = "a rate needs at least two requests at different times"
        raise TraceError(f"{sketch.requests:,} request(s) at a single moment", file=source or None, hint=hint)
    natural = clock.natural_windows(sketch.span_s)
    burstiness = sketch.seconds.burstiness()
    demand = Demand(
        clock.windows(natural, sketch.dated),
        found.buckets,
        rate_by_window(sketch, found, natural),
        max(_headroom_dispersion(sketch, burstiness), 1.0),
        source,
        notes_of(sketch, found, asked),
        burstiness,
        found.error.largest,
        sketch.requests,
        sketch.dropped,
    )
    demand = demand if factor == 1 else _multiplied(demand, factor)
    return demand if windows is None else aggregate_windows(demand, windows)


def rate_by_window(sketch: Sketch, found: Buckets, count: int) -> Floats:
    """(windows, buckets) requests per second."""
    by_bucket = np.stack(
        [np.bincount(found.of_cell, row, minlength=len(found.buckets)) for row in sketch.by_hour]
    ).astype(np.float64)
    assert sketch.first_ns is not None
    assert sketch.last_ns is not None
    hours = clock.covered_hours(sketch.first_ns / 1e9, sketch.last_ns / 1e9, sketch.dated)
    covered_s = clock.folded(hours, count) * clock.HOUR_S
    return np.asarray(clock.folded(by_bucket, count) / covered_s[:, None])


def notes_of(sketch: Sketch, found: Buckets, wanted: int | None) -> tuple[str, ...]:
    """What a reader must know about how the trace was taken."""
    notes = []
    if sketch.dropped:
        share = sketch.dropped / (sketch.dropped + sketch.requests)
        notes.append(f"{sketch.dropped:,} requests ({share:.1%}) without input or output tokens were left out")
    if sketch.unsorted:
        notes.append(f"{sketch.unsorted:,} requests stood out of order and were put in order")
    if sketch.time_grid_s >= 1:
        notes.append(f"times stand on a grid of {sketch.time_grid_s:g} s: dispersion is taken over longer counts")
    if sketch.span_s < clock.DAY_S:
        notes.append(f"the trace covers {sketch.span_s / clock.HOUR_S:.1f} h: no daily or weekly shape is known")
    if wanted is not None and len(found.buckets) < wanted:
        notes.append(f"only {len(found.buckets)} buckets: there are not so many different sizes as {wanted}")
    return tuple(notes)


def source_name(source: Source) -> str:
    """The file that the trace came from, '' where it came from none."""
    return str(source) if isinstance(source, str | Path) else source.source if isinstance(source, Trace) else ""


def _headroom_dispersion(sketch: Sketch, burstiness: Burstiness) -> float:
    """Over one second; over 10 or 60 where times were rounded to a grid as coarse as the counts."""
    told = free_of_grid(burstiness, sketch.time_grid_s)
    known = [d for d in (told.dispersion_1s, told.dispersion_10s, told.dispersion_60s) if d is not None]
    return known[0] if known else 1.0


def _multiplied(demand: Demand, factor: float) -> Demand:
    return replace(demand.scaled(factor), notes=(*demand.notes, f"rates are {factor:g} times those of the trace"))


def _ns(seconds: Floats) -> Ints:
    return np.rint(seconds * 1e9).astype(np.int64)
