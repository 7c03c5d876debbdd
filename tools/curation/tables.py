"""Reads raw and decision tables, writes packaged ones: always the same bytes for the same input."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

Row = dict[str, str]
DECISIONS = Path(__file__).parent / "decisions"


def read(path: Path) -> list[Row]:
    """Rows of a CSV with their line number in `_line`."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        return [
            {**{k: (v or "").strip() for k, v in row.items() if k}, "_line": str(reader.line_num)} for row in reader
        ]


def decisions(name: str) -> list[Row]:
    """A hand-made table. Raises ValueError where a row has too many or too few cells."""
    with (DECISIONS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.reader(file))
    for line, row in enumerate(cells, 1):
        if len(row) != len(cells[0]):
            raise ValueError(f"decisions/{name}.csv row {line} has {len(row)} cells, not {len(cells[0])}")
    return read(DECISIONS / f"{name}.csv")


def number(value: float) -> str:
    """Shortest text that reads back as the same number, no trailing `.0`."""
    text = repr(round(value, 6))
    return text[:-2] if text.endswith(".0") else text


def write(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    """Write a table whole."""
    buffer = StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(buffer.getvalue(), encoding="utf-8")


@dataclass
class Report:
    """What one table kept and dropped, for docs/data.md. `dropped` maps a reason to the raw lines it took out."""

    title: str
    raw: str
    kept: int = 0
    raw_rows: int = 0
    dropped: dict[str, list[str]] = field(default_factory=dict)
    repaired: dict[str, int] = field(default_factory=dict)
    suspicious: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sources: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str, what: str) -> None:
        self.dropped.setdefault(reason, []).append(what)

    def repair(self, what: str) -> None:
        self.repaired[what] = self.repaired.get(what, 0) + 1

    def source(self, source: str, as_of: str) -> None:
        key = f"{source} · {as_of or 'undated'}"
        self.sources[key] = self.sources.get(key, 0) + 1
