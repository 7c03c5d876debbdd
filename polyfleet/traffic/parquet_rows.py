"""Parquet to requests, a slice at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from polyfleet.errors import TraceError
from polyfleet.traffic.columns import rows_of
from polyfleet.traffic.form import Form, recognise
from polyfleet.traffic.prefix import PrefixMemory
from polyfleet.traffic.record import RecordReader
from polyfleet.traffic.rows import Rows

if TYPE_CHECKING:
    import polars as pl

SLICE_ROWS = 500_000


def parquet_rows(path: Path, slice_rows: int = SLICE_ROWS) -> Iterator[Rows]:
    """The requests of a Parquet file. `line` counts rows from 1. Raises TraceError."""
    import polars as pl

    file, prefixes = str(path), PrefixMemory()
    try:
        source = pl.scan_parquet(path, glob=False)
        names = source.collect_schema().names()
        form = recognise(names, file, None)
        wanted = source.select(form.columns)
        count = int(source.select(pl.len()).collect().item())
        for first in range(0, count, slice_rows):
            yield _slice_rows(wanted.slice(first, slice_rows).collect(), form, file, first + 1, prefixes)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        problem = "broken Parquet: " + (str(error).splitlines() or ["?"])[0]
        raise TraceError(problem, file=file, hint="the file may be cut off; fetch it again") from error


def _slice_rows(frame: pl.DataFrame, form: Form, file: str, line: int, prefixes: PrefixMemory) -> Rows:
    roles = {form.time: "time", form.input: "input", form.output: "output"}
    roles |= {form.cached: "cached"} if form.cached else {}
    roles |= {form.hashes: "hashes"} if form.hashes else {}
    rows = rows_of(frame.rename(roles), form.unit, line, prefixes)
    if rows is not None:
        return rows
    reader = RecordReader(form, file, prefixes)
    for place, record in enumerate(frame.iter_rows(named=True), start=line):
        stated = record | {form.time: _stated(record[form.time])}
        reader.add(stated, place)
    return reader.rows(line)


def _stated(value: object) -> object:
    """A date as text, since the line reader knows text and numbers only."""
    isoformat = getattr(value, "isoformat", None)
    return isoformat() if isoformat else value
