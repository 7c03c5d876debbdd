"""CSV blocks to requests."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polyfleet.errors import TraceError
from polyfleet.traffic.columns import rows_of
from polyfleet.traffic.form import KNOWN_FORMS, Form, TimeUnit, recognise
from polyfleet.traffic.prefix import PrefixMemory
from polyfleet.traffic.record import RecordReader
from polyfleet.traffic.rows import Rows
from polyfleet.traffic.source import Block

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """What the header says. `places` of `form.columns` among the `names`."""

    form: Form
    names: tuple[str, ...]
    delimiter: str
    file: str

    @property
    def places(self) -> dict[str, int]:
        return {column: self.names.index(column) for column in self.form.columns}


def read_header(text: bytes, file: str, line: int) -> CsvLayout:
    """The layout that a header line states. Raises TraceError."""
    header = decoded(text, file, line)
    delimiter = max(",;\t", key=header.count)
    names = tuple(cell.strip() for cell in split(header, delimiter, file, line))
    if any(re.fullmatch(r"[\d.:+TZ -]+", name) for name in names):
        raise TraceError("no header line", file=file, line=line, value=header, hint=KNOWN_FORMS)
    return CsvLayout(recognise(names, file, line), names, delimiter, file)


def block_rows(block: Block, layout: CsvLayout) -> Rows:
    """The requests of a block without its header. Raises TraceError."""
    rows = _by_columns(block, layout)
    return _by_lines(block, layout) if rows is None else rows


def _by_columns(block: Block, layout: CsvLayout) -> Rows | None:
    data = block.data
    if data.startswith(b"\n") or b"\n\n" in data:
        data = re.sub(rb"\n{2,}", b"\n", data).lstrip(b"\n")
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    delimiters = data.count(layout.delimiter.encode())
    if not data or b'"' in data or delimiters != lines * (len(layout.names) - 1):
        return None
    frame = _frame(data, layout)
    if frame is None or len(frame) != lines:
        return None
    return rows_of(frame, layout.form.unit, block.line, PrefixMemory())


def _frame(data: bytes, layout: CsvLayout) -> pl.DataFrame | None:
    import polars as pl

    form = layout.form
    text_time = form.unit in (TimeUnit.DATE, TimeUnit.DATE_OR_SECONDS)
    kinds = {form.time: pl.String if text_time else pl.Float64, form.input: pl.Float64, form.output: pl.Float64}
    roles = {form.time: "time", form.input: "input", form.output: "output"}
    if form.cached:
        kinds[form.cached], roles[form.cached] = pl.Float64, "cached"
    places = layout.places
    try:
        frame = pl.read_csv(
            io.BytesIO(data),
            has_header=False,
            schema={name: kinds.get(name, pl.String) for name in layout.names},
            columns=[places[name] for name in roles],
            separator=layout.delimiter,
            quote_char=None,
            ignore_errors=True,
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return None
    return frame.rename(roles)


def _by_lines(block: Block, layout: CsvLayout) -> Rows:
    form, places, reader = layout.form, layout.places, RecordReader(layout.form, layout.file, PrefixMemory())
    wanted = {name: places[name] for name in form.columns if name != form.hashes}
    for line, text in enumerate(block.data.split(b"\n"), start=block.line):
        if not text.strip():
            continue
        cells = split(decoded(text, layout.file, line), layout.delimiter, layout.file, line)
        if len(cells) != len(layout.names):
            problem = f"the row has {len(cells)} fields, the header {len(layout.names)}"
            hint = "the file may be cut off, or a number written with thousands separators"
            raise TraceError(problem, file=layout.file, line=line, value=text.decode(), hint=hint)
        reader.add({name: cells[place] for name, place in wanted.items()}, line)
    return reader.rows(block.line)


def decoded(text: bytes, file: str, line: int) -> str:
    """A line as text. Raises TraceError where it is not UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise TraceError("not UTF-8 text", file=file, line=line, value=text[:40], hint="save it as UTF-8") from error


def split(text: str, delimiter: str, file: str, line: int) -> list[str]:
    """The fields of a CSV line. Raises TraceError."""
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise TraceError(f"broken CSV: {error}", file=file, line=line, value=text) from error
