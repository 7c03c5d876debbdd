"""Measured rows as a CSV holds them.

Columns are those of the calibration table: totals over `n_chips`; `tp` counts what the chip's vendor counts.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polyfleet.errors import RowsError
from polyfleet.files import read_text

NEEDED = (
    "engine", "hardware", "n_chips", "tp", "pp", "ep", "dp", "model", "weight_dtype", "kv_dtype", "input_len",
    "output_len", "batch_or_concurrency", "scenario",
)  # fmt: skip
NUMBERS = ("n_chips", "tp", "pp", "ep", "input_len", "output_len", "batch_or_concurrency")
_WHOLE = ("n_chips", "tp", "pp", "ep", "dp")
_NONE_AT_ZERO = ("pp", "ep", "dp")  # a zero there says that the kind of parallelism is not used
MEASURED = {
    "throughput": ("throughput_output_tok_s",),
    "ttft": ("ttft_ms_p50", "ttft_ms_mean"),
    "tpot": ("tpot_ms_p50", "tpot_ms_mean"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the CSV: its number in the file and its cells, stripped."""

    line: int
    cells: Mapping[str, str]

    def number(self, column: str) -> float | None:
        """The cell as a number > 0; None where blank, or where it is of no use in a column that only measures.

        Raises RowsError where a column that a prediction rests on holds something else: nothing may be predicted from
        a cell that nobody can mean.
        """
        text = self.text(column)
        value = _value(text)
        if value > 0 and math.isfinite(value) and (column not in _WHOLE or value == int(value)):
            return value
        blank = not text or (column in _NONE_AT_ZERO and value == 0)
        if not blank and (column in NUMBERS or (column == "dp" and not text.startswith("attn"))):
            what = "whole number" if column in _WHOLE and value > 0 and math.isfinite(value) else "number above zero"
            hint = "leave the cell blank where it is not known"
            raise RowsError(f"{column} is not a {what}", line=self.line, value=text, hint=hint)
        return None

    def text(self, column: str) -> str:
        return self.cells.get(column, "")

    def measured(self, metric: str) -> tuple[str, float] | None:
        """Column and value of the statistic the row holds: the median if there is one, else the mean."""
        for column in MEASURED[metric]:
            value = self.number(column)
            if value is not None:
                return column, value
        return None


def read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """Header and rows of a CSV.

    Raises RowsError where the file cannot be read, is empty, or lacks a column that a prediction needs.
    """
    reader = csv.reader(io.StringIO(read_text(path, RowsError)))
    try:
        lines = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise RowsError(f"not readable as CSV: {error}", file=str(path), line=reader.line_num) from None
    if not lines:
        raise RowsError("the file is empty", file=str(path), hint="it needs a header: " + ",".join(NEEDED))
    header = [name.strip() for name in lines[0][1]]
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise RowsError(f"columns are missing: {', '.join(missing)}", file=str(path), line=1)
    return header, list(_rows(header, lines[1:]))


def _rows(header: Sequence[str], lines: Sequence[tuple[int, Sequence[str]]]) -> Iterator[Row]:
    for number, cells in lines:
        padded = [*cells, *[""] * (len(header) - len(cells))]
        yield Row(number, {name: cell.strip() for name, cell in zip(header, padded, strict=False)})


def _value(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
