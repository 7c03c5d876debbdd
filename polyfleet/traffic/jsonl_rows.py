"""JSON lines to requests."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from polyfleet.errors import TraceError
from polyfleet.traffic.columns import rows_of
from polyfleet.traffic.csv_rows import decoded
from polyfleet.traffic.form import Form, TimeUnit, recognise
from polyfleet.traffic.prefix import PrefixMemory
from polyfleet.traffic.record import RecordReader
from polyfleet.traffic.rows import Rows
from polyfleet.traffic.source import Block

if TYPE_CHECKING:
    import polars as pl


def read_form(text: bytes, file: str, line: int) -> Form:
    """The form that the first object's keys tell. Raises TraceError."""
    names = list(_record(text, file, line))
    if "input_length" in names and "hash_ids" not in names:
        names.append("hash_ids")  # a Mooncake trace may tell prefixes from a later line on
    return recognise(names, file, line)


def block_rows(block: Block, form: Form, file: str, prefixes: PrefixMemory) -> Rows:
    """The requests of a block. Raises TraceError."""
    frame = _frame(block.data, form)
    rows = rows_of(frame, form.unit, block.line, prefixes) if frame is not None else None
    return _by_lines(block, form, file, prefixes) if rows is None else rows


def _frame(data: bytes, form: Form) -> pl.DataFrame | None:
    import polars as pl

    text_time = form.unit is TimeUnit.DATE or (form.unit is TimeUnit.DATE_OR_SECONDS and _opens_with_text(data, form))
    kinds: dict[str, pl.DataType] = {form.time: pl.String() if text_time else pl.Float64()}
    kinds |= {form.input: pl.Float64(), form.output: pl.Float64()}
    roles = {form.time: "time", form.input: "input", form.output: "output"}
    if form.cached:
        kinds[form.cached], roles[form.cached] = pl.Float64(), "cached"
    if form.hashes:
        kinds[form.hashes], roles[form.hashes] = pl.List(pl.Int64()), "hashes"
    try:
        frame = pl.read_ndjson(io.BytesIO(data), schema=kinds)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return None
    filled = sum(1 for text in data.split(b"\n") if text.strip())
    return frame.rename(roles) if len(frame) == filled else None


def _opens_with_text(data: bytes, form: Form) -> bool:
    try:
        first = json.loads(next(t for t in data.split(b"\n", maxsplit=64) if t.strip()))
        return isinstance(first[form.time], str)
    except (ValueError, LookupError, TypeError, StopIteration, RecursionError):
        return False


def _by_lines(block: Block, form: Form, file: str, prefixes: PrefixMemory) -> Rows:
    reader = RecordReader(form, file, prefixes)
    for line, text in enumerate(block.data.split(b"\n"), start=block.line):
        if text.strip():
            reader.add(_record(text, file, line), line)
    return reader.rows(block.line)


def _record(text: bytes, file: str, line: int) -> dict[str, object]:
    try:
        record = json.loads(decoded(text, file, line))
    except (ValueError, RecursionError) as error:
        hint = "one JSON object a line is expected; the file may be cut off"
        raise TraceError("broken JSON", file=file, line=line, value=text.decode(), hint=hint) from error
    if not isinstance(record, dict):
        hint = "one JSON object a line is expected"
        raise TraceError("no JSON object", file=file, line=line, value=text.decode(), hint=hint)
    return record
