"""The user's own file of offers, as text cells: read, and written whole."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path

from polyfleet.catalog.hosted import load_hosted
from polyfleet.catalog.imports.listed import Row
from polyfleet.catalog.offers import load_offers
from polyfleet.catalog.overlay import COLUMNS, lay_over, parse_overlay, read_content
from polyfleet.catalog.overlay_hosted import lay_over_hosted
from polyfleet.errors import CatalogError

_ALWAYS = ("id", "chip", "chips", "usd_per_hour", "source", "as_of", "note")
_KEY = frozenset({"provider", "region", "instance_type", "purchase"})


def read_rows(path: Path) -> dict[str, Row]:
    """The filled cells of each row by offer id; none where there is no such file. Raises CatalogError."""
    return parse_rows(read_content(path), path.name) if path.exists() else {}


def parse_rows(content: bytes, file: str) -> dict[str, Row]:
    """As `read_rows`, from the file's bytes; the catalog with the rows laid over it must be sound."""
    rows = parse_overlay(content, file)
    lay_over(load_offers(), rows)
    lay_over_hosted(load_hosted(), rows)
    reader = csv.reader(StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    texts = [cells for cells in reader if any(cell.strip() for cell in cells)]
    header = [name.strip().lower() for name in texts[0]]
    found: dict[str, Row] = {}
    for row, cells in zip(rows, texts[1:], strict=True):
        filled = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
        found[row.id] = {"id": row.id, **{name: cell for name, cell in filled.items() if name not in _KEY}}
    return found


def to_csv(rows: Iterable[Mapping[str, str]]) -> str:
    """The file's text, by offer id, with the columns that some row fills."""
    by_id = sorted(rows, key=lambda row: row["id"])
    columns = [c for c in COLUMNS if c in _ALWAYS or any(row.get(c) for row in by_id)]
    out = StringIO(newline="")
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(by_id)
    return out.getvalue()


def check_readable(text: str, file: str) -> None:
    """Raises CatalogError where the planner would not read this text: then nothing may be written."""
    try:
        parse_rows(text.encode(), file)
    except CatalogError as error:
        hint = "nothing was written"
        raise CatalogError(
            f"the merged file would not be read: {error.problem}", file=file, line=error.line, value=error.value,
            hint=hint,
        ) from None  # fmt: skip
