"""Measured rows as a CSV holds them.

Columns are those of the calibration table: totals over `n_chips`; `tp` counts what the chip's vendor counts.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polyfleet.errors import RowsError

NEEDED = (
    "engine", "hardware", "n_chips", "tp", "pp", "ep", "dp", "model", "weight_dtype", "kv_dtype", "input_len",
    "output_len", "batch_or_concurrency", "scenario",
)  # fmt: skip
NUMBERS = ("n_chips", "tp", "pp", "ep", "input_len", "output_len", "batch_or_concurrency")
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
        """The cell as a number > 0; None where blank or not one."""
        try:
            value = float(self.cells.get(column, ""))
        except ValueError:
            return None
        return value if value > 0 and math.isfinite(value) else None

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
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RowsError(f"cannot be read: {error}", file=str(path)) from error
    lines = [line for line in lines if line]
    if not lines:
        raise RowsError("the file is empty", file=str(path), hint="it needs a header: " + ",".join(NEEDED))
    header = [name.strip() for name in lines[0]]
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise RowsError(f"columns are missing: {', '.join(missing)}", file=str(path), line=1)
    return header, list(_rows(header, lines[1:]))


def _rows(header: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[Row]:
    for number, cells in enumerate(lines, start=2):
        padded = [*cells, *[""] * (len(header) - len(cells))]
        yield Row(number, {name: cell.strip() for name, cell in zip(header, padded, strict=False)})
