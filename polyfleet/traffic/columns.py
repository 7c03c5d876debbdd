"""Columns of a frame to requests, whole columns at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polyfleet.terms.demand import Floats, Ints
from polyfleet.traffic.form import TimeUnit
from polyfleet.traffic.line import FIRST_EPOCH_S, LAST_EPOCH_S
from polyfleet.traffic.prefix import PrefixMemory
from polyfleet.traffic.rows import MOST_TOKENS, Rows

if TYPE_CHECKING:
    import polars as pl


def rows_of(frame: pl.DataFrame, unit: TimeUnit, line: int, prefixes: PrefixMemory) -> Rows | None:
    """The requests in a frame of columns `time`, `input`, `output` and perhaps `cached` or `hashes`.

    None when any value is missing or odd: the caller then reads line by line, which says what is wrong.
    """
    import polars as pl

    time = _times(frame["time"], unit)
    lengths = {name: _whole(frame[name]) for name in ("input", "output", "cached") if name in frame.columns}
    if time is None or any(v is None for v in lengths.values()):
        return None
    found = {name: v for name, v in lengths.items() if v is not None}
    cached = found.get("cached", np.zeros(len(frame), dtype=np.int64))
    rows = Rows(time[0], found["input"], found["output"], cached, time[1], line)
    if not rows.sound():
        return None
    if "hashes" in frame.columns:
        if frame["hashes"].list.eval(pl.element().is_null()).list.any().any():
            return None
        cached = prefixes.cached_tokens(frame["hashes"].to_list(), rows.input_tokens)
        rows = Rows(rows.time_ns, rows.input_tokens, rows.output_tokens, cached, rows.dated, line)
    return rows


def _whole(column: pl.Series) -> Ints | None:
    import polars as pl

    if column.dtype == pl.String:
        column = column.cast(pl.Float64, strict=False)
    if not column.dtype.is_numeric() or column.null_count():
        return None
    values = column.to_numpy()
    if values.dtype.kind == "f" and not (np.abs(values).max(initial=0) <= MOST_TOKENS and (values % 1 == 0).all()):
        return None  # NaN fails the first comparison
    return values.astype(np.int64)


def _times(column: pl.Series, unit: TimeUnit) -> tuple[Ints, bool] | None:
    import polars as pl

    if isinstance(column.dtype, pl.Datetime):
        good = unit in (TimeUnit.DATE, TimeUnit.DATE_OR_SECONDS) and not column.null_count()
        return (column.dt.timestamp("ns").to_numpy(), True) if good else None
    if column.dtype == pl.String and unit is TimeUnit.DATE_OR_SECONDS and column.null_count() < len(column):
        seconds = column.cast(pl.Float64, strict=False)
        if seconds.null_count() == 0:
            column, unit = seconds, TimeUnit.DATE_OR_SECONDS
    if column.dtype == pl.String:
        return _dates(column) if unit in (TimeUnit.DATE, TimeUnit.DATE_OR_SECONDS) else None
    if not column.dtype.is_numeric() or column.null_count() or unit is TimeUnit.DATE:
        return None
    return _numbers(column.cast(pl.Float64).to_numpy(), unit)


def _numbers(values: Floats, unit: TimeUnit) -> tuple[Ints, bool] | None:
    seconds = values / 1000 if unit is TimeUnit.MILLISECONDS else values
    if not (seconds.min(initial=0) >= 0 and seconds.max(initial=0) <= LAST_EPOCH_S):
        return None
    dated = unit is TimeUnit.DATE_OR_SECONDS and len(values) > 0 and bool(seconds[0] >= FIRST_EPOCH_S)
    if unit is TimeUnit.DATE_OR_SECONDS and ((seconds >= FIRST_EPOCH_S) != dated).any():
        return None
    unit_ns = 10**6 if unit is TimeUnit.MILLISECONDS else 10**9
    whole = np.floor(values)  # as the line reader does, to the same nanosecond
    return whole.astype(np.int64) * unit_ns + np.rint((values - whole) * unit_ns).astype(np.int64), dated


def _dates(column: pl.Series) -> tuple[Ints, bool] | None:
    first = next(iter(column.head(1)), None)
    if first is None:
        return None
    pattern = "%Y-%m-%dT%H:%M:%S%.f" if "T" in first else "%Y-%m-%d %H:%M:%S%.f"
    zoned = first.endswith("Z") or "+" in first or "-" in first[10:]
    if first.endswith("Z"):
        column = column.str.replace(r"Z$", "+00:00")
    moments = column.str.to_datetime(
        pattern + ("%z" if zoned else ""), time_unit="ns", time_zone="UTC" if zoned else None, strict=False
    )
    return None if moments.null_count() else (moments.dt.timestamp("ns").to_numpy(), True)
